/* Signals: several events for one, several deliveries, handlers that come back, deleting inside the callback. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static struct event one, two, other;
static int calls;

static void caught(evutil_socket_t signal, short events, void *arg)
{
	say("%s: signal %d %s, signal of the event %d", (const char *)arg, (int)signal, events_text(events),
	    event_get_signal(&one) == signal);
	calls++;
}

static void leaves(evutil_socket_t signal, short events, void *arg)
{
	say("leaves: %s", events_text(events));
	event_del(arg);
}

static volatile sig_atomic_t plain;

static void handler(int signal)
{
	plain++;
}

static void raise_times(int signal, int times)
{
	while (times--)
		kill(getpid(), signal);
}

int main(void)
{
	struct timeval tv = ms(4);
	struct sigaction before;

	base = a_base();
	must(signal(SIGUSR1, handler) != SIG_ERR);
	evsignal_assign(&one, base, SIGUSR1, caught, "one");
	evsignal_assign(&two, base, SIGUSR1, caught, "two");
	evsignal_assign(&other, base, SIGUSR2, caught, "other");
	show(one.ev_events);
	show(evsignal_add(&one, NULL));
	raise_times(SIGUSR1, 1);
	show(event_base_loop(base, EVLOOP_ONCE));
	/* Signals are as many callbacks as were delivered. */
	raise_times(SIGUSR1, 1);
	event_base_loop(base, EVLOOP_ONCE);
	show(evsignal_pending(&one, NULL));
	show(evsignal_add(&two, NULL));
	show(evsignal_add(&other, NULL));
	raise_times(SIGUSR2, 1);
	event_base_loop(base, EVLOOP_ONCE);
	calls = 0;
	raise_times(SIGUSR1, 1);
	event_base_loop(base, EVLOOP_ONCE);
	show(calls);
	show(evsignal_del(&two));
	raise_times(SIGUSR1, 1);
	event_base_loop(base, EVLOOP_ONCE);
	show(evsignal_del(&one));
	show(plain);
	/* The handler from before is back. */
	raise_times(SIGUSR1, 2);
	show(plain);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	must(sigaction(SIGUSR1, NULL, &before) == 0);
	show(before.sa_handler == handler);

	/* Not persistent, and with a timeout. */
	event_assign(&one, base, SIGUSR1, EV_SIGNAL, caught, "once");
	show(event_add(&one, NULL));
	raise_times(SIGUSR1, 1);
	event_base_loop(base, EVLOOP_ONCE);
	show(evsignal_pending(&one, NULL));
	show(event_add(&one, &tv));
	event_base_loop(base, EVLOOP_ONCE);
	show(evsignal_pending(&one, NULL));

	/* Activated by hand, several times: the callback that deletes itself is the last. */
	evsignal_assign(&two, base, SIGUSR1, leaves, &two);
	evsignal_add(&two, NULL);
	event_active(&two, EV_SIGNAL, 5);
	event_base_loop(base, EVLOOP_NONBLOCK);
	evsignal_assign(&one, base, SIGUSR1, caught, "five");
	evsignal_add(&one, NULL);
	event_active(&one, EV_SIGNAL, 5);
	event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_active_by_signal(base, SIGUSR1);
	event_base_active_by_signal(base, SIGUSR2);
	event_base_active_by_signal(base, SIGHUP);
	event_base_loop(base, EVLOOP_NONBLOCK);
	evsignal_del(&one);
	evsignal_del(&other);

	event_set_log_callback(NULL);
	event_assign(&one, base, 65, EV_SIGNAL, caught, "65");
	show(event_add(&one, NULL) < 0);
	event_assign(&one, base, SIGKILL, EV_SIGNAL, caught, "kill");
	show(event_add(&one, NULL) < 0);
	event_base_free(base);
	return 0;
}
