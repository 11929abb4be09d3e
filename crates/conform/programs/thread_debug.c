/* Lock debugging: ordinary use is found to be without fault. */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

static struct event_base *base;
static struct event timer;
static int ticks;

static void tick(evutil_socket_t fd, short events, void *arg)
{
	struct timeval tv = ms(1);

	if (++ticks < 20)
		event_add(&timer, &tv);
	else
		event_base_loopbreak(base);
}

static void told(evutil_socket_t fd, short events, void *arg)
{
}

static void *busy(void *arg)
{
	struct event ev;
	int i;

	event_assign(&ev, base, -1, EV_PERSIST, told, NULL);
	for (i = 0; i < 200; i++) {
		struct timeval tv = ms(i % 7);

		event_add(&ev, &tv);
		event_active(&ev, EV_READ, 1);
		event_del(&ev);
	}
	return NULL;
}

int main(void)
{
	struct timeval tv = ms(1);
	pthread_t threads[3];
	int i;

	evthread_enable_lock_debugging();
	must(evthread_use_pthreads() == 0);
	base = a_base();
	evtimer_assign(&timer, base, tick, NULL);
	event_add(&timer, &tv);
	for (i = 0; i < 3; i++)
		must(pthread_create(&threads[i], NULL, busy, NULL) == 0);
	show(event_base_dispatch(base));
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	show(ticks);
	event_base_free(base);
	return 0;
}
