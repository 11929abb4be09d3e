/* event_base_once: each kind, what it refuses, and what becomes of those that never happened. */
#include "conform.h"

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("%s: fd %s, %s", (const char *)arg, fd >= 0 ? "given" : "none", events_text(events));
	if (fd >= 0)
		read_all(fd);
}

static struct event_base *base;

static void again(evutil_socket_t fd, short events, void *arg)
{
	int *left = arg;

	say("again %d", *left);
	if (--*left > 0)
		show(event_base_once(base, -1, EV_TIMEOUT, again, left, NULL));
}

int main(void)
{
	struct timeval soon = ms(3), zero = { 0, 0 }, never = { 1000, 0 };
	int fd[2], left = 3;

	base = a_base();
	event_set_log_callback(NULL);
	a_pair(fd);
	show(event_base_once(base, -1, EV_TIMEOUT, told, "no timeout", NULL));
	show(event_base_once(base, -1, EV_TIMEOUT, told, "zero", &zero));
	show(event_base_once(base, -1, EV_TIMEOUT, told, "soon", &soon));
	show(event_base_once(base, fd[0], EV_READ, told, "read", NULL));
	show(event_base_once(base, fd[0], EV_SIGNAL, told, "signal", NULL));
	show(event_base_once(base, fd[0], EV_READ | EV_PERSIST, told, "persistent", NULL));
	show(event_base_once(base, fd[0], 0, told, "nothing", NULL));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(event_base_loop(base, EVLOOP_ONCE));
	write_byte(fd[1], 'x');
	show(event_base_dispatch(base));
	show(event_base_once(base, fd[0], EV_READ, told, "times out", &soon));
	show(event_base_dispatch(base));
	show(event_base_once(base, fd[0], EV_READ | EV_WRITE, told, "writes", &soon));
	show(event_base_dispatch(base));
	show(event_base_once(base, -1, EV_TIMEOUT, again, &left, NULL));
	show(event_base_dispatch(base));
	/* These never happen: they go with the base. */
	show(event_base_once(base, -1, EV_TIMEOUT, told, "never", &never));
	show(event_base_once(base, fd[0], EV_READ, told, "never", NULL));
	event_base_free(base);
	return 0;
}
