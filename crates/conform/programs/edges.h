/* What the programs about bufferevents at their edges have in common: callbacks that say what they see, and short runs. */
#ifndef EDGES_H
#define EDGES_H

static struct event_base *base;
/* The loop ends with the last of so many events. */
static int expected;

static inline void on_read(struct bufferevent *bev, void *arg)
{
	say("%s reads, %zu there", (char *)arg, evbuffer_get_length(bufferevent_get_input(bev)));
}

static inline void on_write(struct bufferevent *bev, void *arg)
{
	say("%s has written, %zu left", (char *)arg, evbuffer_get_length(bufferevent_get_output(bev)));
}

static inline void on_event(struct bufferevent *bev, short what, void *arg)
{
	int error = errno;

	say("%s: event %x, enabled %s %s", (char *)arg, (unsigned)what, events_text(bufferevent_get_enabled(bev)),
	    what & BEV_EVENT_ERROR && !bufferevent_socket_get_dns_error(bev) ? strerror(error) : "-");
	if (expected > 0 && --expected == 0)
		event_base_loopbreak(base);
}

static inline void turn(void)
{
	for (int i = 0; i < 6; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static inline void run_for(int milliseconds)
{
	struct timeval time = ms(milliseconds);

	event_base_loopexit(base, &time);
	event_base_dispatch(base);
}

#endif
