/* Adding, deleting, persistence, timeouts and what can be asked of one event. */
#include "conform.h"
#include <event2/event_struct.h>

static int calls;

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("%s: %s (call %d)", (const char *)arg, events_text(events), ++calls);
	if (events & EV_READ)
		read_all(fd);
}

static void state(const char *when, struct event *ev)
{
	struct timeval tv = { 0, 0 };
	int pending = event_pending(ev, EV_READ | EV_WRITE | EV_TIMEOUT | EV_SIGNAL, NULL);

	event_pending(ev, EV_TIMEOUT, &tv);
	say("%s: pending %s, initialized %d, deadline %s, events %s%s%s", when, events_text(pending),
	    event_initialized(ev), tv.tv_sec ? "set" : "none", events_text(event_get_events(ev)),
	    event_get_events(ev) & EV_PERSIST ? "P" : "", event_get_events(ev) & EV_ET ? "E" : "");
}

static void once_each(struct event_base *base, int fd[2])
{
	struct event *reads = event_new(base, fd[0], EV_READ, told, "read");
	struct event *writes = event_new(base, fd[0], EV_WRITE, told, "write");
	struct timeval tv = ms(5);

	state("new", reads);
	show(event_add(reads, NULL));
	state("added", reads);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	write_byte(fd[1], 'x');
	show(event_base_loop(base, EVLOOP_ONCE));
	state("told", reads);
	write_byte(fd[1], 'x');
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	read_all(fd[0]);

	show(event_add(writes, NULL));
	show(event_add(writes, NULL));
	show(event_base_loop(base, EVLOOP_ONCE));
	show(event_del(writes));
	show(event_del(writes));

	/* A timeout with nothing to read. */
	show(event_add(reads, &tv));
	state("with a timeout", reads);
	show(event_base_dispatch(base));
	state("timed out", reads);
	/* Adding without a timeout keeps the one there is. */
	tv = ms(8);
	show(event_add(reads, &tv));
	show(event_add(reads, NULL));
	state("added again", reads);
	show(event_remove_timer(reads));
	state("timer removed", reads);
	show(event_remove_timer(reads));
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	event_free(reads);
	event_free(writes);
}

static void persistent(struct event_base *base, int fd[2])
{
	struct event both;
	struct timeval tv = ms(15);
	int i;

	show(event_assign(&both, base, fd[0], EV_READ | EV_PERSIST, told, "persistent"));
	state("assigned", &both);
	show(event_add(&both, &tv));
	for (i = 0; i < 3; i++) {
		write_byte(fd[1], 'x');
		event_base_loop(base, EVLOOP_ONCE);
		state("told", &both);
	}
	event_base_loop(base, EVLOOP_ONCE);
	event_base_loop(base, EVLOOP_ONCE);
	state("timed out twice", &both);
	show(event_del(&both));
	state("deleted", &both);
	show(event_base_loop(base, 0));

	show(event_assign(&both, base, -1, EV_PERSIST, told, "ticks"));
	tv = ms(2);
	show(event_add(&both, &tv));
	for (i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_ONCE);
	show(event_del(&both));
}

static void asked(struct event_base *base, int fd[2])
{
	struct event *ev = event_new(base, fd[0], EV_READ | EV_PERSIST | EV_ET, told, "asked");
	struct event_base *in;
	event_callback_fn callback;
	evutil_socket_t of;
	short events;
	void *arg;

	event_get_assignment(ev, &in, &of, &events, &callback, &arg);
	show(in == base && of == fd[0] && callback == told && !strcmp(arg, "asked"));
	show(events);
	show(event_get_base(ev) == base);
	show(event_get_fd(ev) == fd[0]);
	show(event_get_callback(ev) == told);
	show(event_get_callback_arg(ev) == arg);
	show(event_get_priority(ev));
	show(ev->ev_evcallback.evcb_flags);
	show(event_add(ev, NULL));
	show(ev->ev_evcallback.evcb_flags);
	/* What is pending cannot be given another priority once it is active, nor assigned. */
	show(event_priority_set(ev, 0));
	show(event_priority_set(ev, 1));
	show(event_priority_set(ev, -1));
	event_active(ev, EV_READ, 1);
	show(ev->ev_evcallback.evcb_flags);
	show(ev->ev_res);
	show(event_priority_set(ev, 0));
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	event_free(ev);
	show(event_new(base, -1, EV_SIGNAL | EV_READ, told, NULL) == NULL);
	ev = event_new(base, 0, 0, told, event_self_cbarg());
	show(ev != NULL);
	event_free(ev);
}

int main(void)
{
	struct event_base *base = a_base();
	int fd[2];

	a_pair(fd);
	once_each(base, fd);
	persistent(base, fd);
	asked(base, fd);
	show(event_base_dispatch(base));
	event_base_free(base);
	return 0;
}
