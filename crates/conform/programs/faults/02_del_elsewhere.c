/* event_del from other threads, 2,000 times each: once it has returned the callback neither runs nor will, so that what it works
 * on may go. And under a lock that the callback takes, too: with EV_FINALIZE, or told not to block, nobody waits for ever.
 * conform: alone=C-libevent-with-select-takes-for-ever seconds=40 */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

#define THREADS 3
#define ROUNDS 2000

static struct event_base *base;
static int late;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct target { struct event ev; volatile int alive, calls; };

static void called(evutil_socket_t fd, short events, void *arg)
{
	struct target *target = arg;

	if (!target->alive)
		__atomic_add_fetch(&late, 1, __ATOMIC_RELAXED);
	target->calls++;
	if (!target->alive)
		__atomic_add_fetch(&late, 1, __ATOMIC_RELAXED);
}

static void *adds_and_deletes(void *arg)
{
	int *fd = arg, i;

	for (i = 0; i < ROUNDS; i++) {
		struct target *target = calloc(1, sizeof *target);
		struct timeval tv = { 0, i % 3 * 100 };

		target->alive = 1;
		event_assign(&target->ev, base, fd[0], EV_READ | (i % 2 ? EV_PERSIST : 0), called, target);
		must(event_add(&target->ev, i % 4 ? NULL : &tv) == 0);
		if (i % 5 == 0)
			event_active(&target->ev, EV_READ, 1);
		if (i % 7 == 0)
			sched_yield();
		must(event_del(&target->ev) == 0);
		target->alive = 0;
		memset(target, 0, sizeof *target);
		free(target);
	}
	return NULL;
}

static void takes_the_lock(evutil_socket_t fd, short events, void *arg)
{
	pthread_mutex_lock(&lock);
	(*(int *)arg)++;
	pthread_mutex_unlock(&lock);
}

static int finalized;

static void final(struct event *ev, void *arg)
{
	pthread_mutex_lock(&lock);
	finalized++;
	pthread_mutex_unlock(&lock);
}

/* Deletes with the lock held that the callback waits for. */
static void *deletes_under_a_lock(void *arg)
{
	static int calls;
	struct event ev;
	int i;

	event_assign(&ev, base, ((int *)arg)[0], EV_READ | EV_PERSIST | EV_FINALIZE, takes_the_lock, &calls);
	for (i = 0; i < ROUNDS; i++) {
		must(event_add(&ev, NULL) == 0);
		event_active(&ev, EV_READ, 1);
		if (i % 3 == 0)
			sched_yield();
		pthread_mutex_lock(&lock);
		must((i % 2 ? event_del(&ev) : event_del_noblock(&ev)) == 0);
		pthread_mutex_unlock(&lock);
	}
	for (i = 0; i < 200; i++) {
		struct event *own = event_new(base, -1, EV_PERSIST, takes_the_lock, &calls);

		event_active(own, EV_READ, 1);
		pthread_mutex_lock(&lock);
		must(event_free_finalize(0, own, final) == 0);
		pthread_mutex_unlock(&lock);
	}
	/* Its own stack is what the callback must be done with. */
	must(event_del_block(&ev) == 0);
	return NULL;
}

static void *loops(void *arg)
{
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int main(void)
{
	pthread_t loop, threads[THREADS + 1];
	int fd[THREADS + 1][2], i;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	must(pthread_create(&loop, NULL, loops, NULL) == 0);
	for (i = 0; i <= THREADS; i++) {
		a_pair(fd[i]);
		write_byte(fd[i][1], 'x');
		must(pthread_create(&threads[i], NULL, i < THREADS ? adds_and_deletes : deletes_under_a_lock, fd[i]) == 0);
	}
	for (i = 0; i <= THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0);
	must(late == 0);
	must(event_base_loopbreak(base) == 0);
	pthread_join(loop, NULL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	must(finalized == 200);
	must(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE) == 0);
	event_base_free(base);
	say("ok");
	return 0;
}
