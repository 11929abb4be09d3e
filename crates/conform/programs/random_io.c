/* Random descriptors and events: which events each pass brings, and what stays pending, is the same. */
#include "conform.h"
#include "random.h"
#include <event2/event_struct.h>

#define PAIRS 6
#define EVENTS 18

static struct event_base *base;
static struct event events[EVENTS];
static int fd[PAIRS][2], told[EVENTS];

static void called(evutil_socket_t of, short what, void *arg);

/* Or C libevent would give a persistent event its old timeout back one day, which is a fault. */
static void forget_timeout(int which)
{
	event_assign(&events[which], base, fd[which % PAIRS][0], event_get_events(&events[which]), called, &events[which]);
}

static void called(evutil_socket_t of, short what, void *arg)
{
	int which = (int)((struct event *)arg - events);
	struct timeval far = { 100 + which, 0 };

	told[which] |= what | 0x1000;
	/* What a callback does concerns itself alone: the order of descriptors in a pass is the kernel's. */
	if (which % 5 == 0) {
		event_del(arg);
		forget_timeout(which);
	}
	if (which % 3 == 0)
		event_add(arg, which % 2 ? &far : NULL);
}

static void assign(int which)
{
	static const short kinds[] = { EV_READ, EV_WRITE, EV_READ | EV_WRITE };

	event_assign(&events[which], base, fd[which % PAIRS][0], kinds[below(3)] | (below(2) ? EV_PERSIST : 0), called,
	    &events[which]);
}

static void step(void)
{
	int which = below(EVENTS), pair = which % PAIRS, i;
	struct timeval far = { 100 + below(100), 0 };

	switch (below(9)) {
	case 0:
	case 1: trace("add %d %d", which, event_add(&events[which], NULL)); break;
	case 2: trace("add far %d %d", which, event_add(&events[which], &far)); break;
	case 3:
		trace("del %d %d", which, event_del(&events[which]));
		forget_timeout(which);
		break;
	case 4:
		if (write(fd[pair][1], "x", 1) == 1)
			trace("byte %d", pair);
		break;
	case 5: read_all(fd[pair][0]); trace("drained %d", pair); break;
	case 6:
		/* The descriptor goes, and its number comes back as another file. */
		for (i = pair; i < EVENTS; i += PAIRS)
			event_del(&events[i]);
		close(fd[pair][0]);
		close(fd[pair][1]);
		a_pair(fd[pair]);
		for (i = pair; i < EVENTS; i += PAIRS)
			assign(i);
		trace("renewed %d", pair);
		break;
	case 7:
		shutdown(fd[pair][1], SHUT_WR);
		trace("half closed %d", pair);
		break;
	default:
		/* An event that is active already is not added by C libevent, though it says so. */
		if (event_pending(&events[which], EV_READ | EV_WRITE, NULL)) {
			event_active(&events[which], EV_READ, 1);
			trace("active %d", which);
		}
		break;
	}
}

static void pass(void)
{
	int i;

	memset(told, 0, sizeof told);
	trace("loop %d", event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE));
	for (i = 0; i < EVENTS; i++)
		trace("%d: told %x, pending %d", i, told[i],
		    event_pending(&events[i], EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	trace("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
}

static void run(void)
{
	int i, steps;

	base = event_base_new();
	for (i = 0; i < PAIRS; i++)
		a_pair(fd[i]);
	for (i = 0; i < EVENTS; i++)
		assign(i);
	for (steps = 0; steps < 80; steps++) {
		step();
		if (below(4) == 0)
			pass();
	}
	for (i = 0; i < EVENTS; i++)
		event_del(&events[i]);
	pass();
	for (i = 0; i < PAIRS; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
	event_base_free(base);
}

int main(int argc, char **argv)
{
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	seeds(argc, argv, 200, run);
	return 0;
}
