/* What a C++ program's callbacks throw passes through the library, and the base and the bufferevent are usable afterwards.
 * conform: alone=libevent-takes-its-loop-for-running-from-then-on */
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(bool holds, int line)
{
	if (!holds) {
		std::printf("line %d\n", line);
		std::exit(1);
	}
}
#define MUST(condition) must(condition, __LINE__)

/* The number that is thrown; 0 if none is. */
template <typename Work> static int thrown(Work work)
{
	try {
		work();
	} catch (int number) {
		return number;
	}
	return 0;
}

static void on_change(struct evbuffer *, const struct evbuffer_cb_info *, void *) { throw 1; }

static void on_read(struct bufferevent *bev, void *)
{
	bufferevent_write(bev, "x", 1);
	throw 2;
}

static enum bufferevent_filter_result filters(struct evbuffer *, struct evbuffer *, ev_ssize_t, enum bufferevent_flush_mode, void *)
{
	throw 3;
}

static void on_signal(evutil_socket_t, short, void *) { throw 5; }

static void on_time(evutil_socket_t, short, void *) { throw 4; }

int main()
{
	struct event_base *base = event_base_new();
	struct evbuffer *buffer = evbuffer_new();
	struct timeval now = {0, 0};
	char byte;
	int fd[2], i;

	evbuffer_add_cb(buffer, on_change, nullptr);
	MUST(thrown([=] { evbuffer_add(buffer, "a", 1); }) == 1);
	MUST(thrown([=] { evbuffer_drain(buffer, 1); }) == 1);
	MUST(evbuffer_get_length(buffer) == 0);
	/* Through the C of functions with `...`, with a lock over two, and out of a line. */
	MUST(thrown([=] { evbuffer_add_printf(buffer, "%s\n", "line"); }) == 1);
	MUST(thrown([=] { free(evbuffer_readln(buffer, nullptr, EVBUFFER_EOL_LF)); }) == 1);
	MUST(evbuffer_get_length(buffer) == 1);
	struct evbuffer *other = evbuffer_new();
	MUST(thrown([=] { evbuffer_add_buffer(other, buffer); }) == 1);
	MUST(evbuffer_get_length(other) == 1 && evbuffer_get_length(buffer) == 0);
	evbuffer_free(other);
	evbuffer_free(buffer);

	event_base_once(base, -1, EV_TIMEOUT, on_time, nullptr, &now);
	MUST(thrown([=] { event_base_dispatch(base); }) == 4);

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
	struct bufferevent *bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, nullptr, nullptr, nullptr);
	bufferevent_enable(bev, EV_READ);
	for (i = 0; i < 3; i++) {
		MUST(write(fd[1], "y", 1) == 1);
		MUST(thrown([=] { event_base_loop(base, EVLOOP_ONCE); }) == 2);
		MUST(thrown([=] { event_base_loop(base, EVLOOP_NONBLOCK); }) == 0);
		MUST(read(fd[1], &byte, 1) == 1 && byte == 'x');
	}

	struct bufferevent *over = bufferevent_filter_new(bev, filters, filters, BEV_OPT_CLOSE_ON_FREE, nullptr, nullptr);
	MUST(over != nullptr);
	bufferevent_enable(over, EV_READ | EV_WRITE);
	MUST(thrown([=] { bufferevent_write(over, "z", 1); }) == 3);
	MUST(thrown([=] { bufferevent_write(over, "z", 1); }) == 3);
	MUST(thrown([=] { bufferevent_flush(over, EV_READ, BEV_FLUSH); }) == 3);
	bufferevent_free(over);
	MUST(thrown([=] { event_base_loop(base, EVLOOP_NONBLOCK); }) == 0);
	MUST(read(fd[1], &byte, 1) == 0);
	close(fd[1]);
	/* Of three calls the first throws: the others are forgotten, and the event may be deleted. */
	struct event *usr1 = evsignal_new(base, SIGUSR1, on_signal, nullptr);
	MUST(event_add(usr1, nullptr) == 0);
	for (i = 0; i < 3; i++) {
		event_active(usr1, EV_SIGNAL, 3);
		MUST(thrown([=] { event_base_loop(base, EVLOOP_NONBLOCK); }) == 5);
		MUST(thrown([=] { event_base_loop(base, EVLOOP_NONBLOCK); }) == 0);
		MUST(usr1->ev_.ev_signal.ev_pncalls == nullptr);
	}
	MUST(event_del(usr1) == 0);
	event_free(usr1);
	event_base_free(base);
	std::printf("ok\n");
	return 0;
}
