/* Two bufferevents without a descriptor: bytes, watermarks, flushing, one of them freed. */
#include "conform.h"

static void on_read(struct bufferevent *bev, void *arg)
{
	char text[64];
	size_t length = bufferevent_read(bev, text, sizeof text);

	say("%s reads %.*s", (char *)arg, (int)length, text);
}

static void on_read_nothing(struct bufferevent *bev, void *arg)
{
	say("%s could read %zu", (char *)arg, evbuffer_get_length(bufferevent_get_input(bev)));
}

static void on_write(struct bufferevent *bev, void *arg)
{
	say("%s has written, %zu left", (char *)arg, evbuffer_get_length(bufferevent_get_output(bev)));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	say("%s: event %x, enabled %s", (char *)arg, (unsigned)what, events_text(bufferevent_get_enabled(bev)));
}

static void on_change(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	say("%s changed: %zu + %zu - %zu, %zu now", (char *)arg, info->orig_size, info->n_added, info->n_deleted,
	    evbuffer_get_length(buffer));
}

static void turn(struct event_base *base)
{
	int i;

	for (i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

int main(void)
{
	struct event_base *base = a_base();
	struct bufferevent *pair[2], *a, *b;
	struct timeval soon = ms(20), never = ms(0);

	must(bufferevent_pair_new(base, 0, pair) == 0);
	a = pair[0];
	b = pair[1];
	show(bufferevent_getfd(a));
	show(bufferevent_setfd(a, 0));
	show(bufferevent_priority_set(a, 0));
	show(bufferevent_base_set(base, a));
	show(bufferevent_get_priority(a));
	show(bufferevent_pair_get_partner(a) == b);
	show(bufferevent_pair_get_partner(b) == a);
	show(bufferevent_socket_connect_hostname(a, NULL, AF_UNIX, "localhost", 1));
	bufferevent_setcb(a, on_read, on_write, on_event, "a");
	bufferevent_setcb(b, on_read, on_write, on_event, "b");
	/* libevent looks at the watermark after callbacks that were added later: ours always does. */
	bufferevent_setwatermark(b, EV_READ, 0, 1000000);
	bufferevent_setwatermark(b, EV_READ, 0, 0);
	evbuffer_add_cb(bufferevent_get_output(a), on_change, "a's output");
	evbuffer_add_cb(bufferevent_get_input(b), on_change, "b's input");

	say("before b reads");
	bufferevent_write(a, "one", 3);
	turn(base);
	show(bufferevent_enable(b, EV_READ));
	say("enabled");
	turn(base);
	bufferevent_write(a, "two", 3);
	bufferevent_write(a, "three", 5);
	turn(base);
	show(evbuffer_add(bufferevent_get_input(b), "x", 1));
	show(evbuffer_prepend(bufferevent_get_output(b), "x", 1));

	say("watermarks");
	bufferevent_setcb(b, on_read_nothing, on_write, on_event, "b");
	bufferevent_setwatermark(b, EV_READ, 3, 5);
	bufferevent_write(a, "12", 2);
	turn(base);
	bufferevent_setcb(b, NULL, on_write, on_event, "b");
	bufferevent_write(a, "3456789", 7);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_output(a)));
	evbuffer_drain(bufferevent_get_input(b), 3);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_output(a)));
	bufferevent_setcb(b, on_read, on_write, on_event, "b");
	bufferevent_setwatermark(b, EV_READ, 0, 0);
	turn(base);

	say("flush");
	bufferevent_disable(b, EV_READ);
	bufferevent_write(a, "flushed", 7);
	show(bufferevent_flush(a, EV_WRITE, BEV_NORMAL));
	turn(base);
	show(bufferevent_flush(a, EV_WRITE, BEV_FLUSH));
	turn(base);
	show(bufferevent_flush(a, EV_WRITE | EV_READ, BEV_FINISHED));
	turn(base);
	show(bufferevent_flush(b, EV_WRITE, BEV_FINISHED));
	turn(base);

	say("timeouts");
	bufferevent_set_timeouts(b, &soon, &soon);
	bufferevent_enable(b, EV_READ | EV_WRITE);
	bufferevent_disable(a, EV_READ);
	bufferevent_write(b, "stays", 5);
	bufferevent_enable(b, EV_WRITE);
	event_base_dispatch(base);
	bufferevent_set_timeouts(b, &never, NULL);

	say("one of them freed");
	bufferevent_enable(b, EV_READ | EV_WRITE);
	bufferevent_write(a, "last", 4);
	bufferevent_free(a);
	show(bufferevent_pair_get_partner(b) == NULL);
	turn(base);
	show(bufferevent_write(b, "nobody", 6));
	show(bufferevent_flush(b, EV_WRITE, BEV_FINISHED));
	turn(base);
	bufferevent_free(b);
	turn(base);
	event_base_free(base);
	return 0;
}
