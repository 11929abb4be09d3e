/* Pairs and filters at their edges: who is freed by whom and when, what is below a filter taken away or moved on, references,
 * timeouts of what has no descriptor, marks one after the other. */
#include "conform.h"
#include <event2/bufferevent_struct.h>
#include <ctype.h>
#include "edges.h"

static struct bufferevent *victim;

static void on_read_all(struct bufferevent *bev, void *arg)
{
	char t[100];
	size_t n = bufferevent_read(bev, t, 100);

	say("%s reads %.*s", (char *)arg, (int)n, t);
}

static void frees_victim(struct bufferevent *bev, void *arg)
{
	say("%s frees", (char *)arg);
	bufferevent_free(victim);
}

static void told(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name)
{
	say("%s: %zu +%zu -%zu, now %zu", (char *)name, info->orig_size, info->n_added, info->n_deleted, evbuffer_get_length(buffer));
}

static void pairs(void)
{
	struct bufferevent *p[2];
	struct timeval soon = ms(25);

	say("== pairs");
	must(bufferevent_pair_new(base, BEV_OPT_CLOSE_ON_FREE, p) == 0);
	bufferevent_setcb(p[0], on_read, on_write, on_event, "a");
	bufferevent_setcb(p[1], on_read, on_write, on_event, "b");
	bufferevent_enable(p[0], EV_READ | EV_WRITE);
	bufferevent_enable(p[1], EV_READ | EV_WRITE);
	turn();
	say("triggered only once for two");
	bufferevent_write(p[0], "1", 1);
	bufferevent_write(p[0], "2", 1);
	bufferevent_write(p[1], "3", 1);
	turn();
	say("writer disabled");
	bufferevent_disable(p[0], EV_WRITE);
	bufferevent_write(p[0], "4", 1);
	turn();
	show(bufferevent_flush(p[0], EV_READ, BEV_FLUSH));
	turn();
	show(bufferevent_flush(p[0], 0, BEV_FLUSH));
	show(bufferevent_flush(p[0], 0, BEV_FINISHED));
	turn();
	show(bufferevent_flush(p[1], EV_READ, BEV_FINISHED));
	turn();
	say("marks");
	bufferevent_enable(p[0], EV_WRITE);
	bufferevent_setwatermark(p[1], EV_READ, 3, 8);
	bufferevent_setwatermark(p[0], EV_WRITE, 2, 0);
	bufferevent_setcb(p[1], NULL, on_write, on_event, "b");
	for (int i = 0; i < 6; i++) {
		bufferevent_write(p[0], "56", 2);
		turn();
		say("%zu %zu", evbuffer_get_length(bufferevent_get_output(p[0])), evbuffer_get_length(bufferevent_get_input(p[1])));
	}
	show(bufferevent_flush(p[0], EV_WRITE, BEV_FLUSH));
	say("%zu %zu", evbuffer_get_length(bufferevent_get_output(p[0])), evbuffer_get_length(bufferevent_get_input(p[1])));
	bufferevent_setcb(p[1], on_read_all, on_write, on_event, "b");
	bufferevent_setwatermark(p[1], EV_READ, 0, 4);
	turn();
	bufferevent_write(p[0], "abcdefghijkl", 12);
	turn();
	bufferevent_setwatermark(p[1], EV_READ, 0, 0);
	turn();
	bufferevent_disable(p[1], EV_READ);
	bufferevent_write(p[0], "abc", 3);
	show(evbuffer_unfreeze(bufferevent_get_output(p[0]), 1));
	show(evbuffer_drain(bufferevent_get_output(p[0]), 1));
	show(evbuffer_prepend(bufferevent_get_output(p[0]), "zz", 2));
	bufferevent_enable(p[1], EV_READ);
	turn();
	show(evbuffer_drain(bufferevent_get_output(p[0]), 1));
	say("timeouts");
	bufferevent_set_timeouts(p[0], &soon, &soon);
	show(event_pending(&p[0]->ev_read, EV_TIMEOUT, NULL));
	show(event_pending(&p[0]->ev_write, EV_TIMEOUT, NULL));
	bufferevent_disable(p[1], EV_READ);
	bufferevent_write(p[0], "abc", 3);
	show(event_pending(&p[0]->ev_write, EV_TIMEOUT, NULL));
	bufferevent_set_timeouts(p[0], &soon, &soon);
	show(event_pending(&p[0]->ev_write, EV_TIMEOUT, NULL));
	run_for(120);
	bufferevent_enable(p[0], EV_READ | EV_WRITE);
	bufferevent_enable(p[1], EV_READ);
	show(event_pending(&p[0]->ev_write, EV_TIMEOUT, NULL));
	show(event_pending(&p[0]->ev_read, EV_TIMEOUT, NULL));
	run_for(120);
	bufferevent_set_timeouts(p[0], NULL, NULL);
	say("one frees the other");
	victim = p[1];
	bufferevent_setcb(p[0], frees_victim, on_write, on_event, "a");
	bufferevent_setcb(p[1], on_read, on_write, on_event, "b");
	bufferevent_enable(p[0], EV_READ | EV_WRITE);
	bufferevent_write(p[1], "x", 1);
	bufferevent_write(p[0], "y", 1);
	turn();
	show(bufferevent_pair_get_partner(p[0]) == NULL);
	show(bufferevent_flush(p[0], EV_WRITE, BEV_NORMAL));
	show(bufferevent_enable(p[0], EV_READ | EV_WRITE));
	show(bufferevent_disable(p[0], EV_READ | EV_WRITE));
	bufferevent_free(p[0]);
	turn();
	say("freed by itself");
	must(bufferevent_pair_new(base, 0, p) == 0);
	victim = p[1];
	bufferevent_setcb(p[0], on_read, on_write, on_event, "a");
	bufferevent_setcb(p[1], frees_victim, on_write, on_event, "b");
	bufferevent_enable(p[1], EV_READ);
	bufferevent_write(p[0], "x", 1);
	turn();
	bufferevent_free(p[0]);
	turn();
	say("references");
	must(bufferevent_pair_new(base, 0, p) == 0);
	bufferevent_setcb(p[1], on_read, on_write, on_event, "b");
	bufferevent_enable(p[1], EV_READ);
	bufferevent_incref(p[0]);
	bufferevent_free(p[0]);
	show(bufferevent_pair_get_partner(p[1]) == p[0]);
	bufferevent_write(p[0], "x", 1);
	turn();
	show(bufferevent_decref(p[0]));
	show(bufferevent_pair_get_partner(p[1]) == NULL);
	bufferevent_incref(p[1]);
	show(bufferevent_decref(p[1]));
	bufferevent_lock(p[1]);
	bufferevent_unlock(p[1]);
	show(bufferevent_decref(p[1]));
	turn();
}

static enum bufferevent_filter_result upper(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	unsigned char byte;

	say("%s: %zu bytes, limit %ld, mode %d", (char *)arg, evbuffer_get_length(from), (long)limit, (int)mode);
	while ((limit < 0 || limit-- > 0) && evbuffer_remove(from, &byte, 1) == 1) {
		byte = (unsigned char)toupper(byte);
		evbuffer_add(to, &byte, 1);
	}
	return BEV_OK;
}

static enum bufferevent_filter_result one(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	unsigned char byte;

	say("%s: %zu bytes, limit %ld, mode %d", (char *)arg, evbuffer_get_length(from), (long)limit, (int)mode);
	if (evbuffer_remove(from, &byte, 1) != 1)
		return BEV_NEED_MORE;
	evbuffer_add(to, &byte, 1);
	evbuffer_add(to, "-", 1);
	return BEV_OK;
}

static enum bufferevent_filter_result keep(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	say("keep: %zu bytes, limit %ld, mode %d", evbuffer_get_length(from), (long)limit, (int)mode);
	return mode == BEV_NORMAL ? BEV_NEED_MORE : (evbuffer_add_buffer(to, from), BEV_OK);
}

static enum bufferevent_filter_result frees_itself(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	say("filter frees");
	if (victim)
		bufferevent_free(victim);
	victim = NULL;
	evbuffer_add_buffer(to, from);
	return BEV_OK;
}

static void free_context(void *arg)
{
	say("context of %s freed", (char *)arg);
}

static void filters(void)
{
	struct bufferevent *low, *f, *g, *p[2];
	struct timeval soon = ms(25);
	char bytes[100];
	bufferevent_data_cb r, w;
	bufferevent_event_cb e;
	void *a;
	int fd[2], fe[2], n;

	say("== filters");
	a_pair(fd);
	a_pair(fe);
	low = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(low, on_read, on_write, on_event, "low before");
	f = bufferevent_filter_new(low, upper, one, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS, free_context, "f");
	show(bufferevent_priority_set(f, 0));
	show(bufferevent_base_set(base, f));
	show(bufferevent_get_base(f) == base);
	show(bufferevent_get_priority(f));
	show(bufferevent_pair_get_partner(f) == NULL);
	bufferevent_setcb(f, on_read_all, on_write, on_event, "f");
	evbuffer_add_cb(bufferevent_get_output(f), told, "f's output");
	evbuffer_add_cb(bufferevent_get_input(f), told, "f's input");
	say("%s %s", events_text(bufferevent_get_enabled(f)), events_text(bufferevent_get_enabled(low)));
	bufferevent_write(f, "abc", 3);
	turn();
	n = (int)read(fd[1], bytes, 100);
	say("%d %.*s", n, n, bytes);
	bufferevent_disable(f, EV_WRITE);
	bufferevent_write(f, "def", 3);
	turn();
	show(read(fd[1], bytes, 100));
	bufferevent_enable(f, EV_WRITE);
	turn();
	show(read(fd[1], bytes, 100));
	bufferevent_write(f, "g", 1);
	turn();
	n = (int)read(fd[1], bytes, 100);
	say("%d %.*s", n, n, bytes);
	must(write(fd[1], "in", 2) == 2);
	turn();
	show(bufferevent_flush(f, EV_READ, BEV_FLUSH));
	bufferevent_enable(f, EV_READ);
	turn();
	bufferevent_disable(low, EV_READ);
	must(write(fd[1], "in", 2) == 2);
	turn();
	bufferevent_enable(low, EV_READ);
	turn();
	say("descriptors");
	show(bufferevent_setfd(f, fe[0]));
	show(bufferevent_getfd(low) == fe[0]);
	must(write(fe[1], "other", 5) == 5);
	turn();
	show(bufferevent_setfd(f, fd[0]));
	close(fe[0]);
	close(fe[1]);
	say("timeouts");
	bufferevent_set_timeouts(f, &soon, &soon);
	show(event_pending(&f->ev_read, EV_TIMEOUT, NULL));
	show(event_pending(&f->ev_write, EV_TIMEOUT, NULL));
	run_for(120);
	bufferevent_enable(f, EV_READ);
	must(write(fd[1], "in", 2) == 2);
	run_for(120);
	bufferevent_write(f, "o", 1);
	run_for(120);
	bufferevent_set_timeouts(f, NULL, NULL);
	bufferevent_enable(f, EV_READ | EV_WRITE);
	bufferevent_set_timeouts(low, &soon, NULL);
	run_for(120);
	say("%s %s", events_text(bufferevent_get_enabled(f)), events_text(bufferevent_get_enabled(low)));
	bufferevent_set_timeouts(low, NULL, NULL);
	bufferevent_enable(low, EV_READ);
	say("on top");
	g = bufferevent_filter_new(f, NULL, keep, 0, free_context, "g");
	bufferevent_setcb(g, on_read_all, on_write, on_event, "g");
	bufferevent_enable(g, EV_READ);
	must(write(fd[1], "up", 2) == 2);
	turn();
	bufferevent_write(g, "down", 4);
	turn();
	show(evbuffer_get_length(bufferevent_get_output(g)));
	show(bufferevent_flush(g, EV_WRITE, BEV_FLUSH));
	turn();
	n = (int)read(fd[1], bytes, 100);
	say("%d %.*s", n, n, bytes);
	show(bufferevent_getfd(g) == fd[0]);
	show(bufferevent_get_underlying(bufferevent_get_underlying(g)) == low);
	say("trigger");
	bufferevent_trigger(g, EV_READ | EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS);
	bufferevent_trigger_event(low, BEV_EVENT_EOF | BEV_EVENT_READING, 0);
	turn();
	bufferevent_free(g);
	say("g is freed");
	turn();
	must(write(fd[1], "up", 2) == 2);
	turn();
	show(evbuffer_get_length(bufferevent_get_input(f)));
	bufferevent_getcb(f, &r, &w, &e, &a);
	show(!r && !w && !e && !a);
	bufferevent_setcb(f, on_read_all, on_write, on_event, "f");
	must(write(fd[1], "up", 2) == 2);
	turn();
	shutdown(fd[1], SHUT_WR);
	turn();
	bufferevent_write(f, "to nobody", 9);
	close(fd[1]);
	turn();
	bufferevent_free(f);
	turn();
	show(fcntl(fd[0], F_GETFD));

	say("== a filter that frees");
	must(bufferevent_pair_new(base, 0, p) == 0);
	f = bufferevent_filter_new(p[0], frees_itself, frees_itself, 0, free_context, "f");
	bufferevent_setcb(f, on_read, on_write, on_event, "f");
	bufferevent_enable(f, EV_READ | EV_WRITE);
	victim = f;
	bufferevent_write(p[1], "abc", 3);
	turn();
	bufferevent_free(p[0]);
	bufferevent_free(p[1]);
	turn();
	must(bufferevent_pair_new(base, 0, p) == 0);
	f = bufferevent_filter_new(p[0], NULL, frees_itself, BEV_OPT_CLOSE_ON_FREE, free_context, "f");
	bufferevent_setcb(f, on_read, on_write, on_event, "f");
	victim = f;
	bufferevent_incref(f);
	bufferevent_write(f, "abc", 3);
	turn();
	show(bufferevent_decref(f));
	bufferevent_free(p[1]);
	turn();
	say("== the underlying is freed first");
	must(bufferevent_pair_new(base, 0, p) == 0);
	f = bufferevent_filter_new(p[0], NULL, NULL, 0, free_context, "f");
	bufferevent_setcb(f, on_read, on_write, on_event, "f");
	bufferevent_enable(f, EV_READ);
	bufferevent_free(p[0]);
	bufferevent_write(p[1], "abc", 3);
	turn();
	show(bufferevent_write(f, "x", 1));
	turn();
	show(evbuffer_get_length(bufferevent_get_output(f)));
	bufferevent_free(f);
	turn();
	show(bufferevent_pair_get_partner(p[1]) == NULL);
	bufferevent_free(p[1]);
	turn();
	say("== callbacks taken away below");
	must(bufferevent_pair_new(base, 0, p) == 0);
	f = bufferevent_filter_new(p[0], NULL, NULL, 0, free_context, "f");
	bufferevent_setcb(f, on_read, on_write, on_event, "f");
	bufferevent_enable(f, EV_READ);
	bufferevent_setcb(p[0], on_read, on_write, on_event, "below");
	bufferevent_write(p[1], "abc", 3);
	turn();
	bufferevent_write(f, "out", 3);
	turn();
	bufferevent_free(f);
	turn();
	bufferevent_getcb(p[0], &r, &w, &e, &a);
	show(r == on_read);
	bufferevent_free(p[0]);
	bufferevent_free(p[1]);
	turn();
	say("== closed below with filter alive");
	a_pair(fd);
	low = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	f = bufferevent_filter_new(low, upper, upper, 0, NULL, "f");
	bufferevent_setcb(f, on_read_all, on_write, on_event, "f");
	bufferevent_enable(f, EV_READ | EV_WRITE);
	must(write(fd[1], "last", 4) == 4);
	close(fd[1]);
	turn();
	say("%s %s", events_text(bufferevent_get_enabled(f)), events_text(bufferevent_get_enabled(low)));
	bufferevent_write(f, "x", 1);
	turn();
	bufferevent_write(f, "y", 1);
	turn();
	show(evbuffer_get_length(bufferevent_get_output(low)));
	bufferevent_free(f);
	bufferevent_free(low);
	turn();
}

int main(void)
{
	base = a_base();
	pairs();
	filters();
	event_base_free(base);
	return 0;
}
