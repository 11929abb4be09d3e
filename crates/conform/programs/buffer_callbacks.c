/* Callbacks on evbuffers: what they are told, in which order, and what they may do. conform: methods=epoll */
#include "conform.h"
#include <event2/buffer_compat.h>

static struct evbuffer *watched, *other;
static struct evbuffer_cb_entry *itself;

static void told(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name)
{
	say("%s: %zu +%zu -%zu, now %zu", (char *)name, info->orig_size, info->n_added, info->n_deleted,
	    evbuffer_get_length(buffer));
}

static void told_old(struct evbuffer *buffer, size_t before, size_t after, void *name)
{
	say("%s: %zu -> %zu, now %zu", (char *)name, before, after, evbuffer_get_length(buffer));
}

static void drains(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name)
{
	told(buffer, info, name);
	if (info->n_added)
		evbuffer_drain(buffer, 1);
}

static void removes_itself(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name)
{
	told(buffer, info, name);
	show(evbuffer_remove_cb_entry(buffer, itself));
}

static void adds_another(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name)
{
	told(buffer, info, name);
	evbuffer_add_cb(buffer, told, "added by a callback");
	show(evbuffer_remove_cb(buffer, adds_another, name));
}

static void moves(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name)
{
	told(buffer, info, name);
	if (info->n_added)
		evbuffer_add_buffer(other, buffer);
}

static void release(const void *data, size_t length, void *name)
{
	say("release of %.*s: %s", (int)length, (const char *)data, (char *)name);
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	say("tick");
}

static void immediate(void)
{
	struct evbuffer_cb_entry *a, *b;
	struct evbuffer_iovec vectors[2] = { { "ab", 2 }, { "cde", 3 } };
	char *line;

	watched = evbuffer_new();
	other = evbuffer_new();
	evbuffer_add(watched, "not told", 8);
	a = evbuffer_add_cb(watched, told, "a");
	b = evbuffer_add_cb(watched, told, "b");
	must(a && b);
	say("add");
	evbuffer_add(watched, "12345\r\n\r\nxyz", 12);
	say("readln");
	line = evbuffer_readln(watched, NULL, EVBUFFER_EOL_CRLF);
	say("%s", line);
	free(line);
	line = evbuffer_readln(watched, NULL, EVBUFFER_EOL_CRLF);
	say("\"%s\"", line);
	free(line);
	say("vectors");
	evbuffer_add_iovec(watched, vectors, 2);
	say("nothing");
	evbuffer_add(watched, "", 0);
	evbuffer_drain(watched, 0);
	say("flags");
	show(evbuffer_cb_clear_flags(watched, a, EVBUFFER_CB_ENABLED));
	evbuffer_prepend(watched, "--", 2);
	show(evbuffer_cb_set_flags(watched, a, EVBUFFER_CB_ENABLED));
	evbuffer_drain(watched, 3);
	say("removed");
	show(evbuffer_remove_cb(watched, told, "nobody"));
	show(evbuffer_remove_cb_entry(watched, b));
	evbuffer_remove_buffer(watched, other, 2);
	evbuffer_add_cb(other, told, "other");
	say("both");
	evbuffer_remove_buffer(watched, other, 2);
	evbuffer_add_buffer(other, watched);
	evbuffer_prepend_buffer(watched, other);
	evbuffer_remove_buffer(watched, other, 1000);
	evbuffer_add_buffer_reference(watched, other);
	say("old style");
	show(evbuffer_setcb(watched, told_old, "old"));
	evbuffer_add(watched, "1", 1);
	show(evbuffer_setcb(watched, NULL, NULL));
	evbuffer_add(watched, "2", 1);
	evbuffer_free(watched);
	evbuffer_free(other);
}

static void inside(void)
{
	watched = evbuffer_new();
	other = evbuffer_new();
	evbuffer_add_cb(watched, told, "last");
	evbuffer_add_cb(watched, drains, "drains");
	evbuffer_add(watched, "abc", 3);
	say("removes itself");
	itself = evbuffer_add_cb(watched, removes_itself, "itself");
	evbuffer_add(watched, "d", 1);
	evbuffer_add(watched, "e", 1);
	say("adds");
	evbuffer_add_cb(watched, adds_another, "adds");
	evbuffer_add(watched, "f", 1);
	evbuffer_add(watched, "g", 1);
	say("moves");
	evbuffer_setcb(watched, NULL, NULL);
	evbuffer_add_cb(other, told, "other");
	evbuffer_add_cb(watched, moves, "moves");
	evbuffer_add(watched, "h", 1);
	say("%zu %zu", evbuffer_get_length(watched), evbuffer_get_length(other));
	evbuffer_free(other);
	say("releases");
	evbuffer_setcb(watched, NULL, NULL);
	evbuffer_drain(watched, 100);
	evbuffer_add_cb(watched, told, "after the release");
	evbuffer_add_reference(watched, "reference", 9, release, "first");
	evbuffer_add_reference(watched, "another", 7, release, "second");
	evbuffer_add(watched, "end", 3);
	evbuffer_drain(watched, 16);
	say("%zu", evbuffer_get_length(watched));
	evbuffer_free(watched);
}

static void put_off(void)
{
	struct event_base *base = a_base();
	struct timeval now = { 0, 0 };
	struct evbuffer_cb_entry *entry;

	watched = evbuffer_new();
	show(evbuffer_defer_callbacks(watched, base));
	entry = evbuffer_add_cb(watched, told, "put off");
	evbuffer_setcb(watched, told_old, "only");
	entry = evbuffer_add_cb(watched, told, "put off");
	must(entry);
	evbuffer_add(watched, "12345", 5);
	evbuffer_drain(watched, 2);
	say("before the loop");
	event_base_once(base, -1, EV_TIMEOUT, tick, NULL, &now);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	say("nothing");
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	evbuffer_cb_set_flags(watched, entry, 2 /* NODEFER */);
	evbuffer_add(watched, "6", 1);
	evbuffer_add(watched, "78", 2);
	say("the loop");
	event_base_loop(base, EVLOOP_NONBLOCK);
	evbuffer_setcb(watched, NULL, NULL);
	evbuffer_add(watched, "9", 1);
	event_base_loop(base, EVLOOP_NONBLOCK);
	evbuffer_free(watched);
	event_base_free(base);
}

int main(void)
{
	immediate();
	inside();
	put_off();
	return 0;
}
