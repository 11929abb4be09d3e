/* A descriptor is closed right after its event was deleted, in every way there is: its peer sees the end, its port is free, before
 * the loop runs again. */
#include "conform.h"
#include <arpa/inet.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <poll.h>

enum { CROWD = 8 };

static struct event_base *base;
static struct event ev;
static int pair[2], calls;
static const char *now;

/* What the peer sees without waiting. */
static void peer(int fd)
{
	char byte;
	ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);

	say("%s: the peer %s", now, got == 0 ? "sees the end" : got > 0 ? "reads" : "sees nothing");
}

static void turn(void)
{
	show(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
}

static void told(evutil_socket_t fd, short events, void *arg)
{
	calls++;
	say("%s: told %s", now, events_text(events));
	if (arg)
		event_del(&ev);
	close(fd);
	peer(pair[1]);
}

static void reads(evutil_socket_t fd, short events, void *arg)
{
	calls++;
	read_all(fd);
	if (arg)
		event_add(&ev, NULL);
}

static void begin(const char *what, short events, event_callback_fn callback, void *arg)
{
	now = what;
	calls = 0;
	a_pair(pair);
	event_assign(&ev, base, pair[0], events, callback, arg);
	must(event_add(&ev, NULL) == 0);
	turn();
}

static void end(void)
{
	event_del(&ev);
	close(pair[0]);
	peer(pair[1]);
	close(pair[1]);
	turn();
}

/* From outside: events that wait, that were told before, that were added again. */
static void outside(short more, const char *what)
{
	int i;

	begin(what, EV_READ | EV_PERSIST | more, reads, NULL);
	end();
	begin(what, EV_READ | more, reads, NULL);
	end();
	begin(what, EV_READ | more, reads, &ev);
	for (i = 0; i < 3; i++) {
		write_byte(pair[1], 'x');
		turn();
	}
	show(calls);
	end();
	begin(what, EV_READ | EV_PERSIST | more, reads, NULL);
	for (i = 0; i < 3; i++) {
		must(event_del(&ev) == 0 && event_add(&ev, NULL) == 0);
		turn();
	}
	event_del(&ev);
	event_add(&ev, NULL);
	write_byte(pair[1], 'x');
	turn();
	show(calls);
	must(event_del(&ev) == 0 && event_add(&ev, NULL) == 0);
	end();
}

/* In its own callback: what brings it there is a byte, a timeout, the program. */
static void inside(short kind, int del)
{
	struct timeval tv = ms(1);
	void *arg = del ? &ev : NULL;

	begin("told of a byte", EV_READ | kind, told, arg);
	write_byte(pair[1], 'x');
	turn();
	event_del(&ev);
	close(pair[1]);
	begin("out of time", EV_READ | kind, told, arg);
	event_add(&ev, &tv);
	show(event_base_loop(base, EVLOOP_ONCE));
	event_del(&ev);
	close(pair[1]);
	begin("made active", EV_READ | kind, told, arg);
	event_active(&ev, EV_READ, 1);
	turn();
	event_del(&ev);
	close(pair[1]);
	turn();
}

/* Among others that are ready in every turn, so that it is one that is asked otherwise. */
static void in_a_crowd(short kind, int del)
{
	struct event others[CROWD];
	int ends[CROWD][2], i, j;

	for (i = 0; i < CROWD; i++) {
		a_pair(ends[i]);
		event_assign(&others[i], base, ends[i][0], EV_READ | EV_PERSIST, reads, NULL);
		event_add(&others[i], NULL);
	}
	begin("in a crowd", EV_READ | kind, told, del ? &ev : NULL);
	for (j = 0; j < 12; j++) {
		for (i = 0; i < CROWD; i++)
			write_byte(ends[i][1], 'x');
		turn();
	}
	write_byte(pair[1], 'x');
	turn();
	event_del(&ev);
	close(pair[1]);
	now = "of the crowd";
	for (i = 0; i < CROWD; i++) {
		event_del(&others[i]);
		close(ends[i][0]);
		peer(ends[i][1]);
		close(ends[i][1]);
	}
	turn();
}

static int bound(struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(fd >= 0);
	evutil_make_socket_nonblocking(fd);
	if (bind(fd, (struct sockaddr *)address, length) != 0 || listen(fd, 4) != 0) {
		say("not bound: %s", strerror(errno));
		close(fd);
		return -1;
	}
	must(getsockname(fd, (struct sockaddr *)address, &length) == 0);
	return fd;
}

static void ports(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd, client, i;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (i = 0; i < 3; i++) {
		fd = bound(&address);
		must(fd >= 0);
		event_assign(&ev, base, fd, EV_READ | EV_PERSIST, reads, NULL);
		event_add(&ev, NULL);
		turn();
		event_del(&ev);
		close(fd);
		client = socket(AF_INET, SOCK_STREAM, 0);
		say("connect: %s", connect(client, (struct sockaddr *)&address, sizeof address) ? strerror(errno) : "accepted");
		close(client);
	}
}

static void bufferevents(void)
{
	struct bufferevent *bev;

	now = "bufferevent";
	a_pair(pair);
	bev = bufferevent_socket_new(base, pair[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	turn();
	bufferevent_disable(bev, EV_READ);
	bufferevent_enable(bev, EV_READ);
	turn();
	bufferevent_free(bev);
	turn();
	peer(pair[1]);
	close(pair[1]);
}

int main(void)
{
	int del;

	base = a_base();
	outside(0, "outside");
	outside(EV_ET, "outside, by edges");
	for (del = 0; del < 2; del++) {
		inside(0, del);
		inside(EV_ET, del);
		in_a_crowd(0, del);
	}
	inside(EV_PERSIST, 1);
	inside(EV_PERSIST | EV_ET, 1);
	in_a_crowd(EV_PERSIST, 1);
	ports();
	bufferevents();
	event_base_free(base);
	return 0;
}
