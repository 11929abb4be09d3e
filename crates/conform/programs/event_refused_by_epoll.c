/* What epoll refuses, with errno: bad descriptors and regular files. The other methods take them. conform: methods=epoll */
#include "conform.h"
#include <event2/event_struct.h>

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("told %s", events_text(events));
}

static void logged(int severity, const char *message)
{
	/* Words differ; that something was said, and how loudly, does not. */
	say("log %d", severity);
}

static void add(struct event_base *base, const char *what, int fd, short events)
{
	struct event ev;
	int result;

	if (event_assign(&ev, base, fd, events, told, NULL) < 0) {
		say("%s: not assigned", what);
		return;
	}
	errno = 0;
	result = event_add(&ev, NULL);
	say("%s: %d, errno %d, pending %s", what, result, result < 0 ? errno : 0,
	    events_text(event_pending(&ev, EV_READ | EV_WRITE | EV_CLOSED | EV_SIGNAL, NULL)));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_del(&ev);
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
}

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
