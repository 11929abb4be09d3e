/* event_active: merged results, from callbacks, of what is pending and what is not; deleting what is active. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static struct event a, b, c, d;
static int rounds;

static void first(evutil_socket_t fd, short events, void *arg)
{
	say("a %s", events_text(events));
	/* Of the same priority: it runs before this pass ends. */
	event_active(&b, EV_WRITE, 1);
	event_del(&c);
}

static void second(evutil_socket_t fd, short events, void *arg)
{
	say("b %s pending %s", events_text(events), events_text(event_pending(&b, EV_READ | EV_WRITE | EV_TIMEOUT, NULL)));
	if (++rounds < 3)
		event_active(&b, EV_TIMEOUT, 1);
}

static void third(evutil_socket_t fd, short events, void *arg)
{
	say("c %s", events_text(events));
}

static void fourth(evutil_socket_t fd, short events, void *arg)
{
	say("d %s running %d", events_text(events), event_base_get_running_event(base) == &d);
}

int main(void)
{
	struct timeval tv = ms(1000);
	int fd[2];

	base = a_base();
	a_pair(fd);
	event_assign(&a, base, -1, 0, first, NULL);
	event_assign(&b, base, fd[0], EV_READ, second, NULL);
	event_assign(&c, base, -1, 0, third, NULL);
	event_assign(&d, base, fd[1], EV_READ | EV_PERSIST, fourth, NULL);

	event_active(&a, EV_READ, 1);
	event_active(&c, EV_READ, 1);
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	show(event_base_loop(base, EVLOOP_ONCE));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));

	/* Results come together until it runs. */
	event_active(&c, EV_READ, 1);
	event_active(&c, EV_WRITE, 1);
	show(c.ev_res);
	show(event_pending(&c, EV_READ | EV_WRITE, NULL));
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(event_pending(&c, EV_READ | EV_WRITE, NULL));

	/* A pending event activated by hand leaves pending if it is not persistent. */
	rounds = 3;
	show(event_add(&b, &tv));
	event_active(&b, EV_READ, 1);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(event_pending(&b, EV_READ | EV_TIMEOUT, NULL));
	show(event_add(&d, NULL));
	event_active(&d, EV_WRITE, 1);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(event_pending(&d, EV_READ, NULL));

	/* By descriptor and signal. */
	show(event_add(&b, NULL));
	event_base_active_by_fd(base, fd[0], EV_READ);
	event_base_active_by_fd(base, fd[1], EV_READ);
	event_base_active_by_fd(base, fd[1], EV_WRITE);
	event_base_active_by_fd(base, 1000000, EV_READ);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	event_del(&d);

	/* Deleted while active. */
	event_active(&c, EV_READ, 1);
	show(event_del(&c));
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	/* The base goes while something is active. */
	event_active(&c, EV_READ, 1);
	event_base_free(base);
	return 0;
}
