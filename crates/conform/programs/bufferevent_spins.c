/* What C libevent calls forever: a read callback that leaves all of the input at its high watermark (#891), and a filter that says
 * BEV_OK and does nothing. Ours is called again when there is a reason.
 * conform: alone=C-libevent-never-returns-from-these */
#include "conform.h"

static struct event_base *base;
static int calls, takes, asked;

static void turns(void)
{
	int i;

	for (i = 0; i < 5; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	must(++calls < 100);
	evbuffer_drain(bufferevent_get_input(bev), takes);
}

static void at_the_mark(struct bufferevent *from, struct bufferevent *to, int flush)
{
	struct evbuffer *input = bufferevent_get_input(to);
	size_t all = flush ? 30 : 10;

	calls = takes = 0;
	bufferevent_setcb(to, on_read, NULL, NULL, NULL);
	bufferevent_setwatermark(to, EV_READ, 0, 10);
	bufferevent_enable(to, EV_READ);
	bufferevent_write(from, "0123456789abcdefghijklmnopqrst", 30);
	if (flush)
		bufferevent_flush(from, EV_WRITE, BEV_FLUSH);
	turns();
	must(calls == 1 && evbuffer_get_length(input) == all);
	/* What it leaves is told again once somebody takes of it, here and by itself. */
	takes = 3;
	evbuffer_drain(input, 1);
	turns();
	must(calls > 1 && evbuffer_get_length(input) < 10);
	/* And the rest comes. */
	takes = 30;
	evbuffer_drain(input, evbuffer_get_length(input));
	turns();
	must(evbuffer_get_length(input) == 0 && evbuffer_get_length(bufferevent_get_output(from)) == 0);
	/* Without a word where it was disabled meanwhile. */
	takes = 0;
	bufferevent_write(from, "0123456789", 10);
	turns();
	calls = 0;
	bufferevent_disable(to, EV_READ);
	evbuffer_drain(input, 1);
	turns();
	must(calls == 0);
	bufferevent_free(from);
	bufferevent_free(to);
	turns();
}

static enum bufferevent_filter_result idle(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	must(++asked < 100);
	return BEV_OK;
}

/* Begins with a line of its own, without taking anything, three times. */
static enum bufferevent_filter_result with_head(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	if (++asked <= 3)
		return evbuffer_add(to, "head ", 5) == 0 ? BEV_OK : BEV_ERROR;
	return evbuffer_add_buffer(to, from) == 0 ? BEV_OK : BEV_ERROR;
}

/* Needs more than the mark below lets in, and tells what it has when it is flushed. */
static enum bufferevent_filter_result chunks(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	must(++asked < 100);
	if (mode == BEV_NORMAL && evbuffer_get_length(from) < 64)
		return BEV_NEED_MORE;
	return evbuffer_add_buffer(to, from) == 0 ? BEV_OK : BEV_ERROR;
}

static void too_much_asked(void)
{
	struct bufferevent *pair[2], *filter;

	must(bufferevent_pair_new(base, 0, pair) == 0);
	filter = bufferevent_filter_new(pair[0], chunks, NULL, BEV_OPT_CLOSE_ON_FREE, NULL, NULL);
	bufferevent_setwatermark(pair[0], EV_READ, 0, 10);
	bufferevent_enable(filter, EV_READ);
	asked = 0;
	bufferevent_write(pair[1], "0123456789abcdefghijklmnopqrst", 30);
	turns();
	must(asked > 0 && evbuffer_get_length(bufferevent_get_output(pair[1])) == 20);
	asked = 0;
	bufferevent_flush(pair[1], EV_WRITE, BEV_FLUSH);
	turns();
	must(evbuffer_get_length(bufferevent_get_input(pair[0])) == 30);
	bufferevent_flush(filter, EV_READ, BEV_FLUSH);
	turns();
	must(evbuffer_get_length(bufferevent_get_input(filter)) == 30);
	bufferevent_free(filter);
	bufferevent_free(pair[1]);
	turns();
}

static void filters(void)
{
	struct bufferevent *pair[2], *idles, *heads, *top;
	char text[64];
	size_t length;

	must(bufferevent_pair_new(base, 0, pair) == 0);
	idles = bufferevent_filter_new(pair[0], idle, idle, 0, NULL, NULL);
	bufferevent_enable(idles, EV_READ);
	bufferevent_enable(pair[1], EV_READ);
	asked = 0;
	bufferevent_write(idles, "some", 4);
	bufferevent_flush(idles, EV_READ | EV_WRITE, BEV_FLUSH);
	bufferevent_write(pair[1], "more", 4);
	turns();
	bufferevent_flush(idles, EV_READ | EV_WRITE, BEV_FINISHED);
	must(asked > 3);
	bufferevent_free(idles);
	turns();

	/* To whom it is passed at once does not matter. */
	asked = 0;
	heads = bufferevent_filter_new(pair[0], NULL, with_head, 0, NULL, NULL);
	bufferevent_write(heads, "and body", 8);
	turns();
	length = bufferevent_read(pair[1], text, sizeof text);
	must(length == 23 && memcmp(text, "head head head and body", 23) == 0);
	bufferevent_free(heads);
	turns();
	asked = 0;
	heads = bufferevent_filter_new(pair[0], NULL, NULL, 0, NULL, NULL);
	top = bufferevent_filter_new(heads, NULL, with_head, 0, NULL, NULL);
	bufferevent_write(top, "and body", 8);
	turns();
	length = bufferevent_read(pair[1], text, sizeof text);
	must(length == 23 && memcmp(text, "head head head and body", 23) == 0);
	bufferevent_free(top);
	bufferevent_free(heads);
	bufferevent_free(pair[0]);
	bufferevent_free(pair[1]);
	turns();
}

int main(void)
{
	struct bufferevent *pair[2];
	int fd[2], flush;

	base = a_base();
	for (flush = 0; flush < 2; flush++) {
		must(bufferevent_pair_new(base, 0, pair) == 0);
		at_the_mark(pair[0], pair[1], flush);
	}
	a_pair(fd);
	at_the_mark(bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE),
	    bufferevent_socket_new(base, fd[1], BEV_OPT_CLOSE_ON_FREE), 0);
	filters();
	too_much_asked();
	event_base_free(base);
	say("ok");
	return 0;
}
