/* Edge-triggered events, two on one descriptor, added and deleted in turn (#636): no edge is lost. Told too often is allowed,
 * told without a cause is not. conform: methods=epoll alone=counts-of-spurious-edges-may-differ */
#include "conform.h"
#include "random.h"
#include <event2/event_struct.h>

static int told[3];

static void called(evutil_socket_t fd, short events, void *arg)
{
	*(int *)arg |= events;
}

static void run(void)
{
	struct event_base *base = event_base_new();
	struct event events[3];
	static const short kinds[3] = { EV_READ, EV_WRITE, EV_READ | EV_WRITE };
	int fd[2], i, step, added[3] = { 0, 0, 0 };

	a_pair(fd);
	for (i = 0; i < 3; i++)
		event_assign(&events[i], base, fd[0], kinds[i] | EV_ET | EV_PERSIST, called, &told[i]);
	for (step = 0; step < 200; step++) {
		int which = below(3), fresh = 0, wrote = 0;

		memset(told, 0, sizeof told);
		switch (below(4)) {
		case 0:
			/* Whoever comes is told what is so already. */
			fresh = !added[which];
			must(event_add(&events[which], NULL) == 0);
			added[which] = 1;
			break;
		case 1:
			must(event_del(&events[which]) == 0);
			added[which] = 0;
			break;
		case 2:
			write_byte(fd[1], 'x');
			wrote = 1;
			break;
		default: read_all(fd[0]); break;
		}
		must(event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE) >= 0);
		if (wrote)
			for (i = 0; i < 3; i++)
				must(!added[i] || !(kinds[i] & EV_READ) || told[i] & EV_READ);
		if (fresh)
			must(!(kinds[which] & EV_WRITE) || told[which] & EV_WRITE);
		for (i = 0; i < 3; i++)
			must(added[i] || !told[i]);
		if (told[0] & EV_READ || told[2] & EV_READ) {
			char byte;

			must(recv(fd[0], &byte, 1, MSG_PEEK) == 1);
		}
	}
	for (i = 0; i < 3; i++)
		event_del(&events[i]);
	close(fd[0]);
	close(fd[1]);
	event_base_free(base);
}

int main(int argc, char **argv)
{
	alarm(60);
	seeds(argc, argv, 100, run);
	say("ok");
	return 0;
}
