/* event_del and event_add of an event that nothing happened to, in a callback.
 * readd same|each PAIRS ROUNDS: prints nanoseconds a pair, the best round. `same`: one event PAIRS times in a turn; `each`: 100 events,
 * each once in a turn, with the turn. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 100 };
static struct event_base *base;
static struct event *events[EVENTS];
static int each;
static long pairs, done;
static double took;

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static void never(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what, (void)argument;
	abort();
}

static void on_turn(evutil_socket_t fd, short what, void *self)
{
	long index, here = each ? EVENTS : pairs;
	double began = now();

	(void)fd, (void)what;
	for (index = 0; index < here; index++) {
		struct event *event = events[each ? index : 0];

		if (event_del(event) != 0 || event_add(event, NULL) != 0)
			abort();
	}
	took += now() - began;
	done += here;
	if (done < pairs)
		event_active(*(struct event **)self, EV_TIMEOUT, 1);
}

int main(int argc, char **argv)
{
	struct event *turn;
	int index, rounds;
	double best = 1e18;

	if (argc != 4) {
		fprintf(stderr, "usage: %s same|each PAIRS ROUNDS\n", argv[0]);
		return 2;
	}
	each = strcmp(argv[1], "each") == 0;
	pairs = atol(argv[2]);
	rounds = atoi(argv[3]);
	base = event_base_new();
	for (index = 0; index < EVENTS; index++) {
		int ends[2];

		if (pipe(ends) != 0)
			return perror("pipe"), 1;
		events[index] = event_new(base, ends[0], EV_READ | EV_PERSIST, never, NULL);
		event_add(events[index], NULL);
	}
	turn = event_new(base, -1, 0, on_turn, &turn);
	while (rounds-- > 0) {
		double began;

		done = 0, took = 0;
		event_active(turn, EV_TIMEOUT, 1);
		began = now();
		do
			event_base_loop(base, EVLOOP_NONBLOCK);
		while (done < pairs);
		/* What was put off is told to the kernel here. */
		event_base_loop(base, EVLOOP_NONBLOCK);
		took = (now() - began) / (double)done;
		if (took < best)
			best = took;
	}
	printf("%.2f %s\n", best, event_base_get_method(base));
	return 0;
}
