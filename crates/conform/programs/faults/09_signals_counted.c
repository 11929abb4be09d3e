/* Calls of a signal's callback that the program asked for, and arrivals, are counted together; event_remove_timer leaves the count alone.
 * An event that was deleted by its callback does not keep the address of the count, which the next event_del would write to.
 * C libevent keeps the first count only, takes a signal's count for its timeout, and keeps the address.
 * conform: alone=counts-of-active-signals-are-lost */
#include "conform.h"
#include <event2/event_struct.h>

static int calls;

static void counts(evutil_socket_t signal, short events, void *arg)
{
	calls++;
}

static void deletes(evutil_socket_t signal, short events, void *arg)
{
	calls++;
	must(event_del(arg) == 0);
	must(((struct event *)arg)->ev_.ev_signal.ev_pncalls == NULL);
}

int main(void)
{
	struct event_base *base = a_base();
	struct timeval far = { 100, 0 };
	struct event ev;
	int i;

	/* The library's own event that looks for signals has priority 0. */
	must(event_base_priority_init(base, 2) == 0);
	evsignal_assign(&ev, base, SIGUSR1, counts, NULL);
	must(evsignal_add(&ev, NULL) == 0);
	event_active(&ev, EV_SIGNAL, 2);
	for (i = 0; i < 3; i++)
		raise(SIGUSR1);
	must(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
	must(calls == 5);
	must(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
	must(calls == 5);
	raise(SIGUSR1);
	must(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
	must(calls == 6);
	must(event_add(&ev, &far) == 0);
	event_active(&ev, EV_SIGNAL, 2);
	must(event_remove_timer(&ev) == 0);
	must(event_pending(&ev, EV_SIGNAL | EV_TIMEOUT, NULL) == EV_SIGNAL);
	must(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
	must(calls == 8);
	event_del(&ev);
	evsignal_assign(&ev, base, SIGUSR1, deletes, &ev);
	must(evsignal_add(&ev, NULL) == 0);
	event_active(&ev, EV_SIGNAL, 3);
	must(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	must(calls == 9);
	must(event_del(&ev) == 0);
	event_base_free(base);
	say("ok");
	return 0;
}
