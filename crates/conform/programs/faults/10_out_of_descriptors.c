/* 90 clients at 64 descriptors: what the listener costs while there are none, what it says, and when it goes on.
 * conform: alone=C-libevent-takes-a-core-and-logs-157,000-lines-a-second */
#include "conform.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <time.h>

static struct event_base *base;
static int held[64], n_held, accepted, lines;
static struct timeval last_freed;
static long slowest_ms;

static void count(int severity, const char *message)
{
	lines++;
}

static long ms_between(const struct timeval *from, const struct timeval *to)
{
	return (to->tv_sec - from->tv_sec) * 1000 + (to->tv_usec - from->tv_usec) / 1000;
}

static void now(struct timeval *tv)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	must(n_held < 64);
	held[n_held++] = fd;
	accepted++;
	if (last_freed.tv_sec) {
		struct timeval at;

		now(&at);
		if (ms_between(&last_freed, &at) > slowest_ms)
			slowest_ms = ms_between(&last_freed, &at);
		memset(&last_freed, 0, sizeof last_freed);
	}
}

static void end(evutil_socket_t fd, short events, void *arg)
{
	event_base_loopbreak(base);
}

static void run_ms(long milliseconds)
{
	struct timeval tv = ms(milliseconds);

	event_base_once(base, -1, EV_TIMEOUT, end, NULL, &tv);
	event_base_dispatch(base);
}

/* 90 clients in a process of their own, which has its own descriptors. */
static pid_t clients(const struct sockaddr_in *sin)
{
	pid_t child = fork();
	int fd[90], i;

	if (child)
		return child;
	for (i = 0; i < 90; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (fd[i] < 0 || (connect(fd[i], (const struct sockaddr *)sin, sizeof *sin) && errno != EINPROGRESS))
			_exit(1);
	}
	for (;;)
		pause();
}

int main(void)
{
	struct rlimit limit = { 256, 256 };
	struct rusage before, after;
	struct sockaddr_in sin;
	socklen_t length = sizeof sin;
	struct evconnlistener *listener;
	pid_t child;
	long cpu_ms;
	int i, at_limit;

	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	memset(&sin, 0, sizeof sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	base = a_base();
	event_set_log_callback(count);
	listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 128, (struct sockaddr *)&sin, sizeof sin);
	must(listener);
	must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &length) == 0);
	child = clients(&sin);
	must(child > 0);
	limit.rlim_cur = 64;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);

	run_ms(200);
	at_limit = accepted;
	say("at the limit: %d", at_limit > 30 && at_limit < 64);
	lines = 0;
	getrusage(RUSAGE_SELF, &before);
	run_ms(3000);
	getrusage(RUSAGE_SELF, &after);
	cpu_ms = ms_between(&before.ru_utime, &after.ru_utime) + ms_between(&before.ru_stime, &after.ru_stime);
	/* 2 % of 3 s. */
	if (cpu_ms > 60)
		say("%ld ms of processor time in 3 s", cpu_ms);
	if (lines > 4)
		say("%d lines in 3 s", lines);
	if (accepted != at_limit)
		say("accepted %d more", accepted - at_limit);

	/* One is closed, the next one comes: ten times. */
	for (i = 0; i < 10; i++) {
		close(held[--n_held]);
		now(&last_freed);
		run_ms(150);
	}
	if (accepted != at_limit + 10)
		say("%d of 10 accepted", accepted - at_limit);
	if (slowest_ms > 100)
		say("the slowest after %ld ms", slowest_ms);
	/* All of them: everybody gets in. */
	while (n_held > 0)
		close(held[--n_held]);
	run_ms(200);
	if (accepted != 90)
		say("%d of 90", accepted);
	evconnlistener_free(listener);
	while (n_held > 0)
		close(held[--n_held]);
	event_base_free(base);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	say("ok");
	return 0;
}
