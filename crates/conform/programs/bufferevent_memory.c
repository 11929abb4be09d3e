/* Short messages that a program collects elsewhere do not each keep the memory they were read into. */
#include "conform.h"
#include <malloc.h>

#define MESSAGES 4000

static struct evbuffer *collected;
static struct bufferevent *to;
static int by_bytes, messages;

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);

	messages++;
	if (to)
		bufferevent_write_buffer(to, input);
	else if (by_bytes)
		evbuffer_remove_buffer(input, collected, 63), evbuffer_add_buffer(collected, input);
	else
		bufferevent_read_buffer(bev, collected);
}

static void collect(struct event_base *base, const char *name, struct evbuffer *into)
{
	char message[64] = { 0 };
	struct bufferevent *bev;
	int fd[2], i;
	size_t before, grown;

	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, NULL, NULL, NULL);
	bufferevent_enable(bev, EV_READ);
	messages = 0;
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (i = 0; i < MESSAGES; i++) {
		must(write(fd[1], message, sizeof message) == sizeof message);
		while (messages == i)
			event_base_loop(base, EVLOOP_ONCE);
	}
	grown = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	say("%s: %zu bytes are there", name, evbuffer_get_length(into));
	if (grown > 16u << 20)
		say("and %zu MiB to hold them", grown >> 20);
	evbuffer_drain(into, evbuffer_get_length(into));
	bufferevent_free(bev);
	event_base_loop(base, EVLOOP_NONBLOCK);
	close(fd[1]);
}

int main(void)
{
	struct event_base *base = a_base();
	struct bufferevent *pair[2];
	int fd[2];

	collected = evbuffer_new();
	collect(base, "buffers", collected);
	by_bytes = 1;
	collect(base, "parts of buffers", collected);
	a_pair(fd);
	to = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_disable(to, EV_WRITE);
	collect(base, "another's output", bufferevent_get_output(to));
	bufferevent_free(to);
	event_base_loop(base, EVLOOP_NONBLOCK);
	must(bufferevent_pair_new(base, 0, pair) == 0);
	bufferevent_enable(pair[1], EV_READ);
	to = pair[0];
	collect(base, "a pair", bufferevent_get_input(pair[1]));
	bufferevent_free(pair[0]);
	bufferevent_free(pair[1]);
	event_base_loop(base, EVLOOP_NONBLOCK);
	close(fd[1]);
	evbuffer_free(collected);
	event_base_free(base);
	return 0;
}
