/* Signals and fork: a child's signal stays with the child (#307), also before its reinit; two bases with one signal each; 100,000
 * signals without one lost while somebody counts. */
#include "conform.h"
#include <event2/event_struct.h>

static int parent_calls, child_calls;
static struct event_base *base;

static void counts(evutil_socket_t signal, short events, void *arg)
{
	++*(int *)arg;
}

static void ends(evutil_socket_t fd, short events, void *arg)
{
	event_base_loopbreak(base);
}

/* A while, so that what came through shows. */
static void pause_of(long milliseconds)
{
	struct timeval tv = ms(milliseconds);
	struct event timer;

	evtimer_assign(&timer, base, ends, NULL);
	event_add(&timer, &tv);
	event_base_dispatch(base);
	event_del(&timer);
}

static void childs_signal(void)
{
	struct event ev;
	int status;
	pid_t child;

	base = event_base_new();
	evsignal_assign(&ev, base, SIGUSR1, counts, &parent_calls);
	must(evsignal_add(&ev, NULL) == 0);
	child = fork();
	must(child >= 0);
	if (child == 0) {
		/* After event_reinit the child has its signals for itself. */
		must(event_reinit(base) == 0);
		event_del(&ev);
		evsignal_assign(&ev, base, SIGUSR1, counts, &child_calls);
		must(evsignal_add(&ev, NULL) == 0);
		raise(SIGUSR1);
		pause_of(30);
		_exit(child_calls == 1 ? 11 : 12);
	}
	must(waitpid(child, &status, 0) == child);
	pause_of(30);
	say("child: exit %d, parent's callbacks %d", WEXITSTATUS(status), parent_calls);
	raise(SIGUSR1);
	pause_of(30);
	say("parent's callbacks %d", parent_calls);
	evsignal_del(&ev);
	event_base_free(base);
}

static void two_bases(void)
{
	struct event_base *bases[2];
	struct event events[2];
	int calls[2] = { 0, 0 }, i;

	for (i = 0; i < 2; i++) {
		bases[i] = event_base_new();
		evsignal_assign(&events[i], bases[i], i ? SIGUSR2 : SIGUSR1, counts, &calls[i]);
	}
	must(evsignal_add(&events[1], NULL) == 0);
	raise(SIGUSR2);
	event_base_loop(bases[1], EVLOOP_ONCE);
	evsignal_del(&events[1]);
	must(evsignal_add(&events[0], NULL) == 0);
	raise(SIGUSR1);
	event_base_loop(bases[0], EVLOOP_ONCE);
	evsignal_del(&events[0]);
	say("two bases: %d %d", calls[0], calls[1]);
	event_base_free(bases[0]);
	event_base_free(bases[1]);
}

static void many(void)
{
	struct event ev;
	int calls = 0, sent = 0;

	base = event_base_new();
	evsignal_assign(&ev, base, SIGUSR1, counts, &calls);
	must(evsignal_add(&ev, NULL) == 0);
	/* raise returns when the handler has: none of them merges with another. */
	while (sent < 100000) {
		int i;

		for (i = 0; i < 100; i++, sent++)
			raise(SIGUSR1);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	say("%d signals, %d callbacks", sent, calls);
	evsignal_del(&ev);
	event_base_free(base);
}

int main(void)
{
	alarm(60);
	setvbuf(stdout, NULL, _IOLBF, 0);
	childs_signal();
	two_bases();
	many();
	return 0;
}
