/* Many timers: timers add|fire NUMBER: prints nanoseconds a timer. All are due by the time the loop is asked, in an order that is not
 * the one they were added in. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long fired;

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

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct timespec pause = {1, 100000000};
	struct event **timers;
	unsigned long random = 88172645463325252ul;
	long number, index;
	double began, added;

	if (argc != 3) {
		fprintf(stderr, "usage: %s add|fire NUMBER\n", argv[0]);
		return 2;
	}
	number = atol(argv[2]);
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
