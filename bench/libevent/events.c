/* How long one event takes, in the pattern of libevent's own bench: a byte wanders over `pipes` pipes, `active` of them at once.
 * events persist|once PIPES ACTIVE MESSAGES ROUNDS: prints nanoseconds a message, the best round. */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct pipe_end {
	int in, out;
	struct event *event;
};

static struct event_base *base;
static struct pipe_end *pipes;
static int number, step, again;
static long left, under_way;

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void on_byte(evutil_socket_t fd, short what, void *argument)
{
	long index = (long)argument;
	char byte;

	(void)what;
	if (read(fd, &byte, 1) != 1)
		fail("read");
	under_way--;
	if (again && event_add(pipes[index].event, NULL) != 0)
		fail("event_add");
	if (left > 0) {
		long next = (index + step) % number;

		left--;
		under_way++;
		if (write(pipes[next].out, &byte, 1) != 1)
			fail("write");
	} else if (under_way == 0) {
		event_base_loopbreak(base);
	}
}

int main(int argc, char **argv)
{
	int active, rounds, index;
	long messages;
	double best = 1e18;

	if (argc != 6) {
		fprintf(stderr, "usage: %s persist|once PIPES ACTIVE MESSAGES ROUNDS\n", argv[0]);
		return 2;
	}
	again = strcmp(argv[1], "once") == 0;
	number = atoi(argv[2]);
	active = atoi(argv[3]);
	messages = atol(argv[4]);
	rounds = atoi(argv[5]);
	step = number / active;
	if (step == 0)
		step = 1;
	base = event_base_new();
	pipes = calloc((size_t)number, sizeof *pipes);
	for (index = 0; index < number; index++) {
		int ends[2];
		short what = (short)(EV_READ | (again ? 0 : EV_PERSIST));

		if (pipe(ends) != 0)
			fail("pipe");
		pipes[index].in = ends[0];
		pipes[index].out = ends[1];
		pipes[index].event = event_new(base, ends[0], what, on_byte, (void *)(long)index);
		if (event_add(pipes[index].event, NULL) != 0)
			fail("event_add");
	}
	while (rounds-- > 0) {
		double began;

		for (index = 0; index < active; index++)
			if (write(pipes[(index * step) % number].out, "x", 1) != 1)
				fail("write");
		under_way = active;
		left = messages - active;
		began = now();
		event_base_dispatch(base);
		began = (now() - began) / (double)messages;
		if (began < best)
			best = began;
	}
	printf("%.2f %s\n", best, event_base_get_method(base));
	return 0;
}
