/* A watched duplicate is closed before its event is deleted, and its number given to another one with dup2: nothing of the
 * library's stands at that number meanwhile. */
#include "conform.h"
#include <event2/event_struct.h>

static int told[2];

static void called(evutil_socket_t fd, short events, void *arg)
{
	*(int *)arg |= events;
}

int main(void)
{
	struct event_base *base = a_base();
	struct event first, second;
	int fd[2], copy, round;

	a_pair(fd);
	write_byte(fd[1], 'x');
	event_assign(&first, base, fd[0], EV_READ | EV_PERSIST, called, &told[0]);
	must(event_add(&first, NULL) == 0);
	copy = dup(fd[0]);
	for (round = 0; round < 4; round++) {
		short kind = round % 2 ? EV_WRITE : EV_READ;

		event_assign(&second, base, copy, kind | EV_PERSIST, called, &told[1]);
		say("add %d", event_add(&second, NULL));
		told[0] = told[1] = 0;
		event_base_loop(base, EVLOOP_ONCE);
		say("both: %s, %s", events_text(told[0]), events_text(told[1]));
		close(copy);
		event_del(&second);
		told[0] = told[1] = 0;
		event_base_loop(base, EVLOOP_ONCE);
		event_base_loop(base, EVLOOP_ONCE);
		event_base_loop(base, EVLOOP_ONCE);
		say("closed: %s, %s", events_text(told[0]), events_text(told[1]));
		/* Free, as far as this program can know. */
		say("free %d", fcntl(copy, F_GETFD) < 0);
		must(dup2(fd[0], copy) == copy);
	}
	event_del(&first);
	event_base_free(base);
	return 0;
}
