/* The timer that is due first is removed, or another put before it, by other threads while the loop waits for it (#1727): each
 * of the rest is told once. conform: seconds=40 */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

#define TIMERS 50

static struct event_base *base;
static struct event timers[TIMERS], stop;
static int calls[TIMERS];

static void rings(evutil_socket_t fd, short events, void *arg)
{
	calls[(struct event *)arg - timers]++;
}

static void *removes(void *arg)
{
	int i, round;

	for (round = 0; round < 20; round++)
		for (i = 0; i < TIMERS; i += 2) {
			/* The least, over and over. */
			struct timeval tv = { 0, 100 + i };
			struct event least;

			evtimer_assign(&least, base, rings, &timers[i]);
			event_add(&least, &tv);
			event_del(&least);
			if (round == 19)
				event_del(&timers[i]);
		}
	return NULL;
}

static void ends(evutil_socket_t fd, short events, void *arg)
{
	event_base_loopbreak(base);
}

int main(void)
{
	struct timeval tv = ms(600);
	pthread_t threads[2];
	int i, wrong = 0;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	for (i = 0; i < TIMERS; i++) {
		struct timeval after = ms(300 + i);

		evtimer_assign(&timers[i], base, rings, &timers[i]);
		event_add(&timers[i], &after);
	}
	evtimer_assign(&stop, base, ends, NULL);
	event_add(&stop, &tv);
	for (i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, removes, NULL) == 0);
	event_base_dispatch(base);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (i = 1; i < TIMERS; i += 2)
		wrong += calls[i] != 1;
	show(wrong);
	event_base_free(base);
	return 0;
}
