/* The end of a stream comes behind its last byte, whatever stands between (#1451, #690, #854): through sockets, pairs and filters,
 * with readers of 1 byte, high watermarks and pauses, every byte arrives, and then the end, once.
 * conform: seconds=60 alone=C-libevent-tells-the-end-ahead-of-what-a-filter-keeps */
#include "conform.h"

#define BYTES 40000

static struct event_base *base;

struct reader { struct bufferevent *bev; size_t mark, got; uint32_t sum; int ends, pause; struct event *resume; };

static void take(struct reader *reader, size_t most)
{
	struct evbuffer *input = bufferevent_get_input(reader->bev);
	unsigned char bytes[4096];

	while (most && evbuffer_get_length(input)) {
		int got = evbuffer_remove(input, bytes, most < sizeof bytes ? most : sizeof bytes), i;

		for (i = 0; i < got; i++)
			reader->sum = reader->sum * 31 + bytes[i];
		reader->got += got;
		most -= got;
		if (reader->pause && reader->got % 997 < (size_t)got) {
			struct timeval soon = { 0, 0 };

			bufferevent_disable(reader->bev, EV_READ);
			event_add(reader->resume, &soon);
			return;
		}
	}
}

static void resumes(evutil_socket_t fd, short events, void *arg)
{
	struct reader *reader = arg;

	bufferevent_enable(reader->bev, EV_READ);
	take(reader, reader->mark ? reader->mark : (size_t)-1);
}

static void reads(struct bufferevent *bev, void *arg)
{
	struct reader *reader = arg;

	take(reader, reader->mark ? reader->mark : (size_t)-1);
}

static void ends(struct bufferevent *bev, short what, void *arg)
{
	struct reader *reader = arg;

	/* What is left is read now. */
	reader->ends += (what & BEV_EVENT_EOF) != 0;
	reader->pause = 0;
	take(reader, (size_t)-1);
	if (what & BEV_EVENT_ERROR)
		say("error");
	event_base_loopbreak(base);
}

static enum bufferevent_filter_result xors(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
	enum bufferevent_flush_mode mode, void *arg)
{
	unsigned char bytes[512];
	int got, i;
	size_t want = sizeof bytes;

	if (!evbuffer_get_length(from))
		return BEV_NEED_MORE;
	while (limit != 0 && (got = evbuffer_remove(from, bytes, limit > 0 && (size_t)limit < want ? (size_t)limit : want)) > 0) {
		for (i = 0; i < got; i++)
			bytes[i] ^= 0x5a;
		evbuffer_add(to, bytes, got);
		if (limit > 0)
			limit -= got;
	}
	return BEV_OK;
}

static void run(const char *kind, size_t mark, int pause, int options)
{
	struct reader reader = { NULL, mark, 0, 0, 0, pause, NULL };
	struct bufferevent *ends_of[2], *writer;
	unsigned char bytes[BYTES];
	uint32_t sum = 0;
	int fd[2] = { -1, -1 }, i, filtered = strstr(kind, "filter") != NULL, pair = strstr(kind, "pair") != NULL;

	if (pair) {
		must(bufferevent_pair_new(base, options, ends_of) == 0);
	} else {
		a_pair(fd);
		for (i = 0; i < 2; i++)
			ends_of[i] = bufferevent_socket_new(base, fd[i], options | BEV_OPT_CLOSE_ON_FREE);
	}
	if (filtered)
		for (i = 0; i < 2; i++)
			ends_of[i] = bufferevent_filter_new(ends_of[i], xors, xors, options | BEV_OPT_CLOSE_ON_FREE, NULL, NULL);
	reader.bev = ends_of[0];
	writer = ends_of[1];
	reader.resume = evtimer_new(base, resumes, &reader);
	bufferevent_setcb(reader.bev, reads, NULL, ends, &reader);
	if (mark)
		bufferevent_setwatermark(reader.bev, EV_READ, 0, mark);
	bufferevent_enable(reader.bev, EV_READ);
	bufferevent_enable(writer, EV_WRITE);
	for (i = 0; i < BYTES; i++) {
		bytes[i] = (unsigned char)(i * 7 + i / 251);
		sum = sum * 31 + bytes[i];
	}
	bufferevent_write(writer, bytes, BYTES);
	if (pair) {
		bufferevent_flush(writer, EV_WRITE, BEV_FINISHED);
	} else {
		struct timeval tick = ms(1);

		while (evbuffer_get_length(bufferevent_get_output(writer))) {
			event_base_loopexit(base, &tick);
			event_base_dispatch(base);
		}
		/* A filter's bytes are below it by now, the socket's may not be out yet. */
		while (filtered && evbuffer_get_length(bufferevent_get_output(bufferevent_get_underlying(writer)))) {
			event_base_loopexit(base, &tick);
			event_base_dispatch(base);
		}
		shutdown(fd[1], SHUT_WR);
	}
	if (!reader.ends)
		event_base_dispatch(base);
	say("%s, mark %d, pauses %d, options %d: %d bytes, sum %s, ends %d", kind, (int)mark, pause, options, (int)reader.got,
	    reader.sum == sum ? "right" : "wrong", reader.ends);
	must(reader.got == BYTES && reader.sum == sum && reader.ends == 1);
	event_free(reader.resume);
	bufferevent_free(reader.bev);
	bufferevent_free(writer);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

int main(void)
{
	static const char *const kinds[] = { "socket", "socket with filters" };
	static const size_t marks[] = { 0, 1, 100, 5000 };
	unsigned kind, mark;

	base = a_base();
	for (kind = 0; kind < 2; kind++)
		for (mark = 0; mark < 4; mark++) {
			run(kinds[kind], marks[mark], 0, 0);
			run(kinds[kind], marks[mark], 0, BEV_OPT_DEFER_CALLBACKS);
			run(kinds[kind], marks[mark], 1, 0);
		}
	event_base_free(base);
	say("ok");
	return 0;
}
