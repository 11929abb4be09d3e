/* Edge-triggered events: EV_ET is among the reasons where the method has edges; otherwise they are told again and again. */
#include "conform.h"
#include <event2/event_struct.h>

static int calls;

static void called(evutil_socket_t fd, short events, void *arg)
{
	say("%s: %x", (const char *)arg, (unsigned)events);
	calls++;
}

int main(void)
{
	struct event_base *base = a_base();
	struct event ev;
	struct timeval tv = ms(1);
	int fd[2], persist, i;

	a_pair(fd);
	for (persist = 0; persist < 2; persist++) {
		event_assign(&ev, base, fd[0], EV_READ | EV_ET | (persist ? EV_PERSIST : 0), called, persist ? "persists" : "once");
		event_add(&ev, NULL);
		calls = 0;
		for (i = 0; i < 3; i++) {
			if (i == 0)
				write_byte(fd[1], 'x');
			event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		}
		show(calls);
		show(event_pending(&ev, EV_READ, NULL));
		event_active(&ev, EV_READ, 1);
		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		read_all(fd[0]);
		event_del(&ev);
		event_add(&ev, &tv);
		event_base_loop(base, EVLOOP_ONCE);
		event_del(&ev);
	}
	event_base_free(base);
	return 0;
}
