/* Rate limits at their edges: what is left, what may move and who is watched, when limits change, come and go, or are charged
 * by hand; groups, their min-share, and who joins and leaves. */
#include "conform.h"
#include <event2/bufferevent_struct.h>
#include <limits.h>
#include "edges.h"

static void state(const char *what, struct bufferevent *bev)
{
	say("%s: limits %zd %zd, max %zd %zd, single %zd %zd, in %zu out %zu, pending %x %x", what,
	    bufferevent_get_read_limit(bev), bufferevent_get_write_limit(bev),
	    bufferevent_get_max_to_read(bev), bufferevent_get_max_to_write(bev),
	    bufferevent_get_max_single_read(bev), bufferevent_get_max_single_write(bev),
	    evbuffer_get_length(bufferevent_get_input(bev)), evbuffer_get_length(bufferevent_get_output(bev)),
	    event_pending(&bev->ev_read, EV_READ, NULL), event_pending(&bev->ev_write, EV_WRITE, NULL));
}

static void gstate(const char *what, struct bufferevent_rate_limit_group *g)
{
	ev_uint64_t r, w;
	bufferevent_rate_limit_group_get_totals(g, &r, &w);
	say("%s: limits %zd %zd, totals %d %d", what,
	    bufferevent_rate_limit_group_get_read_limit(g), bufferevent_rate_limit_group_get_write_limit(g),
	    (int)r, (int)w);
}

static void own(void)
{
	struct timeval hour = { 3600, 0 };
	struct ev_token_bucket_cfg *c = ev_token_bucket_cfg_new(10, 100, 20, 200, &hour);
	struct ev_token_bucket_cfg *d = ev_token_bucket_cfg_new(1000, 1000, 2000, 2000, &hour);
	struct ev_token_bucket_cfg *e = ev_token_bucket_cfg_new(1, 1, 1, 1, &hour);
	struct bufferevent *bev;
	char bytes[5000] = { 0 };
	int fd[2];
	must(c && d && e);
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "b");
	state("none", bev);
	show(bufferevent_set_rate_limit(bev, c));
	state("c", bev);
	bufferevent_enable(bev, EV_READ);
	turn();
	must(write(fd[1], bytes, 50) == 50);
	turn();
	state("dry", bev);
	show(bufferevent_decrement_read_limit(bev, -5));
	state("five", bev);
	turn();
	state("dry", bev);
	show(bufferevent_decrement_read_limit(bev, 5));
	state("less", bev);
	show(bufferevent_decrement_read_limit(bev, -5));
	state("none", bev);
	show(bufferevent_decrement_read_limit(bev, -200));
	state("more than burst", bev);
	turn();
	show(bufferevent_set_rate_limit(bev, e));
	state("e", bev);
	turn();
	state("e", bev);
	show(bufferevent_set_rate_limit(bev, d));
	state("d", bev);
	turn();
	state("d", bev);
	show(bufferevent_set_rate_limit(bev, NULL));
	state("none", bev);
	turn();
	show(bufferevent_set_rate_limit(bev, d));
	state("d anew", bev);
	bufferevent_set_max_single_read(bev, 7);
	bufferevent_set_max_single_write(bev, 7);
	state("with singles", bev);
	bufferevent_write(bev, bytes, 3000);
	turn();
	state("written", bev);
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	show(bufferevent_decrement_write_limit(bev, -2000));
	state("disabled", bev);
	turn();
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	state("enabled", bev);
	turn();
	state("enabled", bev);
	show(bufferevent_set_rate_limit(bev, NULL));
	show(bufferevent_set_rate_limit(bev, NULL));
	turn();
	state("none", bev);
	bufferevent_set_max_single_read(bev, (size_t)SSIZE_MAX);
	bufferevent_set_max_single_write(bev, (size_t)SSIZE_MAX + 1);
	state("singles", bev);
	bufferevent_free(bev);
	turn();
	close(fd[1]);
	ev_token_bucket_cfg_free(c); ev_token_bucket_cfg_free(d); ev_token_bucket_cfg_free(e);
}
/* A member of a dry group is put to rest by libevent at once, here when it wants something: so not who is watched. */
static void member(const char *what, struct bufferevent *bev)
{
	say("%s: max %zd %zd, in %zu out %zu", what, bufferevent_get_max_to_read(bev), bufferevent_get_max_to_write(bev),
	    evbuffer_get_length(bufferevent_get_input(bev)), evbuffer_get_length(bufferevent_get_output(bev)));
}

static void groups(void)
{
	struct timeval hour = { 3600, 0 };
	struct ev_token_bucket_cfg *c = ev_token_bucket_cfg_new(1000, 2000, 300, 300, &hour), *d = ev_token_bucket_cfg_new(20, 20, 30, 30, &hour);
	struct bufferevent_rate_limit_group *g = bufferevent_rate_limit_group_new(base, c);
	struct bufferevent *b[3];
	char bytes[5000] = { 0 };
	int fd[3][2];
	say("== groups");
	gstate("new", g);
	for (int i = 0; i < 3; i++) {
		a_pair(fd[i]);
		b[i] = bufferevent_socket_new(base, fd[i][0], BEV_OPT_CLOSE_ON_FREE);
		bufferevent_setcb(b[i], on_read, on_write, on_event, "member");
		bufferevent_enable(b[i], EV_READ);
		show(bufferevent_add_to_rate_limit_group(b[i], g));
		turn();
		state("joined", b[i]);
		show(bufferevent_add_to_rate_limit_group(b[i], g));
		turn();
	}
	show(bufferevent_rate_limit_group_set_min_share(g, 0));
	state("no share", b[0]);
	show(bufferevent_rate_limit_group_set_min_share(g, 400));
	state("400", b[0]);
	show(bufferevent_rate_limit_group_set_min_share(g, 1000000));
	state("1000000", b[0]);
	show(bufferevent_rate_limit_group_set_min_share(g, 64));
	/* A dry group that fills lets all write with libevent, also who has nothing to write: then the write callback is called. */
	for (int i = 0; i < 3; i++)
		bufferevent_setcb(b[i], on_read, NULL, on_event, "member");
	show(bufferevent_rate_limit_group_decrement_read(g, 500));
	gstate("less", g);
	member("less", b[0]);
	show(bufferevent_rate_limit_group_decrement_read(g, 500));
	gstate("none", g);
	member("none", b[0]);
	member("none", b[1]);
	show(bufferevent_rate_limit_group_decrement_read(g, -5000));
	gstate("many", g);
	show(bufferevent_rate_limit_group_set_cfg(g, d));
	gstate("d", g);
	member("d", b[0]);
	bufferevent_write(b[0], bytes, 100);
	turn();
	gstate("written", g);
	say("%zu", evbuffer_get_length(bufferevent_get_output(b[0])));
	show(bufferevent_rate_limit_group_set_cfg(g, c));
	gstate("c", g);
	show(bufferevent_rate_limit_group_decrement_write(g, -200));
	gstate("c", g);
	turn();
	member("c", b[0]);
	gstate("c", g);
	show(bufferevent_rate_limit_group_decrement_write(g, 500));
	bufferevent_write(b[1], bytes, 10);
	turn();
	member("suspended", b[1]);
	show(bufferevent_remove_from_rate_limit_group(b[1]));
	turn();
	member("left", b[1]);
	show(bufferevent_remove_from_rate_limit_group(b[1]));
	show(bufferevent_add_to_rate_limit_group(b[1], g));
	bufferevent_write(b[1], bytes, 10);
	turn();
	member("joined dry", b[1]);
	show(bufferevent_set_rate_limit(b[2], d));
	member("both", b[2]);
	show(bufferevent_set_rate_limit(b[2], NULL));
	member("group", b[2]);
	for (int i = 0; i < 3; i++) {
		bufferevent_free(b[i]);
		close(fd[i][1]);
	}
	turn();
	gstate("empty", g);
	bufferevent_rate_limit_group_free(g);
	ev_token_bucket_cfg_free(c); ev_token_bucket_cfg_free(d);
	turn();
}

static void refills(void)
{
	struct timeval tick = ms(40);
	struct ev_token_bucket_cfg *c = ev_token_bucket_cfg_new(10, 10, 10, 10, &tick);
	struct bufferevent *bev;
	char bytes[5000] = { 0 };
	int fd[2];
	say("== refills");
	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	/* How much comes at a time is a matter of time. */
	bufferevent_setcb(bev, NULL, NULL, on_event, "b");
	bufferevent_enable(bev, EV_READ);
	turn();
	show(bufferevent_set_rate_limit(bev, c));
	must(write(fd[1], bytes, 30) == 30);
	run_for(300);
	state("read", bev);
	bufferevent_write(bev, bytes, 30);
	run_for(300);
	state("written", bev);
	bufferevent_decrement_read_limit(bev, 25);
	must(write(fd[1], bytes, 10) == 10);
	run_for(300);
	state("after", bev);
	shutdown(fd[1], SHUT_WR);
	run_for(100);
	bufferevent_free(bev);
	close(fd[1]);
	turn();
	ev_token_bucket_cfg_free(c);
}

static void others(void)
{
	struct timeval hour = { 3600, 0 };
	struct ev_token_bucket_cfg *c = ev_token_bucket_cfg_new(10, 10, 10, 10, &hour);
	struct bufferevent *p[2], *f;
	struct bufferevent_rate_limit_group *g = bufferevent_rate_limit_group_new(base, c);
	say("== pairs and filters");
	must(bufferevent_pair_new(base, 0, p) == 0);
	f = bufferevent_filter_new(p[1], NULL, NULL, 0, NULL, NULL);
	bufferevent_setcb(p[0], on_read, on_write, on_event, "a");
	bufferevent_setcb(f, on_read, on_write, on_event, "f");
	show(bufferevent_set_rate_limit(p[0], c));
	show(bufferevent_set_rate_limit(f, c));
	show(bufferevent_add_to_rate_limit_group(p[0], g));
	state("a", p[0]);
	state("f", f);
	bufferevent_enable(p[0], EV_READ|EV_WRITE);
	bufferevent_enable(f, EV_READ|EV_WRITE);
	bufferevent_write(p[0], "0123456789abcdefghij", 20);
	bufferevent_write(f, "0123456789abcdefghij", 20);
	turn();
	state("a", p[0]);
	state("f", f);
	show(bufferevent_decrement_read_limit(p[0], 20));
	bufferevent_write(f, "0123456789abcdefghij", 20);
	turn();
	state("a", p[0]);
	show(bufferevent_decrement_read_limit(p[0], -20));
	turn();
	state("a", p[0]);
	bufferevent_free(f); bufferevent_free(p[0]); bufferevent_free(p[1]);
	turn();
	bufferevent_rate_limit_group_free(g);
	ev_token_bucket_cfg_free(c);
	turn();
}

int main(void)
{
	base = a_base();
	own();
	groups();
	refills();
	others();
	event_base_free(base);
	return 0;
}
