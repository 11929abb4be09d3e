/* What evbuffer functions cost: buffers WHAT NUMBER: does it so often, prints nanoseconds for each. */
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct evbuffer *buffer, *other;
static char bytes[4096];

/* Into an empty buffer, and out again. */
static void message(void)
{
	evbuffer_add(buffer, bytes, 64);
	evbuffer_remove(buffer, bytes, 64);
}

/* Behind what is waiting, most of which stays. */
static void queue(void)
{
	evbuffer_add(buffer, bytes, 64);
	if (evbuffer_get_length(buffer) > 60000)
		evbuffer_drain(buffer, 60000);
}

static void block(void)
{
	evbuffer_add(buffer, bytes, sizeof bytes);
	evbuffer_remove(buffer, bytes, sizeof bytes);
}

static void line(void)
{
	evbuffer_add(buffer, "GET key\r\n", 9);
	free(evbuffer_readln(buffer, NULL, EVBUFFER_EOL_CRLF));
}

static void text(void)
{
	evbuffer_add_printf(buffer, "VALUE %s %d\r\n", "key", 5);
	evbuffer_drain(buffer, 1000);
}

static void move(void)
{
	evbuffer_add(buffer, bytes, 64);
	evbuffer_add_buffer(other, buffer);
	evbuffer_drain(other, 64);
}

static const struct {
	const char *name;
	void (*work)(void);
} all[] = { { "message", message }, { "queue", queue }, { "block", block }, { "line", line }, { "text", text }, { "move", move } };

int main(int argc, char **argv)
{
	long number = argc == 3 ? atol(argv[2]) : 0, i;
	struct timespec from, to;
	size_t what = 0;

	while (argc == 3 && what < sizeof all / sizeof *all && strcmp(all[what].name, argv[1]) != 0)
		what++;
	if (number < 1 || what == sizeof all / sizeof *all) {
		fprintf(stderr, "usage: %s message|queue|block|line|text|move NUMBER\n", argv[0]);
		return 2;
	}
	buffer = evbuffer_new();
	other = evbuffer_new();
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < number; i++)
		all[what].work();
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%.1f ns each\n", ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)number);
	evbuffer_free(buffer);
	evbuffer_free(other);
	return 0;
}
