/* What the programs about refused events have in common: an event is added, and what is said of it is told. */
#ifndef REFUSED_H
#define REFUSED_H

static inline void told(evutil_socket_t fd, short events, void *arg)
{
	say("told %s", events_text(events));
}

static inline void logged(int severity, const char *message)
{
	/* Words differ; that something was said, and how loudly, does not. */
	say("log %d", severity);
}

static inline void add(struct event_base *base, const char *what, int fd, short events)
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

#endif
