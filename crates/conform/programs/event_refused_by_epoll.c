/* What epoll refuses, with errno: bad descriptors and regular files. The other methods take them. conform: methods=epoll */
#include "conform.h"
#include <event2/event_struct.h>
#include "refused.h"

int main(void)
{
	struct event_base *base = a_base();
	int fd[2], file, closed;
	char path[] = "/tmp/conform.XXXXXX";

	event_set_log_callback(logged);
	a_pair(fd);
	file = mkstemp(path);
	must(file >= 0);
	unlink(path);
	closed = dup(fd[0]);
	close(closed);
	add(base, "closed descriptor", closed, EV_READ);
	add(base, "regular file", file, EV_READ);
	add(base, "regular file", file, EV_WRITE | EV_PERSIST);
	event_base_free(base);
	return 0;
}
