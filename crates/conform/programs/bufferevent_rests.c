/* What random_bufferevents found, each alone: what begins again that had not rested, what the loop waits for, who is freed first. */
#include "conform.h"

static struct timeval day = { 86400, 0 };

static void on_write(struct bufferevent *bev, void *arg)
{
	say("%s has written", (char *)arg);
}

static void is_freed(void *arg)
{
	say("%s is freed", (char *)arg);
}

static void turn(struct event_base *base)
{
	int i;

	for (i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* To join a group, or to take away limits that there are not, is no reason for a write callback. */
static void groups(struct event_base *base)
{
	struct ev_token_bucket_cfg *cfg = ev_token_bucket_cfg_new(100, 500, 100, 500, &day);
	struct bufferevent_rate_limit_group *group = bufferevent_rate_limit_group_new(base, cfg);
	struct bufferevent *bev;
	int fd[2];

	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, NULL, on_write, NULL, "the socket");
	bufferevent_set_max_single_read(bev, 2000);
	say("no limits");
	show(bufferevent_set_rate_limit(bev, NULL));
	turn(base);
	say("into the group");
	show(bufferevent_add_to_rate_limit_group(bev, group));
	turn(base);
	say("and again");
	show(bufferevent_add_to_rate_limit_group(bev, group));
	turn(base);
	say("out of it");
	show(bufferevent_remove_from_rate_limit_group(bev));
	turn(base);
	say("no limits, after a group");
	show(bufferevent_set_rate_limit(bev, NULL));
	turn(base);
	bufferevent_free(bev);
	turn(base);
	bufferevent_rate_limit_group_free(group);
	ev_token_bucket_cfg_free(cfg);
	close(fd[1]);
}

/* A limit that is taken away is not waited for. */
static void waiting(void)
{
	struct event_base *base = a_base();
	struct ev_token_bucket_cfg *cfg = ev_token_bucket_cfg_new(10, 10, 10, 10, &day);
	struct bufferevent *bev;
	int fd[2];

	a_pair(fd);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	show(bufferevent_set_rate_limit(bev, cfg));
	bufferevent_write(bev, "more than ten bytes", 19);
	turn(base);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	show(bufferevent_set_rate_limit(bev, NULL));
	show(event_base_dispatch(base));
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	bufferevent_free(bev);
	turn(base);
	event_base_free(base);
	ev_token_bucket_cfg_free(cfg);
	close(fd[1]);
}

/* What is freed waits its turn behind callbacks that were due already. */
static void freed(struct event_base *base)
{
	struct bufferevent *pair[2], *filter[2];

	must(bufferevent_pair_new(base, 0, pair) == 0);
	filter[0] = bufferevent_filter_new(pair[0], NULL, NULL, BEV_OPT_DEFER_CALLBACKS, is_freed, "the first");
	filter[1] = bufferevent_filter_new(pair[1], NULL, NULL, BEV_OPT_DEFER_CALLBACKS, is_freed, "the second");
	bufferevent_setcb(filter[1], NULL, on_write, NULL, "the second");
	bufferevent_setcb(filter[0], NULL, on_write, NULL, "the first");
	bufferevent_trigger(filter[0], EV_WRITE, 0);
	bufferevent_free(filter[0]);
	bufferevent_trigger(filter[1], EV_WRITE, 0);
	bufferevent_free(filter[1]);
	bufferevent_free(pair[0]);
	bufferevent_free(pair[1]);
	turn(base);
}

/* The same with another one in between. */
static void freed_behind(struct event_base *base)
{
	struct bufferevent *pair[2], *filter;

	must(bufferevent_pair_new(base, 0, pair) == 0);
	filter = bufferevent_filter_new(pair[0], NULL, NULL, 0, is_freed, "the filter");
	bufferevent_setcb(pair[1], NULL, on_write, NULL, "the other end");
	bufferevent_trigger(pair[1], EV_WRITE, 0);
	bufferevent_free(filter);
	turn(base);
	bufferevent_free(pair[0]);
	bufferevent_free(pair[1]);
	turn(base);
}

#define MANY 80
static struct bufferevent *many[MANY][2];
static struct event *between;
static int told;

static void in_between(evutil_socket_t fd, short what, void *arg)
{
	say("%d were told before", told);
}

static void on_many(struct bufferevent *bev, void *arg)
{
	struct bufferevent **own = arg;

	told++;
	if (own != many[39])
		return;
	for (own = many[40]; own < many[MANY]; own += 2)
		bufferevent_trigger(*own, EV_WRITE, 0);
	event_active(between, EV_READ, 1);
}

static void trigger_many(evutil_socket_t fd, short what, void *arg)
{
	int i;

	for (i = 0; i < 40; i++)
		bufferevent_trigger(many[i][0], EV_WRITE, 0);
}

/* So many deferred callbacks run in a pass: those that were put off are among them. */
static void put_off(struct event_base *base)
{
	struct timeval now = { 0, 0 };
	int i;

	for (i = 0; i < MANY; i++) {
		must(bufferevent_pair_new(base, 0, many[i]) == 0);
		bufferevent_setcb(many[i][0], NULL, on_many, NULL, many[i]);
	}
	between = event_new(base, -1, 0, in_between, NULL);
	event_base_once(base, -1, EV_TIMEOUT, trigger_many, NULL, &now);
	turn(base);
	say("%d in all", told);
	event_free(between);
	for (i = 0; i < MANY; i++) {
		bufferevent_free(many[i][0]);
		bufferevent_free(many[i][1]);
	}
	turn(base);
}

int main(void)
{
	struct event_base *base = a_base();

	must(event_base_priority_init(base, 3) == 0);
	groups(base);
	waiting();
	freed(base);
	freed_behind(base);
	put_off(base);
	event_base_free(base);
	return 0;
}
