/* event_set_mem_functions: everything comes through them and goes back, and a failure is a NULL or -1. */
#include "conform.h"
#include <event2/event_struct.h>

static long live, fail_after = -1;

static int fails(void)
{
	return fail_after >= 0 && fail_after-- == 0;
}

static void *own_malloc(size_t size)
{
	void *memory = fails() ? NULL : malloc(size);

	live += memory != NULL;
	return memory;
}

static void *own_realloc(void *old, size_t size)
{
	void *memory = fails() ? NULL : realloc(old, size);

	live += memory != NULL && old == NULL;
	return memory;
}

static void own_free(void *memory)
{
	live -= memory != NULL;
	free(memory);
}

static void told(evutil_socket_t fd, short events, void *arg)
{
}

int main(void)
{
	struct event_base *base;
	struct evbuffer *buffer;
	struct event *ev;
	struct timeval tv = ms(1);
	int fd[2];

	event_set_mem_functions(own_malloc, own_realloc, own_free);
	base = a_base();
	a_pair(fd);
	show(live > 0);
	ev = event_new(base, fd[0], EV_READ, told, NULL);
	event_add(ev, &tv);
	event_base_once(base, -1, EV_TIMEOUT, told, NULL, &tv);
	buffer = evbuffer_new();
	evbuffer_add(buffer, "hello", 5);
	evbuffer_add_printf(buffer, "%d", 12345);
	event_base_dispatch(base);
	event_free(ev);
	evbuffer_free(buffer);
	event_base_free(base);
	libevent_global_shutdown();
	show(live);

	/* The first allocation fails. */
	fail_after = 0;
	show(event_config_new() == NULL);
	fail_after = 0;
	show(evbuffer_new() == NULL);
	fail_after = 0;
	show(event_base_new() == NULL);
	fail_after = 0;
	show(event_new(NULL, -1, 0, told, NULL) == NULL);
	fail_after = -1;
	show(live);
	return 0;
}
