/* Bufferevents used by many threads while the loop runs: bytes, sums, frees, locks. conform: seconds=40 */
#include "conform.h"
#include <pthread.h>

#define THREADS 4
#define EACH 3000

static struct event_base *base;
static struct bufferevent *bev[2];
static size_t received;
static int calls_under_lock, options;
static pthread_mutex_t done_lock = PTHREAD_MUTEX_INITIALIZER;
static int done;

static void on_read(struct bufferevent *from, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(from);

	evbuffer_lock(input);
	received += evbuffer_get_length(input);
	evbuffer_drain(input, evbuffer_get_length(input));
	evbuffer_unlock(input);
	calls_under_lock++;
	if (received == (size_t)THREADS * EACH * 10)
		event_base_loopbreak(base);
}

static void on_event(struct bufferevent *from, short what, void *arg)
{
	say("event %x", (unsigned)what);
}

static void *write_much(void *arg)
{
	int i;

	for (i = 0; i < EACH; i++) {
		bufferevent_write(bev[0], "0123456789", 10);
		if (i % 100 == 0) {
			bufferevent_disable(bev[0], EV_WRITE);
			bufferevent_enable(bev[0], EV_WRITE);
			bufferevent_setwatermark(bev[1], EV_READ, 0, 100 + (size_t)i);
			bufferevent_incref(bev[0]);
			bufferevent_lock(bev[1]);
			bufferevent_unlock(bev[1]);
			bufferevent_decref(bev[0]);
		}
	}
	pthread_mutex_lock(&done_lock);
	done++;
	pthread_mutex_unlock(&done_lock);
	return NULL;
}

static void exchange(const char *name)
{
	pthread_t threads[THREADS];
	int i;

	received = 0;
	bufferevent_setcb(bev[1], on_read, NULL, on_event, NULL);
	bufferevent_enable(bev[1], EV_READ);
	for (i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, write_much, NULL) == 0);
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	say("%s, options %d: %zu", name, options, received);
	bufferevent_free(bev[0]);
	bufferevent_free(bev[1]);
	for (i = 0; i < 5; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void *free_many(void *arg)
{
	struct bufferevent *one;
	int i, fd[2];

	for (i = 0; i < 300; i++) {
		a_pair(fd);
		one = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE | options);
		must(one);
		bufferevent_setcb(one, on_read, NULL, NULL, NULL);
		bufferevent_enable(one, EV_READ | EV_WRITE);
		bufferevent_write(one, "x", 1);
		write_byte(fd[1], 'x');
		if (i % 3 == 0)
			sched_yield();
		bufferevent_free(one);
		close(fd[1]);
	}
	pthread_mutex_lock(&done_lock);
	if (++done == THREADS)
		event_base_loopbreak(base);
	pthread_mutex_unlock(&done_lock);
	return NULL;
}

int main(void)
{
	static const int all[] = { 0, BEV_OPT_DEFER_CALLBACKS, BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS };
	struct bufferevent *pair[2];
	pthread_t threads[THREADS];
	int fd[2], i, round;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	for (round = 0; round < 3; round++) {
		options = all[round];
		a_pair(fd);
		bev[0] = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE | options);
		bev[1] = bufferevent_socket_new(base, fd[1], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE | options);
		must(bev[0] && bev[1]);
		exchange("sockets");
		must(bufferevent_pair_new(base, BEV_OPT_THREADSAFE | options, pair) == 0);
		bev[0] = pair[0];
		bev[1] = pair[1];
		exchange("a pair");
		done = 0;
		received = 0;
		for (i = 0; i < THREADS; i++)
			must(pthread_create(&threads[i], NULL, free_many, NULL) == 0);
		event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
		for (i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		say("freed");
		for (i = 0; i < 5; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
	}
	event_base_free(base);
	return 0;
}
