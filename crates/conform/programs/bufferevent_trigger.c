/* Triggered callbacks, their order when deferred, timeouts, and the functions of before 2.0. */
#include "conform.h"
#include <event2/bufferevent_compat.h>
#include <event2/bufferevent_struct.h>
#include <event2/event_compat.h>

static void on_read(struct bufferevent *bev, void *arg)
{
	say("%s reads, %zu there", (char *)arg, evbuffer_get_length(bufferevent_get_input(bev)));
}

static void on_write(struct bufferevent *bev, void *arg)
{
	say("%s has written", (char *)arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	say("%s: event %x, errno %d, enabled %s", (char *)arg, (unsigned)(unsigned short)what,
	    what & BEV_EVENT_ERROR ? EVUTIL_SOCKET_ERROR() : 0, events_text(bufferevent_get_enabled(bev)));
}

static void turn(struct event_base *base)
{
	int i;

	for (i = 0; i < 4; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void trigger(struct event_base *base, int made_with)
{
	struct bufferevent *bev;
	bufferevent_data_cb read_cb, write_cb;
	bufferevent_event_cb event_cb;
	void *arg = NULL;
	int fd[2];

	say("made with options %d", made_with);
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE | made_with);
	bufferevent_setcb(bev, on_read, on_write, on_event, "t");
	bufferevent_getcb(bev, &read_cb, &write_cb, &event_cb, &arg);
	show(read_cb == on_read && write_cb == on_write && event_cb == on_event);
	say("%s", (char *)arg);
	bufferevent_getcb(bev, NULL, NULL, NULL, NULL);
	bufferevent_trigger(bev, EV_READ | EV_WRITE, 0);
	say("triggered");
	turn(base);
	bufferevent_setwatermark(bev, EV_READ, 10, 0);
	bufferevent_trigger(bev, EV_READ, 0);
	bufferevent_trigger(bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS);
	bufferevent_trigger(bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
	bufferevent_trigger(bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
	say("triggered");
	turn(base);
	errno = EPIPE;
	bufferevent_trigger_event(bev, BEV_EVENT_ERROR | BEV_EVENT_WRITING, BEV_TRIG_DEFER_CALLBACKS);
	errno = 0;
	bufferevent_trigger_event(bev, BEV_EVENT_CONNECTED, BEV_TRIG_DEFER_CALLBACKS);
	bufferevent_trigger(bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
	bufferevent_trigger_event(bev, BEV_EVENT_EOF, 0);
	say("triggered");
	turn(base);
	bufferevent_trigger_event(bev, ~0, 0);
	turn(base);
	bufferevent_setcb(bev, NULL, NULL, NULL, NULL);
	bufferevent_trigger(bev, EV_READ | EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS);
	bufferevent_trigger_event(bev, BEV_EVENT_EOF, 0);
	turn(base);
	bufferevent_free(bev);
	turn(base);
	close(fd[1]);
}

static void timeouts(struct event_base *base)
{
	struct timeval soon = ms(30), later = ms(60);
	struct bufferevent *bev;
	int fd[2];

	say("timeouts");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "t");
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_set_timeouts(bev, &soon, &later));
	event_base_dispatch(base);
	bufferevent_enable(bev, EV_READ);
	write_byte(fd[1], 'x');
	event_base_dispatch(base);
	say("full");
	bufferevent_setcb(bev, on_read, NULL, on_event, "t");
	bufferevent_set_timeouts(bev, NULL, &soon);
	while (write(fd[0], "0123456789", 10) > 0)
		;
	bufferevent_write(bev, "stays", 5);
	event_base_dispatch(base);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	bufferevent_settimeout(bev, 5, 0);
	show(bev->timeout_read.tv_sec);
	show(bev->timeout_write.tv_usec);
	bufferevent_set_timeouts(bev, NULL, NULL);
	bufferevent_free(bev);
	turn(base);
	close(fd[1]);
}

static void before_2_0(void)
{
	struct event_base *base = event_init(), *second = event_base_new();
	struct bufferevent *bev;
	int fd[2];

	say("before 2.0");
	a_pair(fd);
	bev = bufferevent_new(fd[0], on_read, on_write, on_event, "old");
	show(bufferevent_get_base(bev) == NULL);
	bufferevent_enable(bev, EV_READ);
	bufferevent_write(bev, "x", 1);
	write_byte(fd[1], 'x');
	turn(base);
	say("%zu in, %zu out", evbuffer_get_length(EVBUFFER_INPUT(bev)), evbuffer_get_length(EVBUFFER_OUTPUT(bev)));
	show(bev->input == bufferevent_get_input(bev));
	bufferevent_trigger(bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
	turn(base);
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	show(bufferevent_base_set(second, bev));
	show(bufferevent_get_base(bev) == second);
	show(bufferevent_enable(bev, EV_READ));
	write_byte(fd[1], 'y');
	turn(base);
	turn(second);
	bufferevent_free(bev);
	turn(second);
	show(fcntl(fd[0], F_GETFD) >= 0);
	close(fd[0]);
	close(fd[1]);
	event_base_free(second);
	event_base_free(base);
}

int main(void)
{
	struct event_base *base = a_base();

	trigger(base, 0);
	trigger(base, BEV_OPT_DEFER_CALLBACKS);
	trigger(base, BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS);
	timeouts(base);
	event_base_free(base);
	before_2_0();
	return 0;
}
