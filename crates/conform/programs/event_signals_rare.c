/* Signals that are rare, or come at rare moments: sent before the event is removed and added again; SIGSEGV and its like,
 * which somebody may send; numbers that are no signals. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static struct event one, two;
static int calls;

static void caught(evutil_socket_t signal, short events, void *arg)
{
	say("  %s: signal %d %s", (const char *)arg, (int)signal, events_text(events));
	calls++;
}

static void added_again(evutil_socket_t signal, short events, void *arg)
{
	say("  %s, added again", events_text(events));
	event_del(&one);
	event_add(&one, NULL);
}

static void raise_times(int signal, int times)
{
	while (times--)
		raise(signal);
}

static void turn(void)
{
	int result = event_base_loop(base, EVLOOP_NONBLOCK);

	say(" turn: %d, calls %d", result, calls);
}

static void quiet(int severity, const char *message)
{
	(void)severity, (void)message;
}

int main(void)
{
	static const int numbers[] = { -1, 0, SIGHUP, SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGSTOP, 34, 64, 65, 1000 };
	struct sigaction now;
	unsigned i;

	base = a_base();
	event_set_log_callback(quiet);
	evsignal_assign(&one, base, SIGUSR1, caught, "one");
	evsignal_assign(&two, base, SIGUSR1, caught, "two");
	say("removed and added again before the loop looks");
	event_add(&one, NULL);
	raise_times(SIGUSR1, 2);
	event_del(&one);
	must(sigaction(SIGUSR1, NULL, &now) == 0);
	show(now.sa_handler == SIG_DFL);
	event_add(&one, NULL);
	turn();
	turn();
	say("another in its place");
	raise_times(SIGUSR1, 1);
	event_del(&one);
	event_add(&two, NULL);
	turn();
	say("nobody in its place when the loop looks");
	raise_times(SIGUSR1, 1);
	event_del(&two);
	evsignal_assign(&two, base, SIGUSR2, caught, "two");
	event_add(&two, NULL);
	turn();
	event_del(&two);
	event_add(&one, NULL);
	turn();
	event_del(&one);
	say("removed and added again by its callback");
	evsignal_assign(&one, base, SIGUSR1, added_again, NULL);
	event_add(&one, NULL);
	raise_times(SIGUSR1, 3);
	turn();
	turn();
	event_del(&one);
	for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		int added;

		say("signal %d", numbers[i]);
		evsignal_assign(&one, base, numbers[i], caught, "number");
		added = event_add(&one, NULL);
		say(" add %d, pending %d", added, event_pending(&one, EV_SIGNAL, NULL));
		if (added == 0 && numbers[i] > 0) {
			kill(getpid(), numbers[i]);
			turn();
		}
		show(event_del(&one));
	}
	event_base_free(base);
	return 0;
}
