/* Everything that can be done to a listener from within its own callback. */
#include "conform.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static struct event_base *base;
static int calls;

static struct evconnlistener *listen_with(evconnlistener_cb callback, unsigned flags, struct sockaddr_in *sin)
{
	struct evconnlistener *listener;
	socklen_t length = sizeof *sin;

	memset(sin, 0, sizeof *sin);
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = evconnlistener_new_bind(base, callback, &calls, flags | LEV_OPT_CLOSE_ON_FREE, 16, (struct sockaddr *)sin, sizeof *sin);
	must(listener);
	must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)sin, &length) == 0);
	return listener;
}

static void connects(struct sockaddr_in *sin, int *fd, int n)
{
	while (n-- > 0) {
		fd[n] = socket(AF_INET, SOCK_STREAM, 0);
		must(connect(fd[n], (struct sockaddr *)sin, sizeof *sin) == 0);
	}
}

static void other(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	say("the other, call %d, argument %d", ++calls, arg == NULL);
	close(fd);
}

static void frees(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	say("frees, call %d", ++calls);
	close(fd);
	evconnlistener_free(listener);
}

static void disables(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	say("disables, call %d: %d", ++calls, evconnlistener_disable(listener));
	close(fd);
}

static void disables_and_enables(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	++calls;
	say("both: %d %d", evconnlistener_disable(listener), evconnlistener_enable(listener));
	close(fd);
	if (calls == 3)
		event_base_loopbreak(base);
}

static void sets_other(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	say("sets the other, call %d", ++calls);
	close(fd);
	evconnlistener_set_cb(listener, other, NULL);
}

static void sets_none(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	say("sets none, call %d", ++calls);
	close(fd);
	evconnlistener_set_cb(listener, NULL, NULL);
}

static void round_of(const char *name, evconnlistener_cb callback, unsigned flags, int freed)
{
	struct sockaddr_in sin;
	struct evconnlistener *listener = listen_with(callback, flags, &sin);
	struct timeval tv = ms(50);
	int fd[3], i;

	say("-- %s %x", name, flags);
	calls = 0;
	connects(&sin, fd, 3);
	event_base_loopexit(base, &tv);
	event_base_dispatch(base);
	show(calls);
	if (!freed)
		evconnlistener_free(listener);
	event_base_loop(base, EVLOOP_NONBLOCK);
	for (i = 0; i < 3; i++)
		close(fd[i]);
	/* Nobody listens there any more. */
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	show(connect(fd[0], (struct sockaddr *)&sin, sizeof sin));
	close(fd[0]);
}

int main(void)
{
	unsigned i;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	for (i = 0; i < 2; i++) {
		unsigned flags = i ? LEV_OPT_THREADSAFE : 0;

		round_of("free", frees, flags, 1);
		round_of("disable", disables, flags, 0);
		round_of("disable and enable", disables_and_enables, flags, 0);
		round_of("set another", sets_other, flags, 0);
		round_of("set none", sets_none, flags, 0);
	}
	event_base_free(base);
	return 0;
}
