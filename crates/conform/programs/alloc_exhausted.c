/* The address space is used up to the last byte: what cannot be had is NULL or -1, what is there goes on, and when there is room
 * again all is well. conform: alone=C-libevent-aborts seconds=60 */
#include "conform.h"
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/resource.h>

#define MANY 60000

static struct event many[MANY];
static void *ballast[20000];
static int n_ballast, told;
static struct rlimit limit;

static void silent(int severity, const char *message)
{
}

/* As much as there is, in ever smaller pieces. */
static void eat(void)
{
	size_t size = 16 << 20;
	FILE *statm = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	must(statm && fscanf(statm, "%lu", &pages) == 1);
	fclose(statm);
	must(getrlimit(RLIMIT_AS, &limit) == 0);
	{
		struct rlimit tight = limit;

		tight.rlim_cur = pages * sysconf(_SC_PAGESIZE) + (8 << 20);
		must(setrlimit(RLIMIT_AS, &tight) == 0);
	}
	while (size >= 24 && n_ballast < 20000) {
		void *piece = malloc(size);

		if (piece)
			ballast[n_ballast++] = piece;
		else
			size /= 2;
	}
	must(n_ballast < 20000);
}

static void spit(void)
{
	must(setrlimit(RLIMIT_AS, &limit) == 0);
	while (n_ballast > 0)
		free(ballast[--n_ballast]);
}

static void count(evutil_socket_t fd, short events, void *arg)
{
	told++;
}

int main(void)
{
	struct event_base *base = a_base(), *another;
	struct evbuffer *buffer = evbuffer_new(), *other;
	struct evconnlistener *listener;
	struct bufferevent *bev;
	struct timeval tv = { 1000, 0 }, soon = { 0, 0 };
	struct sockaddr_in sin;
	struct event io, timer;
	static char large[100000];
	int fd[2], i, refused = 0, added = 0, rounds;

	event_set_log_callback(silent);
	a_pair(fd);
	memset(&sin, 0, sizeof sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	event_assign(&io, base, fd[0], EV_READ, count, NULL);
	event_assign(&timer, base, -1, 0, count, NULL);
	must(event_add(&io, NULL) == 0 && event_add(&timer, &tv) == 0);
	must(evbuffer_add(buffer, large, 1000) == 0);

	for (rounds = 0; rounds < 3; rounds++) {
		eat();
		another = event_base_new();
		if (another)
			event_base_free(another);
		refused += !another;
		for (i = 0; i < 300; i++)
			if (evbuffer_add(buffer, large, sizeof large) != 0)
				break;
		must(i < 300);
		must(evbuffer_get_length(buffer) == 1000 + i * sizeof large);
		must(evbuffer_drain(buffer, i * sizeof large) == 0);
		must(evbuffer_expand(buffer, 1 << 30) == -1);
		for (i = 0; i < 100; i++) {
			other = evbuffer_new();
			if (!other)
				break;
			evbuffer_free(other);
		}
		listener = evconnlistener_new_bind(base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE, -1, (struct sockaddr *)&sin, sizeof sin);
		if (listener)
			evconnlistener_free(listener);
		bev = bufferevent_socket_new(base, fd[1], 0);
		if (bev)
			bufferevent_free(bev);
		(void)!event_base_once(base, -1, EV_TIMEOUT, count, NULL, &soon);

		/* More events than there is room for. */
		for (added = 0; added < MANY; added++) {
			tv.tv_usec = added;
			event_assign(&many[added], base, -1, 0, count, NULL);
			if (event_add(&many[added], &tv) != 0)
				break;
		}
		if (added < MANY) {
			refused++;
			must(!event_pending(&many[added], EV_TIMEOUT, NULL));
		}
		/* What was there works. */
		write_byte(fd[1], 'x');
		told = 0;
		must(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
		must(told >= 1);
		for (i = 0; i < added; i++)
			must(event_del(&many[i]) == 0);
		spit();

		read_all(fd[0]);
		must(event_add(&io, NULL) == 0);
		for (i = 0; i < MANY; i++) {
			event_assign(&many[i], base, -1, 0, count, NULL);
			must(event_add(&many[i], &soon) == 0);
		}
		told = 0;
		must(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
		if (told < MANY)
			say("told of %d", told);
		must(evbuffer_add(buffer, large, sizeof large) == 0);
		must(evbuffer_drain(buffer, sizeof large) == 0);
	}
	must(refused > 0);
	evbuffer_free(buffer);
	event_base_free(base);
	say("ok");
	return 0;
}
