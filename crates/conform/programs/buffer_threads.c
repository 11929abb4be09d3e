/* Evbuffers with locks, from four threads. conform: methods=epoll */
#include "conform.h"
#include <pthread.h>

enum { THREADS = 4, TIMES = 5000 };

static struct evbuffer *shared, *sink;
static size_t added, removed;

static void count(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	(void)buffer, (void)arg;
	/* Under the lock. */
	added += info->n_added;
	removed += info->n_deleted;
}

static void *work(void *number)
{
	char bytes[64];
	size_t taken = 0;

	memset(bytes, 'a' + (int)(intptr_t)number, sizeof bytes);
	for (int i = 0; i < TIMES; i++) {
		must(evbuffer_add(shared, bytes, 1 + (size_t)i % 60) == 0);
		evbuffer_lock(shared);
		/* Nobody comes between. */
		size_t before = evbuffer_get_length(shared);
		must(evbuffer_prepend(shared, bytes, 3) == 0);
		must(evbuffer_get_length(shared) == before + 3);
		evbuffer_unlock(shared);
		if (i % 3 == 0)
			must(evbuffer_remove_buffer(shared, sink, 40) >= 0);
		if (i % 5 == 0)
			must(evbuffer_remove_buffer(sink, shared, 10) >= 0);
		int got = evbuffer_remove(shared, bytes + 1, 20);
		must(got >= 0);
		taken += (size_t)got;
		memset(bytes, 'a' + (int)(intptr_t)number, sizeof bytes);
	}
	return (void *)taken;
}

int main(void)
{
	pthread_t threads[THREADS];
	size_t taken = 0, put = 0;

	alarm(60);
	shared = evbuffer_new();
	show(evbuffer_enable_locking(shared, NULL));
	evthread_use_pthreads();
	show(evbuffer_enable_locking(shared, NULL));
	show(evbuffer_enable_locking(shared, NULL));
	sink = evbuffer_new();
	show(evbuffer_enable_locking(sink, NULL));
	evbuffer_add_cb(shared, count, NULL);
	for (intptr_t i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		must(pthread_join(threads[i], &result) == 0);
		taken += (size_t)result;
	}
	for (int i = 0; i < TIMES; i++)
		put += THREADS * (size_t)(1 + i % 60 + 3);
	say("all bytes are there: %d", put == taken + evbuffer_get_length(shared) + evbuffer_get_length(sink));
	say("all changes were told: %d", added - removed == evbuffer_get_length(shared));
	evbuffer_free(shared);
	evbuffer_free(sink);
	return 0;
}
