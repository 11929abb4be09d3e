/* Another thread comes to a signal's event while its callback is called several times: event_add, event_del and event_active wait
 * until the last call is over, or stop those that are left. */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

static struct event_base *base;
static struct event ev;
static volatile int inside, calls;

static void slow(evutil_socket_t signal, short events, void *arg)
{
	calls++;
	inside = 1;
	usleep(30000);
}

static void reach(void)
{
	while (!inside)
		usleep(500);
}

static void *activates(void *arg)
{
	reach();
	event_active(&ev, EV_SIGNAL, 2);
	say("activated after %d calls", calls);
	return NULL;
}

static void *adds(void *arg)
{
	int result;

	reach();
	result = event_add(&ev, NULL);
	say("added after %d calls: %d", calls, result);
	return NULL;
}

static void *deletes(void *arg)
{
	int result;

	reach();
	result = event_del(&ev);
	say("deleted after %d calls: %d", calls, result);
	return NULL;
}

static void with(const char *what, void *(*body)(void *), int count)
{
	pthread_t thread;

	say("%s, %d calls", what, count);
	inside = calls = 0;
	evsignal_assign(&ev, base, SIGUSR1, slow, NULL);
	must(evsignal_add(&ev, NULL) == 0);
	event_active(&ev, EV_SIGNAL, (short)count);
	must(pthread_create(&thread, NULL, body, NULL) == 0);
	must(event_base_loop(base, EVLOOP_ONCE) == 0);
	pthread_join(thread, NULL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	say(" in all %d", calls);
	event_del(&ev);
}

int main(void)
{
	int count;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	for (count = 1; count < 5; count++) {
		with("activates", activates, count);
		with("adds", adds, count);
		with("deletes", deletes, count);
	}
	event_base_free(base);
	return 0;
}
