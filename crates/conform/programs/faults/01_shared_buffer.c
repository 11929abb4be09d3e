/* What callbacks and release hooks may do here and kills or harms C libevent: free the buffer that they are told of, change
 * it in the midst of an operation, and let go of a lock's owner while others still read its bytes (#1842).
 * conform: methods=epoll alone=libevent-uses-freed-memory-at-these */
#include "conform.h"
#include <event2/buffer_compat.h>

static struct evbuffer *buffer, *other;
static int called, released;

static void frees(struct evbuffer *which, const struct evbuffer_cb_info *info, void *arg)
{
	(void)info, (void)arg;
	called++;
	evbuffer_free(which);
	/* Still there, until this returns. */
	must(evbuffer_add(which, "more", 4) == 0);
}

static void frees_other(struct evbuffer *which, const struct evbuffer_cb_info *info, void *arg)
{
	(void)which, (void)info, (void)arg;
	called++;
	if (other)
		evbuffer_free(other);
	other = NULL;
}

static struct evbuffer_cb_entry *entries[3];

static void removes_all(struct evbuffer *which, const struct evbuffer_cb_info *info, void *arg)
{
	(void)info, (void)arg;
	called++;
	for (int i = 0; i < 3; i++)
		evbuffer_remove_cb_entry(which, entries[i]);
	/* A handle that is not of this buffer. */
	must(evbuffer_remove_cb_entry(which, entries[0]) == -1);
}

static void release(const void *data, size_t length, void *arg)
{
	(void)data;
	released++;
	if (arg && buffer) {
		/* Inside an operation on that buffer. */
		must(evbuffer_add(buffer, "added", 5) == 0);
		must(evbuffer_add_reference(buffer, "again", 5, release, NULL) == 0);
		must(evbuffer_prepend(buffer, "front", length > 3 ? 5 : 0) == 0);
		must(evbuffer_pullup(buffer, -1) != NULL);
	}
}

static void release_and_free(const void *data, size_t length, void *arg)
{
	(void)data, (void)length, (void)arg;
	released++;
	evbuffer_free(buffer);
	buffer = NULL;
}

static void *drains_elsewhere(void *which)
{
	for (int i = 0; i < 1000; i++)
		must(evbuffer_drain(which, 10) == 0);
	evbuffer_free(which);
	return NULL;
}

#include <pthread.h>

int main(void)
{
	struct evbuffer_iovec vectors[2] = { { "a", 1 }, { "b", 1 } };
	struct event_base *base;
	struct evbuffer *readers[2];
	pthread_t threads[4];
	char bytes[10000], *line;

	alarm(60);
	/* Frees itself, in each function that goes on afterwards. */
	for (int way = 0; way < 6; way++) {
		buffer = evbuffer_new();
		other = NULL;
		evbuffer_add(buffer, "line\nline\n", 10);
		evbuffer_add_cb(buffer, frees, NULL);
		called = 0;
		switch (way) {
		case 0: must(evbuffer_add(buffer, "x", 1) == 0); break;
		case 1: must(evbuffer_add_iovec(buffer, vectors, 2) == 1); break;
		case 2:
			line = evbuffer_readln(buffer, NULL, EVBUFFER_EOL_LF);
			must(line && strcmp(line, "line") == 0);
			free(line);
			break;
		case 3:
			other = evbuffer_new();
			must(evbuffer_add_buffer(other, buffer) == 0);
			must(evbuffer_get_length(other) == 10);
			evbuffer_free(other);
			break;
		case 4: must(evbuffer_drain(buffer, 3) == 0); break;
		case 5: must(evbuffer_add_printf(buffer, "%d", 7) == 1); break;
		}
		/* Told once: what is freed is not told any more. */
		must(called == 1);
	}
	/* Frees the other one of two. */
	for (int way = 0; way < 2; way++) {
		buffer = evbuffer_new();
		other = evbuffer_new();
		evbuffer_add(way ? other : buffer, "abc", 3);
		evbuffer_add_cb(buffer, frees_other, NULL);
		must(way ? evbuffer_add_buffer(buffer, other) == 0 : evbuffer_add_buffer(other, buffer) == 0);
		must(other == NULL);
		evbuffer_free(buffer);
	}
	/* Removes others. */
	buffer = evbuffer_new();
	for (int i = 0; i < 3; i++)
		entries[i] = evbuffer_add_cb(buffer, removes_all, NULL);
	called = 0;
	evbuffer_add(buffer, "x", 1);
	evbuffer_add(buffer, "y", 1);
	must(called == 1);
	evbuffer_free(buffer);
	/* A release hook that changes the buffer. */
	buffer = evbuffer_new();
	must(evbuffer_add_reference(buffer, "first", 5, release, "change") == 0);
	/* And what was pulled up is released. */
	must(evbuffer_drain(buffer, 5) == 0 && released == 2);
	must(evbuffer_get_length(buffer) == 15);
	must(memcmp(evbuffer_pullup(buffer, -1), "frontaddedagain", 15) == 0);
	must(evbuffer_drain(buffer, 15) == 0 && released == 2);
	must(evbuffer_add_reference(buffer, "", 0, release, NULL) == 0 && released == 3);
	must(evbuffer_add_reference(buffer, "free", 4, release_and_free, NULL) == 0);
	must(evbuffer_remove(buffer, bytes, 10) == 4 && released == 4 && buffer == NULL);
	/* The last turn of a buffer that was freed before. */
	base = a_base();
	buffer = evbuffer_new();
	must(evbuffer_defer_callbacks(buffer, base) == 0);
	called = 0;
	evbuffer_add_cb(buffer, frees_other, NULL);
	evbuffer_add(buffer, "x", 1);
	evbuffer_free(buffer);
	event_base_loop(base, EVLOOP_NONBLOCK);
	must(called == 0);
	event_base_free(base);
	/* What two pull up of the same bytes is each one's own: libevent writes both into the room behind those. */
	buffer = evbuffer_new();
	evbuffer_add(buffer, "abc", 3);
	for (int i = 0; i < 2; i++) {
		readers[i] = evbuffer_new();
		must(evbuffer_add_buffer_reference(readers[i], buffer) == 0);
		must(evbuffer_add_printf(readers[i], "%d", i) == 1);
	}
	must(memcmp(evbuffer_pullup(readers[0], -1), "abc0", 4) == 0);
	must(memcmp(evbuffer_pullup(readers[1], -1), "abc1", 4) == 0);
	must(memcmp(evbuffer_pullup(readers[0], -1), "abc0", 4) == 0);
	evbuffer_free(readers[0]);
	evbuffer_free(readers[1]);
	evbuffer_free(buffer);
	/* Bytes of one buffer in four, each in a thread of its own without a lock; their first owner is gone. */
	evthread_use_pthreads();
	buffer = evbuffer_new();
	must(evbuffer_enable_locking(buffer, NULL) == 0);
	memset(bytes, 'x', sizeof bytes);
	must(evbuffer_add(buffer, bytes, sizeof bytes) == 0);
	released = 0;
	for (int i = 0; i < 4; i++) {
		struct evbuffer *reader = evbuffer_new();

		must(evbuffer_add_buffer_reference(reader, buffer) == 0);
		if (i == 3) {
			evbuffer_free(buffer);
			buffer = NULL;
		}
		must(pthread_create(&threads[i], NULL, drains_elsewhere, reader) == 0);
	}
	for (int i = 0; i < 4; i++)
		must(pthread_join(threads[i], NULL) == 0);
	puts("ok");
	return 0;
}
