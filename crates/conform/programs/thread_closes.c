/* Another thread deletes an event of a loop that sleeps and closes the descriptor: its peer sees the end, and its port is free, when
 * close(2) has returned. With poll and select the sleeping call itself holds the file. conform: methods=epoll,io_uring */
#include "conform.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>

enum { ROUNDS = 100 };

static struct event_base *base;

static volatile int told;

static void never(evutil_socket_t fd, short events, void *arg)
{
	told = 1;
}

static void *loop(void *arg)
{
	event_base_dispatch(base);
	return NULL;
}

/* Until the loop has taken in what it was given and sleeps again, most likely. */
static void settle(int round)
{
	if (round % 3 == 0)
		usleep(500);
	else if (round % 3 == 1)
		poll(NULL, 0, 1);
}

static int pairs(short more)
{
	int fd[2], round, ends = 0;
	char byte;

	for (round = 0; round < ROUNDS; round++) {
		struct event *ev;

		a_pair(fd);
		ev = event_new(base, fd[0], EV_READ | EV_PERSIST | more, never, NULL);
		must(event_add(ev, NULL) == 0);
		settle(round);
		must(event_del(ev) == 0);
		close(fd[0]);
		ends += recv(fd[1], &byte, 1, MSG_DONTWAIT) == 0;
		close(fd[1]);
		event_free(ev);
	}
	return ends;
}

static int ports(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;
	int round, bound = 0;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (round = 0; round < ROUNDS; round++) {
		struct event *ev;
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		must(fd >= 0);
		if (bind(fd, (struct sockaddr *)&address, length) == 0 && listen(fd, 4) == 0)
			bound++;
		must(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
		ev = event_new(base, fd, EV_READ | EV_PERSIST, never, NULL);
		must(event_add(ev, NULL) == 0);
		settle(round);
		event_free(ev);
		close(fd);
	}
	return bound;
}

static int bufferevents(int options)
{
	int fd[2], round, ends = 0;
	char byte;

	for (round = 0; round < ROUNDS; round++) {
		struct bufferevent *bev;

		a_pair(fd);
		bev = bufferevent_socket_new(base, fd[0], BEV_OPT_THREADSAFE | options);
		must(bev);
		must(bufferevent_enable(bev, EV_READ | EV_WRITE) == 0);
		settle(round);
		must(bufferevent_disable(bev, EV_READ | EV_WRITE) == 0);
		must(bufferevent_setfd(bev, -1) == 0);
		close(fd[0]);
		ends += recv(fd[1], &byte, 1, MSG_DONTWAIT) == 0;
		close(fd[1]);
		bufferevent_free(bev);
	}
	return ends;
}

int main(void)
{
	struct event *keeps;
	pthread_t thread;
	int fd[2];

	must(evthread_use_pthreads() == 0);
	base = a_base();
	a_pair(fd);
	keeps = event_new(base, fd[0], EV_READ | EV_PERSIST, never, NULL);
	must(event_add(keeps, NULL) == 0);
	must(pthread_create(&thread, NULL, loop, NULL) == 0);
	say("ends seen: %d of %d", pairs(0), ROUNDS);
	say("ends seen, by edges: %d of %d", pairs(EV_ET), ROUNDS);
	say("ports bound: %d of %d", ports(), ROUNDS);
	say("bufferevents' ends seen: %d of %d", bufferevents(0), ROUNDS);
	say("deferred ones': %d of %d", bufferevents(BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS), ROUNDS);
	event_base_loopbreak(base);
	must(pthread_join(thread, NULL) == 0);
	show(told);
	event_free(keeps);
	event_base_free(base);
	return 0;
}
