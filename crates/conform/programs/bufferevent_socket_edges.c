/* A bufferevent over a socket at its edges: odd bits, timeouts that are none, descriptors that change, an end told again, few bytes at
 * a time, and everything that its frozen buffers refuse. */
#include "conform.h"
#include <event2/bufferevent_struct.h>
#include <event2/bufferevent_compat.h>
#include "edges.h"

static int ends;

static void piped(void)
{
	int p[2];
	struct bufferevent *bev;

	say("== a pipe");
	must(pipe(p) == 0 && fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	bev = bufferevent_socket_new(base, p[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "pipe");
	show(bufferevent_enable(bev, EV_READ));
	show(write(p[1], "abc", 3));
	turn();
	close(p[1]);
	turn();
	bufferevent_free(bev);
	turn();
}

static void extra_bits(void)
{
	int fd[2];
	struct bufferevent *bev;

	say("== other bits");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "b");
	show(bufferevent_enable(bev, EV_ET | EV_PERSIST | EV_TIMEOUT));
	show((unsigned short)bufferevent_get_enabled(bev));
	show(bufferevent_enable(bev, 0));
	turn();
	show(bufferevent_disable(bev, EV_ET));
	show((unsigned short)bufferevent_get_enabled(bev));
	show(bufferevent_disable(bev, ~0));
	show((unsigned short)bufferevent_get_enabled(bev));
	show(bufferevent_enable(bev, EV_READ));
	show(event_pending(&bev->ev_read, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_get_events(&bev->ev_read));
	show(event_get_events(&bev->ev_write));
	show(event_get_fd(&bev->ev_write) == fd[0]);
	bufferevent_settimeout(bev, 3, 4);
	show(event_pending(&bev->ev_read, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(bufferevent_write(bev, NULL, 0));
	show(bufferevent_write(bev, "", 0));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(bufferevent_enable(bev, EV_WRITE));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	bufferevent_settimeout(bev, 0, 0);
	show(event_pending(&bev->ev_read, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	turn();
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	bufferevent_settimeout(bev, -1, 0);
	turn();
	show(bev->timeout_read.tv_sec);
	show(event_pending(&bev->ev_read, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(bufferevent_priority_set(bev, -1));
	show(bufferevent_priority_set(bev, 0));
	show(bufferevent_get_priority(bev));
	bufferevent_free(bev);
	turn();
	close(fd[1]);
}

static void on_eof_again(struct bufferevent *bev, short what, void *arg)
{
	on_event(bev, what, arg);
	if (++ends < 3)
		bufferevent_enable(bev, EV_READ);
}

static void again(void)
{
	int fd[2];
	struct bufferevent *bev;

	say("== the end again");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_eof_again, "b");
	bufferevent_enable(bev, EV_READ);
	bufferevent_disable(bev, EV_WRITE);
	close(fd[1]);
	turn();
	bufferevent_free(bev);
	turn();
}

static void moved_fd(void)
{
	int fd[2], fe[2];
	struct bufferevent *bev;
	struct timeval soon = ms(20);
	char bytes[100];

	say("== descriptors change");
	a_pair(fd);
	a_pair(fe);
	bev = bufferevent_socket_new(base, fd[0], 0);
	bufferevent_setcb(bev, on_read, on_write, on_event, "b");
	bufferevent_enable(bev, EV_READ);
	bufferevent_write(bev, "first", 5);
	show(bufferevent_setfd(bev, fe[0]));
	turn();
	show(read(fd[1], bytes, 100));
	show(read(fe[1], bytes, 100));
	must(write(fe[1], "abc", 3) == 3);
	must(write(fd[1], "def", 3) == 3);
	turn();
	show(bufferevent_setfd(bev, -1));
	show(bufferevent_getfd(bev));
	show(bufferevent_enable(bev, EV_READ | EV_WRITE));
	bufferevent_write(bev, "nowhere", 7);
	turn();
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	/* thawed by setfd */
	show(evbuffer_add(bufferevent_get_input(bev), "in", 2));
	show(evbuffer_drain(bufferevent_get_output(bev), 2));
	bufferevent_trigger(bev, EV_READ, 0);
	show(bufferevent_setfd(bev, fd[0]));
	turn();
	show(read(fd[1], bytes, 100));
	show(evbuffer_add(bufferevent_get_input(bev), "in", 2));
	show(evbuffer_drain(bufferevent_get_output(bev), 2));
	show(bufferevent_setfd(bev, fd[0]));
	turn();
	bufferevent_set_timeouts(bev, &soon, &soon);
	bufferevent_setfd(bev, -1);
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	bufferevent_enable(bev, EV_READ);
	run_for(120);
	bufferevent_write(bev, "x", 1);
	bufferevent_enable(bev, EV_WRITE);
	run_for(120);
	bufferevent_free(bev);
	turn();
	close(fd[0]);
	close(fd[1]);
	close(fe[0]);
	close(fe[1]);
}

static void small_writes(void)
{
	int fd[2];
	struct bufferevent *bev;
	char bytes[100];

	say("== few at a time");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "b");
	bufferevent_setwatermark(bev, EV_WRITE, 4, 0);
	bufferevent_set_max_single_write(bev, 3);
	bufferevent_set_max_single_read(bev, 2);
	bufferevent_enable(bev, EV_READ);
	turn();
	bufferevent_write(bev, "0123456789", 10);
	for (int i = 0; i < 6; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		say("%d", (int)read(fd[1], bytes, 100));
	}
	must(write(fd[1], "abcde", 5) == 5);
	turn();
	show(bufferevent_get_max_to_read(bev));
	show(bufferevent_get_max_to_write(bev));
	bufferevent_setwatermark(bev, EV_READ, 0, 7);
	must(write(fd[1], "a", 1) == 1);
	turn();
	bufferevent_setcb(bev, NULL, on_write, on_event, "b");
	must(write(fd[1], "bcde", 4) == 4);
	turn();
	show(evbuffer_get_length(bufferevent_get_input(bev)));
	bufferevent_free(bev);
	turn();
	close(fd[1]);
}

static void frozen(void)
{
	int fd[2];
	struct bufferevent *bev;
	char bytes[100];
	struct evbuffer *other = evbuffer_new(), *in, *out;
	struct evbuffer_iovec v[2];

	say("== what is refused");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "b");
	bufferevent_enable(bev, EV_READ);
	bufferevent_disable(bev, EV_WRITE);
	bufferevent_write(bev, "output", 6);
	must(write(fd[1], "input", 5) == 5);
	turn();
	in = bufferevent_get_input(bev);
	out = bufferevent_get_output(bev);
	show(evbuffer_add(in, "x", 1));
	show(evbuffer_prepend(in, "x", 1));
	show(evbuffer_add_buffer(in, other));
	evbuffer_add(other, "o", 1);
	show(evbuffer_add_buffer(in, other));
	show(evbuffer_prepend_buffer(in, other));
	show(evbuffer_read(in, fd[0], 1));
	show(evbuffer_reserve_space(in, 10, v, 1));
	show(evbuffer_remove(out, bytes, 1));
	show(evbuffer_copyout(out, bytes, 1));
	show(evbuffer_add_buffer(other, out));
	show(evbuffer_remove_buffer(out, other, 1));
	show(evbuffer_write(out, fd[0]));
	show(evbuffer_readln(out, NULL, EVBUFFER_EOL_LF) == NULL);
	show(evbuffer_pullup(out, -1) != NULL);
	show(evbuffer_search(out, "tp", 2, NULL).pos);
	show(evbuffer_peek(out, -1, NULL, v, 2));
	show(evbuffer_add_buffer_reference(other, in));
	show(evbuffer_add_buffer_reference(other, out));
	show(bufferevent_write_buffer(bev, other));
	show(bufferevent_write_buffer(bev, out));
	show(bufferevent_write_buffer(bev, in));
	show(bufferevent_read_buffer(bev, other));
	show(bufferevent_read_buffer(bev, in));
	show((long)bufferevent_read(bev, bytes, 100));
	show(evbuffer_get_length(in));
	show(evbuffer_get_length(out));
	evbuffer_freeze(in, 1);
	show((long)bufferevent_read(bev, bytes, 0));
	must(write(fd[1], "input", 5) == 5);
	turn();
	show((long)bufferevent_read(bev, bytes, 100));
	show(bufferevent_read_buffer(bev, other));
	evbuffer_freeze(out, 0);
	show(bufferevent_write(bev, "x", 1));
	show(bufferevent_write_buffer(bev, other));
	evbuffer_free(other);
	bufferevent_free(bev);
	turn();
	close(fd[1]);
}

int main(void)
{
	base = a_base();
	piped();
	extra_bits();
	again();
	moved_fd();
	small_writes();
	frozen();
	event_base_free(base);
	return 0;
}
