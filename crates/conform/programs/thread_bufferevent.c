/* Bufferevents written to from several threads: every byte arrives, in each thread's order, once. */
#include "conform.h"
#include <pthread.h>

#define THREADS 4
#define MESSAGES 2000

static struct event_base *base;
static struct bufferevent *ends[2];
static unsigned next[THREADS], total, disorder;

static void reads(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	unsigned char message[8];

	while (evbuffer_get_length(input) >= sizeof message) {
		unsigned number;

		evbuffer_remove(input, message, sizeof message);
		memcpy(&number, message + 4, sizeof number);
		if (number != next[message[0]]++)
			disorder++;
		if (++total == THREADS * MESSAGES)
			event_base_loopbreak(base);
	}
}

static void *writes(void *arg)
{
	unsigned char message[8] = { 0 };
	unsigned i;

	message[0] = (unsigned char)(long)arg;
	for (i = 0; i < MESSAGES; i++) {
		memcpy(message + 4, &i, sizeof i);
		must(bufferevent_write(ends[1], message, sizeof message) == 0);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	int fd[2], i, round;

	must(evthread_use_pthreads() == 0);
	base = a_base();
	for (round = 0; round < 2; round++) {
		int flags = BEV_OPT_THREADSAFE | BEV_OPT_CLOSE_ON_FREE | (round ? BEV_OPT_DEFER_CALLBACKS : 0);

		memset(next, 0, sizeof next);
		total = disorder = 0;
		a_pair(fd);
		for (i = 0; i < 2; i++)
			must((ends[i] = bufferevent_socket_new(base, fd[i], flags)) != NULL);
		bufferevent_setcb(ends[0], reads, NULL, NULL, NULL);
		bufferevent_enable(ends[0], EV_READ);
		for (i = 0; i < THREADS; i++)
			must(pthread_create(&threads[i], NULL, writes, (void *)(long)i) == 0);
		show(event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY));
		for (i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		show(total);
		show(disorder);
		bufferevent_free(ends[0]);
		bufferevent_free(ends[1]);
	}
	event_base_free(base);
	return 0;
}
