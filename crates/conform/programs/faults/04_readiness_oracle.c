/* Duplicated, closed and reused descriptors: what the loop tells is what poll(2) says of the same descriptors at that moment. */
#include "conform.h"
#include "random.h"
#include <event2/event_struct.h>
#include <poll.h>

#define SLOTS 8
#define KINDS 3

static struct event_base *base;
/* Of each slot: the watched end, its peer, a duplicate that outlives it. */
static int watched[SLOTS], peer[SLOTS], duplicate[SLOTS];
static struct event events[SLOTS][KINDS];
static int told[SLOTS][KINDS];
static unsigned long passes, reports;

static void called(evutil_socket_t fd, short what, void *arg)
{
	int slot = (int)((struct event *)arg - events[0]) / KINDS;
	int kind = (int)((struct event *)arg - events[0]) % KINDS;

	must(fd == watched[slot]);
	told[slot][kind] |= what;
}

static void open_slot(int slot)
{
	static const short kinds[KINDS] = { EV_READ, EV_WRITE, EV_READ | EV_WRITE };
	int fd[2], kind;

	a_pair(fd);
	watched[slot] = fd[0];
	peer[slot] = fd[1];
	duplicate[slot] = -1;
	for (kind = 0; kind < KINDS; kind++)
		event_assign(&events[slot][kind], base, fd[0], kinds[kind] | EV_PERSIST, called, &events[slot][kind]);
}

static void close_slot(int slot, int keep)
{
	int kind;

	for (kind = 0; kind < KINDS; kind++)
		event_del(&events[slot][kind]);
	if (keep && duplicate[slot] < 0)
		duplicate[slot] = dup(watched[slot]);
	close(watched[slot]);
	if (keep) {
		/* What is done to the duplicate must not be told of the number's next owner. */
		(void)!write(peer[slot], "stale", 5);
		close(peer[slot]);
	} else {
		close(peer[slot]);
	}
	if (!keep && duplicate[slot] >= 0) {
		close(duplicate[slot]);
		duplicate[slot] = -1;
	}
}

static int strays[256], stray_count;

static void step(void)
{
	int slot = below(SLOTS), kind = below(KINDS);

	switch (below(9)) {
	case 0:
	case 1: must(event_add(&events[slot][kind], NULL) == 0); break;
	case 2: must(event_del(&events[slot][kind]) == 0); break;
	case 3: (void)!write(peer[slot], "x", 1); break;
	case 4: read_all(watched[slot]); break;
	case 5:
		if (duplicate[slot] < 0)
			duplicate[slot] = dup(watched[slot]);
		break;
	case 6:
		close_slot(slot, 1);
		if (duplicate[slot] >= 0) {
			if (stray_count == 256)
				close(strays[--stray_count]);
			strays[stray_count++] = duplicate[slot];
		}
		open_slot(slot);
		break;
	case 7:
		close_slot(slot, 0);
		open_slot(slot);
		break;
	default:
		if (below(3) == 0)
			shutdown(peer[slot], SHUT_WR);
		break;
	}
}

static void compare(void)
{
	int slot, kind;

	memset(told, 0, sizeof told);
	must(event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE) >= 0);
	passes++;
	for (slot = 0; slot < SLOTS; slot++) {
		struct pollfd now = { watched[slot], POLLIN | POLLOUT, 0 };
		short ready = 0;

		must(poll(&now, 1, 0) >= 0);
		if (now.revents & (POLLIN | POLLHUP | POLLERR))
			ready |= EV_READ;
		if (now.revents & (POLLOUT | POLLHUP | POLLERR))
			ready |= EV_WRITE;
		for (kind = 0; kind < KINDS; kind++) {
			short wanted = ready & event_get_events(&events[slot][kind]);

			if (!event_pending(&events[slot][kind], EV_READ | EV_WRITE, NULL))
				wanted = 0;
			reports += wanted != 0;
			if (told[slot][kind] != wanted) {
				say("slot %d kind %d: told %s, poll(2) says %s", slot, kind,
				    events_text(told[slot][kind]), events_text(wanted));
				exit(1);
			}
		}
	}
}

static void run(void)
{
	int slot, steps;

	base = event_base_new();
	for (slot = 0; slot < SLOTS; slot++)
		open_slot(slot);
	for (steps = 0; steps < 300; steps++) {
		step();
		if (below(3) == 0)
			compare();
	}
	for (slot = 0; slot < SLOTS; slot++)
		close_slot(slot, 0);
	while (stray_count)
		close(strays[--stray_count]);
	event_base_free(base);
}

int main(int argc, char **argv)
{
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	seeds(argc, argv, 60, run);
	must(passes > 5000 && reports > 10000);
	say("ok");
	return 0;
}
