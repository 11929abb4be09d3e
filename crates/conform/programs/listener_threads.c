/* One thread loops and accepts; others enable, disable, set callbacks, and free. conform: alone=C-libevent-waits-for-itself seconds=40 */
#include "conform.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>

#define FLAGS (LEV_OPT_CLOSE_ON_FREE | LEV_OPT_THREADSAFE | LEV_OPT_REUSEABLE)

static struct event_base *base;
static pthread_mutex_t own = PTHREAD_MUTEX_INITIALIZER;
static volatile int accepted, closed_off, after_free;

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	/* The program's own lock, which others hold while they call the library. */
	pthread_mutex_lock(&own);
	accepted++;
	if (closed_off)
		after_free++;
	pthread_mutex_unlock(&own);
	close(fd);
}

static void *loops(void *arg)
{
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

static struct evconnlistener *listen_on(struct sockaddr_in *sin)
{
	struct evconnlistener *listener;
	socklen_t length = sizeof *sin;

	memset(sin, 0, sizeof *sin);
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = evconnlistener_new_bind(base, on_accept, NULL, FLAGS, -1, (struct sockaddr *)sin, sizeof *sin);
	must(listener);
	must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)sin, &length) == 0);
	return listener;
}

static volatile int stop;

static void *connects(void *arg)
{
	while (!stop) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct linger hard = { 1, 0 };

		must(fd >= 0);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
		(void)!connect(fd, arg, sizeof(struct sockaddr_in));
		close(fd);
	}
	return NULL;
}

static void *toggles(void *arg)
{
	int i;

	for (i = 0; i < 300; i++) {
		if (i % 3 == 0)
			evconnlistener_disable(arg);
		else if (i % 3 == 1)
			evconnlistener_enable(arg);
		else
			evconnlistener_set_cb(arg, on_accept, NULL);
	}
	return NULL;
}

int main(void)
{
	struct sockaddr_in sin;
	struct evconnlistener *listener;
	pthread_t loop, client, toggler[2];
	int i;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	must(pthread_create(&loop, NULL, loops, NULL) == 0);

	listener = listen_on(&sin);
	must(pthread_create(&client, NULL, connects, &sin) == 0);
	for (i = 0; i < 2; i++)
		must(pthread_create(&toggler[i], NULL, toggles, listener) == 0);
	for (i = 0; i < 2; i++)
		pthread_join(toggler[i], NULL);
	evconnlistener_enable(listener);
	while (accepted < 10)
		usleep(1000);
	stop = 1;
	pthread_join(client, NULL);
	say("accepted");

	/* Freed under the program's own lock, while the callback waits for it. */
	evconnlistener_free(listener);
	for (i = 0; i < 50; i++) {
		int before = accepted;

		stop = closed_off = 0;
		listener = listen_on(&sin);
		must(pthread_create(&client, NULL, connects, &sin) == 0);
		while (accepted < before + 2)
			usleep(100);
		pthread_mutex_lock(&own);
		evconnlistener_free(listener);
		pthread_mutex_unlock(&own);
		stop = 1;
		pthread_join(client, NULL);
	}
	say("freed");
	event_base_loopbreak(base);
	pthread_join(loop, NULL);
	event_base_free(base);
	say("ok");
	return 0;
}
