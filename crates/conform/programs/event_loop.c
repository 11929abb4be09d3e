/* The loop's flags, its ends, what it returns; loops in loops. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static struct event a, b, c;

static void nothing(evutil_socket_t fd, short events, void *arg)
{
	say("%s", (const char *)arg);
}

static void breaks(evutil_socket_t fd, short events, void *arg)
{
	say("%s breaks", (const char *)arg);
	show(event_base_loopbreak(base));
	show(event_base_got_break(base));
}

static void exits(evutil_socket_t fd, short events, void *arg)
{
	say("%s exits", (const char *)arg);
	show(event_base_loopexit(base, NULL));
	show(event_base_got_exit(base));
}

static void goes_on(evutil_socket_t fd, short events, void *arg)
{
	static int times;

	say("%s continues", (const char *)arg);
	show(event_base_loopcontinue(base));
	if (times++ < 2)
		event_active(&a, EV_READ, 1);
}

static void nests(evutil_socket_t fd, short events, void *arg)
{
	say("in a callback: loop = %d", event_base_loop(base, EVLOOP_NONBLOCK));
}

static void ends(const char *what, int result)
{
	say("%s = %d, exit %d, break %d", what, result, event_base_got_exit(base), event_base_got_break(base));
}

int main(void)
{
	struct timeval soon = ms(3), later = ms(6), never = { 1000, 0 };
	int fd[2];

	base = a_base();
	event_set_log_callback(NULL);
	a_pair(fd);
	ends("nothing to do", event_base_loop(base, 0));
	ends("nothing to do, once", event_base_loop(base, EVLOOP_ONCE));
	ends("nothing to do, not blocking", event_base_loop(base, EVLOOP_NONBLOCK));

	event_assign(&a, base, -1, 0, nothing, "a");
	event_assign(&b, base, -1, 0, nothing, "b");
	event_assign(&c, base, fd[0], EV_READ, nothing, "c");
	event_add(&c, NULL);
	ends("nothing ready, not blocking", event_base_loop(base, EVLOOP_NONBLOCK));
	event_add(&a, &soon);
	ends("once", event_base_loop(base, EVLOOP_ONCE));
	/* One pass brings everything that is due. */
	event_active(&a, EV_READ, 1);
	event_active(&b, EV_READ, 1);
	ends("once", event_base_loop(base, EVLOOP_ONCE));

	show(event_base_loopexit(base, &soon));
	event_add(&a, &never);
	ends("exit in a while", event_base_dispatch(base));
	event_del(&a);
	show(event_base_loopexit(base, NULL));
	ends("exit at once", event_base_dispatch(base));

	event_assign(&a, base, -1, 0, breaks, "a");
	event_active(&a, EV_READ, 1);
	event_active(&b, EV_READ, 1);
	ends("break", event_base_dispatch(base));
	ends("the rest", event_base_loop(base, EVLOOP_NONBLOCK));
	/* A break while no loop runs is forgotten. */
	show(event_base_loopbreak(base));
	ends("break before", event_base_loop(base, EVLOOP_NONBLOCK));

	event_assign(&a, base, -1, 0, exits, "a");
	event_active(&a, EV_READ, 1);
	event_active(&b, EV_READ, 1);
	ends("exit", event_base_dispatch(base));

	event_assign(&a, base, -1, 0, goes_on, "a");
	event_assign(&b, base, -1, 0, breaks, "b");
	event_add(&b, &later);
	event_active(&a, EV_READ, 1);
	ends("continue", event_base_dispatch(base));

	event_assign(&a, base, -1, 0, nests, "a");
	event_active(&a, EV_READ, 1);
	ends("loop in a loop", event_base_loop(base, EVLOOP_NONBLOCK));
	event_del(&c);

	/* Without events: NO_EXIT_ON_EMPTY waits for what ends it. */
	event_base_loopexit(base, &soon);
	ends("empty, stays", event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY));
	event_base_free(base);
	return 0;
}
