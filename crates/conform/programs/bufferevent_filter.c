/* Filters: functions each way, more than one on top of another, watermarks, flush modes, contexts, closing. */
#include "conform.h"
#include <ctype.h>

struct context { const char *name; int calls; int need_more; };

static void turn(struct event_base *base)
{
	int i;

	for (i = 0; i < 5; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static enum bufferevent_filter_result change(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	struct context *context = arg;
	size_t length = evbuffer_get_length(from);
	unsigned char byte;

	say("%s: %zu bytes, limit %ld, mode %d", context->name, length, (long)limit, (int)mode);
	context->calls++;
	if (mode == BEV_FINISHED)
		evbuffer_add(to, ".", 1);
	if (context->need_more && length < 4 && mode == BEV_NORMAL)
		return BEV_NEED_MORE;
	while ((limit < 0 || limit-- > 0) && evbuffer_remove(from, &byte, 1) == 1) {
		byte = (unsigned char)(isupper(byte) ? tolower(byte) : toupper(byte));
		evbuffer_add(to, &byte, 1);
	}
	return BEV_OK;
}

static enum bufferevent_filter_result fail(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	say("fails with %zu", evbuffer_get_length(from));
	return BEV_ERROR;
}

static void free_context(void *arg)
{
	struct context *context = arg;

	say("%s is freed", context->name);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	char text[128];
	size_t length = bufferevent_read(bev, text, sizeof text);

	say("%s reads %.*s", (char *)arg, (int)length, text);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	say("%s has written, %zu left", (char *)arg, evbuffer_get_length(bufferevent_get_output(bev)));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	say("%s: event %x, enabled %s", (char *)arg, (unsigned)what, events_text(bufferevent_get_enabled(bev)));
}

static void sockets(struct event_base *base)
{
	struct context in = { "in", 0, 1 }, out = { "out", 0, 0 };
	struct bufferevent *low, *high, *top;
	int fd[2];

	say("over a socket");
	a_pair(fd);
	low = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	high = bufferevent_filter_new(low, change, change, BEV_OPT_CLOSE_ON_FREE, free_context, &in);
	must(low && high);
	show(bufferevent_get_underlying(high) == low);
	show(bufferevent_getfd(high) == fd[0]);
	say("enabled %s and below %s", events_text(bufferevent_get_enabled(high)), events_text(bufferevent_get_enabled(low)));
	bufferevent_setcb(high, on_read, on_write, on_event, "high");
	must(write(fd[1], "ab", 2) == 2);
	turn(base);
	show(bufferevent_enable(high, EV_READ));
	turn(base);
	must(write(fd[1], "cdef", 4) == 4);
	turn(base);
	bufferevent_write(high, "Out", 3);
	turn(base);
	show(in.calls);
	show(bufferevent_flush(high, EV_READ | EV_WRITE, BEV_FLUSH));
	show(bufferevent_flush(high, EV_WRITE, BEV_FINISHED));
	turn(base);
	bufferevent_disable(high, EV_READ);
	must(write(fd[1], "quiet", 5) == 5);
	turn(base);
	bufferevent_enable(high, EV_READ);
	turn(base);

	say("a filter over the filter");
	top = bufferevent_filter_new(high, NULL, NULL, BEV_OPT_CLOSE_ON_FREE, free_context, &out);
	must(top);
	bufferevent_setcb(top, on_read, on_write, on_event, "top");
	bufferevent_enable(top, EV_READ | EV_WRITE);
	must(write(fd[1], "Twice", 5) == 5);
	turn(base);
	bufferevent_write(top, "Down", 4);
	turn(base);
	show(bufferevent_getfd(top) == fd[0]);
	close(fd[1]);
	turn(base);
	bufferevent_free(top);
	turn(base);
	show(fcntl(fd[0], F_GETFD));
}

static void pairs(struct event_base *base)
{
	struct context in = { "in", 0, 0 }, out = { "out", 0, 0 };
	struct bufferevent *pair[2], *bev, *other;

	say("over a pair");
	must(bufferevent_pair_new(base, 0, pair) == 0);
	bev = bufferevent_filter_new(pair[0], change, change, 0, free_context, &in);
	other = bufferevent_filter_new(pair[1], NULL, fail, 0, free_context, &out);
	must(bev && other);
	bufferevent_setcb(bev, on_read, on_write, on_event, "one");
	bufferevent_setcb(other, on_read, on_write, on_event, "other");
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	bufferevent_enable(other, EV_READ | EV_WRITE);
	bufferevent_write(bev, "Hello", 5);
	turn(base);
	bufferevent_write(other, "World", 5);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_output(other)));

	say("watermarks");
	bufferevent_setwatermark(bev, EV_READ, 0, 4);
	bufferevent_setwatermark(pair[0], EV_WRITE, 0, 3);
	bufferevent_disable(pair[1], EV_READ);
	bufferevent_write(bev, "12345678", 8);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	show(evbuffer_get_length(bufferevent_get_output(pair[0])));
	bufferevent_enable(pair[1], EV_READ);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	/* More than the watermark at once would be stuck with C libevent: faults/05_last_bytes. */
	bufferevent_write(pair[1], "abcd", 4);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_input(bev)));

	say("the filter goes, what is below stays");
	bufferevent_free(bev);
	turn(base);
	bufferevent_setcb(pair[0], on_read, on_write, on_event, "below");
	bufferevent_enable(pair[0], EV_READ);
	bufferevent_free(other);
	turn(base);
	bufferevent_write(pair[1], "again", 5);
	turn(base);
	bufferevent_free(pair[0]);
	bufferevent_free(pair[1]);
	turn(base);
}

int main(void)
{
	struct event_base *base = a_base();
	struct bufferevent *bev;

	show(bufferevent_filter_new(NULL, change, change, 0, NULL, NULL) == NULL);
	sockets(base);
	pairs(base);
	bev = bufferevent_socket_new(base, -1, 0);
	bufferevent_free(bufferevent_filter_new(bev, NULL, NULL, BEV_OPT_CLOSE_ON_FREE, NULL, NULL));
	event_base_free(base);
	return 0;
}
