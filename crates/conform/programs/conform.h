/* What the programs share: they print what happens, in order, and nothing that differs from run to run. */
#ifndef CONFORM_H
#define CONFORM_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <event2/util.h>

/* A line of what happened. At once: a program may die. */
#define say(...) do { printf(__VA_ARGS__); putchar('\n'); fflush(stdout); } while (0)

/* The value of an expression, under its own words. */
#define show(expression) say(#expression " = %ld", (long)(expression))

/* What must hold for the rest to mean anything. */
#define must(condition) do { \
	if (!(condition)) { say("%s:%d: not %s (errno %d)", __FILE__, __LINE__, #condition, errno); exit(99); } \
} while (0)

static inline struct event_base *a_base(void)
{
	struct event_base *base;

	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	base = event_base_new();
	must(base != NULL);
	return base;
}

static inline void a_pair(int fd[2])
{
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0);
}

/* Every method of libevent's has its own bits in EV_*: "TRWS" for timeout, read, write, signal. */
static inline const char *events_text(short events)
{
	static char text[4][8];
	static unsigned turn;
	char *at = text[turn++ % 4], *to = at;

	if (events & EV_TIMEOUT) *to++ = 'T';
	if (events & EV_READ) *to++ = 'R';
	if (events & EV_WRITE) *to++ = 'W';
	if (events & EV_SIGNAL) *to++ = 'S';
	if (events & EV_CLOSED) *to++ = 'C';
	*to = 0;
	return at;
}

static inline struct timeval ms(long milliseconds)
{
	struct timeval tv = { milliseconds / 1000, (milliseconds % 1000) * 1000 };

	return tv;
}

static inline void write_byte(int fd, char byte)
{
	must(write(fd, &byte, 1) == 1);
}

static inline void read_all(int fd)
{
	char bytes[4096];

	while (read(fd, bytes, sizeof bytes) > 0)
		;
}

#endif
