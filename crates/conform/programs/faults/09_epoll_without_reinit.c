/* A child that forgets event_reinit does not disturb its parent, as far as that can be: it frees the base and leaves.
 * (C libevent takes the parent's descriptors out of the epoll that they share.) conform: alone=the-parent-goes-deaf */
#include "conform.h"
#include <event2/event_struct.h>

static int calls;

static void called(evutil_socket_t fd, short events, void *arg)
{
	calls++;
	read_all(fd);
}

int main(void)
{
	struct event_base *base = a_base();
	struct event ev;
	int fd[2], status, round;

	a_pair(fd);
	event_assign(&ev, base, fd[0], EV_READ | EV_PERSIST, called, NULL);
	must(event_add(&ev, NULL) == 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	for (round = 0; round < 3; round++) {
		pid_t child = fork();

		must(child >= 0);
		if (child == 0) {
			if (round == 1)
				close(fd[0]);
			if (round == 2) {
				must(event_reinit(base) == 0);
				event_del(&ev);
			}
			event_base_free(base);
			_exit(0);
		}
		must(waitpid(child, &status, 0) == child && WIFEXITED(status));
		write_byte(fd[1], 'x');
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		say("round %d: %d calls", round, calls);
		must(calls == round + 1);
		event_del(&ev);
		event_add(&ev, NULL);
	}
	event_del(&ev);
	event_base_free(base);
	say("ok");
	return 0;
}
