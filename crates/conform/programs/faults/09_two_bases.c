/* Two bases that wait for the same signal: each is told. (C libevent tells the one that added or looped last, and prints a warning.)
 * conform: alone=one-base-has-it-all */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

static void counts(evutil_socket_t signal, short events, void *arg)
{
	++*(int *)arg;
}

int main(void)
{
	struct event_base *bases[2];
	struct event events[2];
	int calls[2] = { 0, 0 }, i;

	alarm(20);
	for (i = 0; i < 2; i++) {
		bases[i] = event_base_new();
		evsignal_assign(&events[i], bases[i], SIGUSR1, counts, &calls[i]);
		must(evsignal_add(&events[i], NULL) == 0);
	}
	raise(SIGUSR1);
	for (i = 0; i < 2; i++)
		must(event_base_loop(bases[i], EVLOOP_ONCE) == 0);
	must(calls[0] == 1 && calls[1] == 1);
	/* One of them goes: the other still has it. */
	evsignal_del(&events[1]);
	event_base_free(bases[1]);
	raise(SIGUSR1);
	must(event_base_loop(bases[0], EVLOOP_ONCE) == 0);
	must(calls[0] == 2 && calls[1] == 1);
	evsignal_del(&events[0]);
	event_base_free(bases[0]);
	say("ok");
	return 0;
}
