/* Eight threads at one running base, while a ninth breaks and continues the loop: each waits for its own callback before it goes on,
 * so that a wake-up that is lost is a halt, and a call too many shows.
 * With select(2) C libevent fails where a descriptor is closed between its copy and its call. conform: methods=epoll,poll */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#define THREADS 8
#define ROUNDS 500

struct worker {
	struct event timer, reads;
	sem_t told;
	int fd[2], round;
	unsigned seed;
};

static struct event_base *base;
static struct worker workers[THREADS];
static volatile int over;

static void told(evutil_socket_t fd, short events, void *arg)
{
	struct worker *me = arg;

	sem_post(&me->told);
}

static void told_of_a_byte(evutil_socket_t fd, short events, void *arg)
{
	struct worker *me = arg;
	char byte;

	if (read(fd, &byte, 1) == 1)
		sem_post(&me->told);
}

static void finalized(struct event *ev, void *arg)
{
	told(-1, 0, arg);
}

static void await(struct worker *me, const char *what)
{
	struct timespec until;

	must(clock_gettime(CLOCK_REALTIME, &until) == 0);
	until.tv_sec += 10;
	while (sem_timedwait(&me->told, &until)) {
		if (errno == EINTR)
			continue;
		say("thread %d, round %d: nothing came of %s", (int)(me - workers), me->round, what);
		_exit(1);
	}
}

/* An event of its own: added, told, and gone in one of three ways. */
static void an_event(struct worker *me, short events, int way)
{
	struct timeval far = { 100, 0 };
	struct event *ev;
	int fd[2];

	a_pair(fd);
	ev = event_new(base, fd[0], events, events & EV_READ ? told_of_a_byte : told, me);
	must(ev != NULL && event_add(ev, way ? &far : NULL) == 0);
	if (events & EV_READ)
		write_byte(fd[1], 'x');
	await(me, "a new event");
	if (!(events & EV_PERSIST) && way == 1) {
		must(event_add(ev, NULL) == 0);
		if (events & EV_READ)
			write_byte(fd[1], 'x');
		await(me, "an event added again");
	}
	if (way == 2) {
		must(event_free_finalize(0, ev, finalized) == 0);
		await(me, "a finalizer");
	} else {
		event_free(ev);
	}
	close(fd[0]);
	close(fd[1]);
}

static void step(struct worker *me)
{
	struct timeval soon = ms(1), zero = { 0, 0 }, far = { 100, 0 };

	switch (rand_r(&me->seed) % 12) {
	case 0:
		event_active(&me->timer, EV_READ, 1);
		await(me, "event_active");
		break;
	case 1:
		must(event_add(&me->timer, &soon) == 0);
		await(me, "a timer");
		break;
	case 2:
		must(event_add(&me->timer, &zero) == 0);
		await(me, "a timer of nothing");
		break;
	case 3:
		must(event_add(&me->timer, &far) == 0 && event_add(&me->timer, &soon) == 0);
		await(me, "a timer that was later");
		break;
	case 4:
		must(event_add(&me->reads, NULL) == 0);
		write_byte(me->fd[1], 'x');
		await(me, "a byte after event_add");
		event_del(&me->reads);
		break;
	case 5:
		write_byte(me->fd[1], 'x');
		must(event_add(&me->reads, &far) == 0);
		await(me, "a byte before event_add");
		event_del(&me->reads);
		break;
	case 6:
		must(event_base_once(base, -1, EV_TIMEOUT, told, me, rand_r(&me->seed) % 2 ? NULL : &soon) == 0);
		await(me, "event_base_once");
		break;
	case 7:
		/* After event_del it is over. */
		event_active(&me->timer, EV_READ, 1);
		event_del(&me->timer);
		while (sem_trywait(&me->told) == 0)
			;
		break;
	case 8: an_event(me, EV_READ | EV_PERSIST, 0); break;
	case 9: an_event(me, EV_READ | EV_PERSIST | EV_FINALIZE, 2); break;
	case 10: an_event(me, EV_READ, rand_r(&me->seed) % 2); break;
	default: an_event(me, EV_WRITE, rand_r(&me->seed) % 2); break;
	}
}

static void *works(void *arg)
{
	struct worker *me = arg;
	int more;

	for (me->round = 0; me->round < ROUNDS; me->round++) {
		step(me);
		must(sem_getvalue(&me->told, &more) == 0);
		must(more == 0);
	}
	return NULL;
}

static void *loops(void *arg)
{
	while (!over)
		must(event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY) == 0);
	return NULL;
}

static void *disturbs(void *arg)
{
	unsigned seed = 1;

	while (!over) {
		usleep(300);
		if (rand_r(&seed) % 2)
			event_base_loopbreak(base);
		else
			event_base_loopcontinue(base);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS], loop, other;
	int i;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	for (i = 0; i < THREADS; i++) {
		struct worker *me = &workers[i];

		a_pair(me->fd);
		me->seed = i + 1;
		must(sem_init(&me->told, 0, 0) == 0);
		event_assign(&me->timer, base, -1, 0, told, me);
		event_assign(&me->reads, base, me->fd[0], EV_READ | EV_PERSIST, told_of_a_byte, me);
	}
	must(pthread_create(&loop, NULL, loops, NULL) == 0);
	must(pthread_create(&other, NULL, disturbs, NULL) == 0);
	for (i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, works, &workers[i]) == 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	must(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED) == 0);
	/* A break between two loops is forgotten: the disturber says it until the loop is over. */
	event_base_loopexit(base, NULL);
	over = 1;
	event_base_loopbreak(base);
	pthread_join(other, NULL);
	event_base_loopexit(base, NULL);
	pthread_join(loop, NULL);
	event_base_free(base);
	say("ok");
	return 0;
}
