/* Many timers: timers add|fire|again NUMBER: prints nanoseconds a timer. All are due by the time the loop is asked, in an order that is
 * not the one they were added in. again: a thousand of no time at all, which add themselves again until NUMBER have fired. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CROWD = 1000 };

static long fired, most;

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static void on_time(evutil_socket_t fd, short what, void *argument)
{
	(void)fd, (void)what, (void)argument;
	fired++;
}

static void on_again(evutil_socket_t fd, short what, void *argument)
{
	struct timeval at_once = {0, 0};

	(void)fd, (void)what;
	if (++fired < most)
		event_add(argument, &at_once);
}

/* Those that do not add themselves any more end the loop: nothing is left. */
static double again(struct event_base *base)
{
	struct timeval at_once = {0, 0};
	double began;
	int index;

	for (index = 0; index < CROWD; index++)
		event_add(event_new(base, -1, 0, on_again, event_self_cbarg()), &at_once);
	began = now();
	event_base_dispatch(base);
	return (now() - began) / (double)fired;
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct timespec pause = {1, 100000000};
	struct event **timers;
	unsigned long random = 88172645463325252ul;
	long number, index;
	double began, added;

	if (argc != 3) {
		fprintf(stderr, "usage: %s add|fire|again NUMBER\n", argv[0]);
		return 2;
	}
	number = atol(argv[2]);
	if (strcmp(argv[1], "again") == 0) {
		most = number;
		return printf("%.2f\n", again(base)), 0;
	}
	timers = calloc((size_t)number, sizeof *timers);
	for (index = 0; index < number; index++)
		timers[index] = event_new(base, -1, 0, on_time, NULL);
	began = now();
	for (index = 0; index < number; index++) {
		struct timeval after = {0, 0};

		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		after.tv_usec = (long)(random % 1000000);
		event_add(timers[index], &after);
	}
	added = now() - began;
	nanosleep(&pause, NULL);
	began = now();
	event_base_dispatch(base);
	began = now() - began;
	if (fired != number)
		return fprintf(stderr, "%ld of %ld timers fired\n", fired, number), 1;
	printf("%.2f\n", (strcmp(argv[1], "add") == 0 ? added : began) / (double)number);
	return 0;
}
