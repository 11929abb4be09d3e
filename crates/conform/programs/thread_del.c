/* event_del from another thread: it waits for a callback that runs, unless told not to; never for itself. */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

static struct event_base *base;
static struct event ev, final;
static volatile int began, inside, done;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t entered = PTHREAD_COND_INITIALIZER;

static void slow(evutil_socket_t fd, short events, void *arg)
{
	pthread_mutex_lock(&lock);
	began = inside = 1;
	pthread_cond_signal(&entered);
	pthread_mutex_unlock(&lock);
	usleep(50000);
	done = 1;
	inside = 0;
}

static void deletes_itself(evutil_socket_t fd, short events, void *arg)
{
	say("deletes itself: %d %d", event_del(&ev), event_del_block(&ev));
	event_base_loopbreak(base);
}

static void *loops(void *arg)
{
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

static void start(struct event *of)
{
	/* Not `inside`, which may be over again before this thread has its turn. */
	began = done = 0;
	event_active(of, EV_READ, 1);
	pthread_mutex_lock(&lock);
	while (!began)
		pthread_cond_wait(&entered, &lock);
	pthread_mutex_unlock(&lock);
}

int main(void)
{
	pthread_t thread;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	event_assign(&ev, base, -1, EV_PERSIST, slow, NULL);
	event_assign(&final, base, -1, EV_PERSIST | EV_FINALIZE, slow, NULL);
	must(pthread_create(&thread, NULL, loops, NULL) == 0);

	start(&ev);
	show(event_del(&ev));
	say("del: the callback has run: %d", done);
	start(&ev);
	show(event_del_block(&ev));
	say("del_block: the callback has run: %d", done);
	start(&ev);
	show(event_del_noblock(&ev));
	say("del_noblock: the callback has run: %d", done);
	while (inside)
		usleep(1000);
	start(&final);
	show(event_del(&final));
	say("del of EV_FINALIZE: the callback has run: %d", done);
	while (inside)
		usleep(1000);
	start(&final);
	show(event_del_block(&final));
	say("del_block of EV_FINALIZE: the callback has run: %d", done);

	event_base_loopbreak(base);
	pthread_join(thread, NULL);
	event_assign(&ev, base, -1, EV_PERSIST, deletes_itself, NULL);
	event_active(&ev, EV_READ, 1);
	show(event_base_dispatch(base));
	event_base_free(base);
	return 0;
}
