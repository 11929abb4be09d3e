/* Bufferevents freed inside each kind of callback, also of others; deferred callbacks that are due when they are freed. */
#include "conform.h"

static int options;
static struct bufferevent *other;

static void turn(struct event_base *base)
{
	int i;

	for (i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void free_it(struct bufferevent *bev, const char *where)
{
	say("freed in the %s callback", where);
	bufferevent_free(bev);
	if (other)
		bufferevent_free(other);
	other = NULL;
}

static void on_read(struct bufferevent *bev, void *arg) { free_it(bev, "read"); }
static void on_write(struct bufferevent *bev, void *arg) { free_it(bev, "write"); }
static void on_event(struct bufferevent *bev, short what, void *arg)
{
	say("event %x", (unsigned)what);
	free_it(bev, "event");
}
static void on_change(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	if (info->n_added)
		return;
	evbuffer_remove_cb(buffer, on_change, arg);
	free_it(arg, "buffer's");
}
static void never(struct bufferevent *bev, void *arg) { say("called after it was freed"); }
static void never_event(struct bufferevent *bev, short what, void *arg) { say("called after it was freed, %x", (unsigned)what); }

static enum bufferevent_filter_result filter_frees(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	struct bufferevent **bev = arg;

	evbuffer_add_buffer(to, from);
	if (*bev)
		free_it(*bev, "filter's");
	*bev = NULL;
	return BEV_OK;
}

static void a_filter(struct event_base *base, int reads)
{
	struct bufferevent *low, *high = NULL;
	int fd[2];

	a_pair(fd);
	low = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE | options);
	high = bufferevent_filter_new(low, reads ? filter_frees : NULL, reads ? NULL : filter_frees, BEV_OPT_CLOSE_ON_FREE | options,
	    NULL, &high);
	must(high);
	bufferevent_setcb(high, never, never, never_event, NULL);
	bufferevent_enable(high, EV_READ | EV_WRITE);
	write_byte(fd[1], 'x');
	if (!reads)
		bufferevent_write(high, "x", 1);
	turn(base);
	if (high)
		bufferevent_free(high);
	turn(base);
	show(fcntl(fd[0], F_GETFD));
	close(fd[1]);
}

static void in_each(struct event_base *base)
{
	struct bufferevent *bev, *pair[2];
	struct timeval soon = ms(10);
	int fd[2], kind;

	for (kind = 0; kind < 7; kind++) {
		a_pair(fd);
		bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE | options);
		other = bufferevent_socket_new(base, -1, options);
		bufferevent_setcb(bev, on_read, kind == 1 ? on_write : NULL, on_event, NULL);
		if (kind != 6)
			bufferevent_enable(bev, EV_READ);
		switch (kind) {
		case 0: write_byte(fd[1], 'x'); break;
		case 1: bufferevent_write(bev, "x", 1); break;
		case 2: shutdown(fd[1], SHUT_WR); break;
		case 3: bufferevent_set_timeouts(bev, &soon, NULL); break;
		case 4:
			evbuffer_add_cb(bufferevent_get_output(bev), on_change, bev);
			bufferevent_write(bev, "x", 1);
			break;
		case 5: bufferevent_trigger_event(bev, BEV_EVENT_CONNECTED, options); break;
		case 6: bufferevent_trigger(bev, EV_READ, options); break;
		}
		if (kind == 3)
			event_base_dispatch(base);
		turn(base);
		must(other == NULL);
		show(fcntl(fd[0], F_GETFD));
		close(fd[1]);
	}
	must(bufferevent_pair_new(base, options, pair) == 0);
	bufferevent_setcb(pair[0], on_read, on_write, on_event, NULL);
	bufferevent_setcb(pair[1], never, never, never_event, NULL);
	bufferevent_enable(pair[0], EV_READ);
	other = pair[1];
	bufferevent_write(pair[1], "x", 1);
	bufferevent_setcb(pair[1], NULL, NULL, NULL, NULL);
	turn(base);
	must(other == NULL);
	a_filter(base, 0);
	a_filter(base, 1);
}

static void with_callbacks_due(struct event_base *base)
{
	struct bufferevent *bev, *pair[2];
	int fd[2];

	say("deferred callbacks that are due");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, never, never, never_event, NULL);
	bufferevent_trigger(bev, EV_READ | EV_WRITE, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
	bufferevent_trigger_event(bev, BEV_EVENT_CONNECTED | BEV_EVENT_EOF, BEV_TRIG_DEFER_CALLBACKS);
	bufferevent_free(bev);
	turn(base);
	show(fcntl(fd[0], F_GETFD));
	close(fd[1]);
	must(bufferevent_pair_new(base, 0, pair) == 0);
	bufferevent_setcb(pair[0], never, never, never_event, NULL);
	bufferevent_setcb(pair[1], never, never, never_event, NULL);
	bufferevent_enable(pair[0], EV_READ);
	bufferevent_write(pair[1], "x", 1);
	bufferevent_flush(pair[1], EV_READ | EV_WRITE, BEV_FINISHED);
	bufferevent_free(pair[1]);
	bufferevent_free(pair[0]);
	turn(base);
}

static void references(struct event_base *base)
{
	struct bufferevent *bev;
	int fd[2];

	say("references");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_incref(bev);
	show(bufferevent_decref(bev));
	bufferevent_lock(bev);
	bufferevent_incref(bev);
	bufferevent_unlock(bev);
	bufferevent_free(bev);
	turn(base);
	show(bufferevent_getfd(bev) == fd[0]);
	show(bufferevent_decref(bev));
	turn(base);
	show(fcntl(fd[0], F_GETFD));
	close(fd[1]);
}

int main(void)
{
	struct event_base *base = a_base();
	struct bufferevent *bev;
	int fd[2];

	in_each(base);
	say("with deferred callbacks");
	options = BEV_OPT_DEFER_CALLBACKS;
	in_each(base);
	with_callbacks_due(base);
	references(base);
	say("by the base's end");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_enable(bev, EV_READ);
	bufferevent_free(bev);
	event_base_free(base);
	show(fcntl(fd[0], F_GETFD));
	close(fd[1]);
	return 0;
}
