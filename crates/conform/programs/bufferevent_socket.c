/* A bufferevent over a socket: what is enabled, watermarks, when it calls back, the ends of input and output. */
#include "conform.h"
#include <event2/bufferevent_struct.h>

static char many[100000];

static void on_read(struct bufferevent *bev, void *arg)
{
	char text[64];
	size_t length;

	length = evbuffer_get_length(bufferevent_get_input(bev));
	if (length < sizeof text) {
		bufferevent_read(bev, text, length);
		say("%s reads %.*s", (char *)arg, (int)length, text);
	} else {
		say("%s reads", (char *)arg);
		evbuffer_drain(bufferevent_get_input(bev), length);
	}
}

static void on_write(struct bufferevent *bev, void *arg)
{
	say("%s has written, %zu left", (char *)arg, evbuffer_get_length(bufferevent_get_output(bev)));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	int error = EVUTIL_SOCKET_ERROR();

	say("%s: event %x, enabled %s, %s", (char *)arg, (unsigned)what, events_text(bufferevent_get_enabled(bev)),
	    what & BEV_EVENT_ERROR ? evutil_socket_error_to_string(error) : "-");
}

static void turn(struct event_base *base)
{
	int i;

	for (i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void sizes(struct bufferevent *bev)
{
	size_t low = 7, high = 7;

	show(bufferevent_get_max_single_read(bev));
	show(bufferevent_get_max_to_read(bev));
	bufferevent_set_max_single_read(bev, 100);
	bufferevent_set_max_single_write(bev, 200);
	show(bufferevent_get_max_single_read(bev));
	show(bufferevent_get_max_single_write(bev));
	show(bufferevent_get_max_to_write(bev));
	bufferevent_set_max_single_read(bev, 0);
	bufferevent_set_max_single_write(bev, (size_t)-1);
	show(bufferevent_get_max_single_read(bev));
	show(bufferevent_get_max_single_write(bev));
	show(bufferevent_get_read_limit(bev) == EV_SSIZE_MAX);
	show(bufferevent_get_token_bucket_cfg(bev) == NULL);
	show(bufferevent_getwatermark(bev, EV_READ | EV_WRITE, &low, &high));
	show(bufferevent_getwatermark(bev, 0, &low, &high));
	show(low);
	bufferevent_setwatermark(bev, EV_READ | EV_WRITE, 3, 30);
	show(bufferevent_getwatermark(bev, EV_WRITE, NULL, &high));
	show(bufferevent_getwatermark(bev, EV_READ, &low, NULL));
	show(low);
	show(high);
	bufferevent_setwatermark(bev, EV_READ | EV_WRITE, 0, 0);
}

static void by_watermarks(struct event_base *base, struct bufferevent *a, struct bufferevent *b)
{
	struct evbuffer *input = bufferevent_get_input(b);

	say("low watermarks");
	bufferevent_setwatermark(b, EV_READ, 4, 0);
	bufferevent_write(a, "ab", 2);
	turn(base);
	show(evbuffer_get_length(input));
	bufferevent_write(a, "cd", 2);
	turn(base);
	bufferevent_setwatermark(a, EV_WRITE, 2, 0);
	bufferevent_write(a, "efgh", 4);
	turn(base);

	say("high watermarks");
	bufferevent_setwatermark(b, EV_READ, 20, 8);
	bufferevent_write(a, "0123456789abcdef", 16);
	turn(base);
	show(evbuffer_get_length(input));
	evbuffer_drain(input, 3);
	turn(base);
	show(evbuffer_get_length(input));
	bufferevent_setwatermark(b, EV_READ, 20, 4);
	evbuffer_drain(input, 1);
	turn(base);
	show(evbuffer_get_length(input));
	bufferevent_setwatermark(b, EV_READ, 0, 0);
	turn(base);
	show(evbuffer_get_length(input));
}

static void frozen(struct bufferevent *bev)
{
	char byte;

	show(evbuffer_add(bufferevent_get_input(bev), "x", 1));
	show(evbuffer_prepend(bufferevent_get_output(bev), "x", 1));
	bufferevent_disable(bev, EV_WRITE);
	bufferevent_write(bev, "kept", 4);
	show(evbuffer_drain(bufferevent_get_output(bev), 1));
	show(bufferevent_read(bev, &byte, 1));
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	bufferevent_enable(bev, EV_WRITE);
}

static void ends(struct event_base *base)
{
	struct bufferevent *bev;
	int fd[2];

	say("the peer ends");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "e");
	bufferevent_enable(bev, EV_READ);
	must(write(fd[1], "last", 4) == 4);
	close(fd[1]);
	turn(base);
	bufferevent_write(bev, "too late", 8);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	turn(base);
	bufferevent_free(bev);
	turn(base);
	show(fcntl(fd[0], F_GETFD));

	say("another descriptor");
	a_pair(fd);
	bev = bufferevent_socket_new(base, -1, 0);
	bufferevent_setcb(bev, on_read, on_write, on_event, "s");
	show(bufferevent_getfd(bev));
	show(bufferevent_enable(bev, EV_READ));
	bufferevent_write(bev, "early", 5);
	show(bufferevent_setfd(bev, fd[0]));
	show(bufferevent_getfd(bev) == fd[0]);
	write_byte(fd[1], '!');
	turn(base);
	show(bufferevent_setfd(bev, -1));
	bufferevent_free(bev);
	turn(base);
	show(fcntl(fd[0], F_GETFD));
	close(fd[0]);
	close(fd[1]);
}

static void much(struct event_base *base)
{
	struct bufferevent *bev;
	size_t got = 0;
	ssize_t count;
	char bytes[5000];
	int fd[2];

	say("much");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_write(bev, many, sizeof many);
	bufferevent_write(bev, many, sizeof many);
	while (got < 2 * sizeof many) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		while ((count = read(fd[1], bytes, sizeof bytes)) > 0) {
			must(memcmp(bytes, many + got % 1000, (size_t)count) == 0);
			got += (size_t)count;
		}
	}
	show(got);
	turn(base);
	show(event_pending(&bev->ev_write, EV_WRITE, NULL));
	bufferevent_free(bev);
	turn(base);
	close(fd[1]);
}

int main(void)
{
	struct event_base *base = a_base();
	struct bufferevent *a, *b;
	int fd[2];
	size_t i;

	for (i = 0; i < sizeof many; i++)
		many[i] = (char)('a' + i % 20);
	a_pair(fd);
	a = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	b = bufferevent_socket_new(base, fd[1], BEV_OPT_CLOSE_ON_FREE);
	must(a && b);
	show(bufferevent_socket_new(base, -1, BEV_OPT_THREADSAFE) == NULL);
	show(bufferevent_socket_new(base, -1, BEV_OPT_UNLOCK_CALLBACKS) == NULL);
	show(bufferevent_get_base(a) == base);
	show(bufferevent_get_underlying(a) == NULL);
	show(bufferevent_pair_get_partner(a) == NULL);
	show(bufferevent_get_priority(a));
	show(bufferevent_priority_set(a, 1));
	show(bufferevent_flush(a, EV_WRITE, BEV_FINISHED));
	say("enabled %s", events_text(bufferevent_get_enabled(a)));
	sizes(a);
	bufferevent_setcb(a, on_read, on_write, on_event, "a");
	bufferevent_setcb(b, on_read, on_write, on_event, "b");
	show(bufferevent_enable(b, EV_READ));
	turn(base);
	bufferevent_write(a, "hello", 5);
	turn(base);
	show(bufferevent_enable(a, EV_READ | EV_WRITE));
	turn(base);
	say("both ways");
	/* One after the other: who is told first of two that are ready is the kernel's to say. */
	bufferevent_write(a, "to b", 4);
	turn(base);
	bufferevent_write(b, "to a", 4);
	turn(base);
	say("disabled");
	bufferevent_disable(b, EV_READ);
	bufferevent_write(a, "wait", 4);
	turn(base);
	bufferevent_enable(b, EV_READ);
	turn(base);
	by_watermarks(base, a, b);
	frozen(a);
	turn(base);
	bufferevent_free(a);
	turn(base);
	bufferevent_free(b);
	turn(base);
	ends(base);
	much(base);
	event_base_free(base);
	return 0;
}
