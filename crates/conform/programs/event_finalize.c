/* Finalizers run on the loop, behind the callback that may be running, once. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static void *event_self;

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("told %s", events_text(events));
}

static void finalizes(struct event *ev, void *arg)
{
	say("finalizer of %s, pending %s", arg == event_self ? "itself" : (const char *)arg,
	    events_text(event_pending(ev, EV_READ | EV_TIMEOUT | EV_WRITE, NULL)));
}

static void frees(struct event *ev, void *arg)
{
	say("finalizer that frees");
	event_free(ev);
}

static void ends_itself(evutil_socket_t fd, short events, void *arg)
{
	struct event **ev = arg;

	event_self = arg;
	say("callback %s", events_text(events));
	show(event_free_finalize(0, *ev, finalizes));
	say("callback goes on");
}

int main(void)
{
	struct event *ev, plain;
	int fd[2];

	base = a_base();
	a_pair(fd);
	/* Neither pending nor active. */
	ev = event_new(base, fd[0], EV_READ, told, "idle");
	show(event_finalize(0, ev, finalizes));
	say("before the loop");
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	event_free(ev);

	/* Pending: it will not be told any more. */
	ev = event_new(base, fd[0], EV_READ | EV_PERSIST, told, "pending");
	event_add(ev, NULL);
	write_byte(fd[1], 'x');
	show(event_free_finalize(0, ev, finalizes));
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));

	/* Active. */
	ev = event_new(base, fd[0], EV_READ | EV_PERSIST, told, "active");
	event_active(ev, EV_READ, 1);
	show(event_finalize(0, ev, frees));
	show(event_base_loop(base, EVLOOP_NONBLOCK));

	/* From its own callback. */
	ev = NULL;
	ev = event_new(base, fd[0], EV_READ | EV_PERSIST, ends_itself, &ev);
	event_add(ev, NULL);
	show(event_base_loop(base, EVLOOP_ONCE));
	show(event_base_loop(base, EVLOOP_NONBLOCK));

	/* Of the caller's own memory; adding it again before the loop is refused. */
	event_assign(&plain, base, fd[0], EV_READ | EV_FINALIZE, told, "own");
	show(event_get_events(&plain) & EV_FINALIZE);
	show(event_add(&plain, NULL));
	show(event_finalize(0, &plain, finalizes));
	event_set_log_callback(NULL);
	show(event_add(&plain, NULL));
	event_active(&plain, EV_READ, 1);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(event_add(&plain, NULL));
	show(event_del_noblock(&plain));
	show(event_del_block(&plain));

	/* The base goes first: it runs what is left. */
	ev = event_new(base, fd[0], EV_READ, told, "left");
	show(event_free_finalize(0, ev, finalizes));
	event_base_free(base);
	say("the base is gone");
	return 0;
}
