/* The old names: event_init and what works on the current base. */
#include "conform.h"
#include <event2/event_compat.h>
#include <event2/event_struct.h>

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("%s: %s", (const char *)arg, events_text(events));
}

static void breaks(evutil_socket_t fd, short events, void *arg)
{
	say("breaks");
	event_loopbreak();
}

int main(void)
{
	struct timeval tv = ms(3), later = ms(50);
	struct event ev, timer, usr1;
	struct event_base *base, *second;
	int fd[2];

	alarm(20);
	a_pair(fd);
	base = event_init();
	must(base != NULL);
	show(strcmp(event_get_method(), event_base_get_method(base)));
	event_set(&ev, fd[0], EV_READ, told, "read");
	show(event_get_base(&ev) == base);
	show(event_initialized(&ev));
	show(event_add(&ev, NULL));
	write_byte(fd[1], 'x');
	show(event_loop(EVLOOP_ONCE));
	read_all(fd[0]);
	evtimer_set(&timer, told, "timer");
	show(evtimer_initialized(&timer));
	show(evtimer_add(&timer, &tv));
	show(evtimer_pending(&timer, NULL) != 0);
	show(event_dispatch());
	timeout_set(&timer, told, "timeout");
	show(timeout_add(&timer, &tv));
	show(timeout_pending(&timer, NULL) != 0);
	show(timeout_initialized(&timer));
	show(timeout_del(&timer));
	signal_set(&usr1, SIGUSR1, told, "signal");
	show(signal_add(&usr1, NULL));
	show(signal_pending(&usr1, NULL) != 0);
	show(signal_initialized(&usr1));
	kill(getpid(), SIGUSR1);
	show(event_loop(EVLOOP_ONCE));
	show(signal_del(&usr1));
	show(event_once(-1, EV_TIMEOUT, told, "once", &tv));
	show(event_dispatch());
	evtimer_set(&timer, breaks, NULL);
	evtimer_add(&timer, &tv);
	event_once(-1, EV_TIMEOUT, told, "after the break", &later);
	show(event_dispatch());
	show(event_loopexit(&tv));
	event_set(&ev, fd[0], EV_READ, told, "read");
	event_add(&ev, NULL);
	show(event_loop(0));
	event_del(&ev);
	show(event_priority_init(3));
	event_set(&ev, fd[0], EV_READ, told, "read");
	show(event_get_priority(&ev));
	/* The last base made so is the current one. */
	second = event_init();
	event_set(&ev, fd[0], EV_READ, told, "second");
	show(event_get_base(&ev) == second);
	show(event_base_set(base, &ev));
	show(event_get_base(&ev) == base);
	event_base_free(second);
	event_base_free(base);
	return 0;
}
