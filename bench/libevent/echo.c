/* A bufferevent echo, and a client by hand in another process.
 * echo rate|cpu BYTES CONNECTIONS SECONDS: prints messages a second (rate) or the server's nanoseconds of processor a message (cpu). */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
	volatile long messages;
};

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static double processor(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void on_read(struct bufferevent *stream, void *argument)
{
	(void)argument;
	bufferevent_write_buffer(stream, bufferevent_get_input(stream));
}

static void on_event(struct bufferevent *stream, short what, void *argument)
{
	(void)what, (void)argument;
	bufferevent_free(stream);
}

/* One message under way on each connection; whoever has it back whole sends it again. */
static void client(const int *sockets, int connections, size_t bytes, struct shared *shared)
{
	char *message = calloc(1, bytes), *into = malloc(65536);
	size_t *got = calloc((size_t)connections, sizeof *got);
	struct epoll_event ready[256];
	int epoll = epoll_create1(0), index;

	for (index = 0; index < connections; index++) {
		struct epoll_event event = {EPOLLIN, {.u32 = (unsigned)index}};

		epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[index], &event);
		if (write(sockets[index], message, bytes) != (ssize_t)bytes)
			exit(1);
	}
	for (;;) {
		int many = epoll_wait(epoll, ready, 256, -1);

		while (many-- > 0) {
			unsigned at = ready[many].data.u32;
			ssize_t length = read(sockets[at], into, 65536);

			if (length <= 0)
				exit(0);
			got[at] += (size_t)length;
			if (got[at] < bytes)
				continue;
			got[at] -= bytes;
			shared->messages++;
			if (write(sockets[at], message, bytes) != (ssize_t)bytes)
				exit(1);
		}
	}
}

static void stop(evutil_socket_t fd, short what, void *base)
{
	(void)fd, (void)what;
	event_base_loopbreak(base);
}

int main(int argc, char **argv)
{
	struct event_base *base;
	struct shared *shared;
	struct timeval warm = {0, 300000}, whole = {0, 0};
	int connections, index, *theirs;
	size_t bytes;
	double began, used, seconds;
	long before;
	pid_t child;

	if (argc != 5) {
		fprintf(stderr, "usage: %s rate|cpu BYTES CONNECTIONS SECONDS\n", argv[0]);
		return 2;
	}
	bytes = (size_t)atol(argv[2]);
	connections = atoi(argv[3]);
	seconds = atof(argv[4]);
	whole.tv_sec = (long)seconds;
	whole.tv_usec = (long)((seconds - (double)whole.tv_sec) * 1e6);
	signal(SIGPIPE, SIG_IGN);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	theirs = calloc((size_t)connections, sizeof *theirs);
	base = event_base_new();
	for (index = 0; index < connections; index++) {
		struct bufferevent *stream;
		int ends[2], room = 1 << 20;

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
			return perror("socketpair"), 1;
		setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
		setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
		theirs[index] = ends[1];
		evutil_make_socket_nonblocking(ends[0]);
		stream = bufferevent_socket_new(base, ends[0], BEV_OPT_CLOSE_ON_FREE);
		bufferevent_setcb(stream, on_read, NULL, on_event, NULL);
		bufferevent_enable(stream, EV_READ | EV_WRITE);
	}
	child = fork();
	if (child == 0)
		client(theirs, connections, bytes, shared);
	event_base_once(base, -1, EV_TIMEOUT, stop, base, &warm);
	event_base_dispatch(base);
	before = shared->messages;
	began = now();
	used = processor();
	event_base_once(base, -1, EV_TIMEOUT, stop, base, &whole);
	event_base_dispatch(base);
	began = now() - began;
	used = processor() - used;
	before = shared->messages - before;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (before == 0)
		return fprintf(stderr, "no message came back\n"), 1;
	if (strcmp(argv[1], "cpu") == 0)
		printf("%.2f %s\n", used * 1e9 / (double)before, event_base_get_method(base));
	else
		printf("%.2f %s\n", (double)before / began, event_base_get_method(base));
	return 0;
}
