/* EV_CLOSED is told of a reset, too, where the kernel says ERR and HUP (#984). conform: alone=C-libevent-tells-it-as-readable-only */
#include "conform.h"
#include <arpa/inet.h>
#include <event2/event_struct.h>
#include <netinet/in.h>

static short told;

static void called(evutil_socket_t fd, short events, void *arg)
{
	told |= events;
}

int main(void)
{
	struct event_base *base = a_base();
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct linger reset = { 1, 0 };
	socklen_t length = sizeof address;
	struct event ev;
	int fd[2], listener = socket(AF_INET, SOCK_STREAM, 0), also_read;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 2) == 0);
	must(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	for (also_read = 0; also_read < 2 && event_base_get_features(base) & EV_FEATURE_EARLY_CLOSE; also_read++) {
		fd[1] = socket(AF_INET, SOCK_STREAM, 0);
		must(connect(fd[1], (struct sockaddr *)&address, length) == 0);
		fd[0] = accept(listener, NULL, NULL);
		must(fd[0] >= 0);
		event_assign(&ev, base, fd[0], EV_CLOSED | (also_read ? EV_READ : 0), called, NULL);
		must(event_add(&ev, NULL) == 0);
		setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		close(fd[1]);
		told = 0;
		event_base_loop(base, EVLOOP_ONCE);
		must(told == (EV_CLOSED | (also_read ? EV_READ : 0)));
		close(fd[0]);
	}
	event_base_free(base);
	say("ok");
	return 0;
}
