/* Rate limits and groups: what is refused, what is left, who rests, and that the rate is kept. */
#include "conform.h"

static size_t received;

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);

	received += evbuffer_get_length(input);
	evbuffer_drain(input, evbuffer_get_length(input));
}

static void refusals(void)
{
	struct timeval tick = ms(100);

	show(ev_token_bucket_cfg_new(0, 10, 10, 10, NULL) == NULL);
	show(ev_token_bucket_cfg_new(10, 9, 10, 10, NULL) == NULL);
	show(ev_token_bucket_cfg_new(10, 10, 10, 9, NULL) == NULL);
	show(ev_token_bucket_cfg_new(10, 10, 0, 9, &tick) == NULL);
	show(ev_token_bucket_cfg_new((size_t)-1, (size_t)-1, 10, 10, &tick) == NULL);
	show(ev_token_bucket_cfg_new(10, (size_t)EV_SSIZE_MAX + 1, 10, 10, &tick) == NULL);
}

static void own(struct event_base *base)
{
	struct timeval hour = { 3600, 0 };
	struct ev_token_bucket_cfg *cfg = ev_token_bucket_cfg_new(100, 500, 200, 600, &hour);
	struct ev_token_bucket_cfg *less = ev_token_bucket_cfg_new(10, 50, 20, 60, &hour);
	struct bufferevent *bev;
	char bytes[1000] = { 0 };
	int fd[2], i;

	say("its own limit");
	a_pair(fd);
	must(cfg && less);
	bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, NULL, NULL, NULL);
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_set_rate_limit(bev, NULL));
	show(bufferevent_set_rate_limit(bev, cfg));
	show(bufferevent_get_token_bucket_cfg(bev) == cfg);
	show(bufferevent_get_read_limit(bev));
	show(bufferevent_get_write_limit(bev));
	show(bufferevent_get_max_to_read(bev));
	show(bufferevent_get_max_to_write(bev));
	must(write(fd[1], bytes, sizeof bytes) == sizeof bytes);
	bufferevent_write(bev, bytes, sizeof bytes);
	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(received);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	show(bufferevent_get_read_limit(bev));
	show(bufferevent_get_write_limit(bev));
	show(bufferevent_get_max_to_read(bev));
	show(bufferevent_decrement_read_limit(bev, -150));
	show(bufferevent_get_read_limit(bev));
	show(bufferevent_decrement_write_limit(bev, -10));
	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(received);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	show(bufferevent_decrement_read_limit(bev, -5000));
	show(bufferevent_get_read_limit(bev));
	show(bufferevent_decrement_read_limit(bev, 5100));
	show(bufferevent_get_read_limit(bev));
	show(bufferevent_set_rate_limit(bev, less));
	show(bufferevent_get_read_limit(bev));
	show(bufferevent_get_write_limit(bev));
	show(bufferevent_set_rate_limit(bev, NULL));
	show(bufferevent_get_read_limit(bev) == EV_SSIZE_MAX);
	show(bufferevent_get_token_bucket_cfg(bev) == NULL);
	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(received);
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	bufferevent_set_rate_limit(bev, less);
	bufferevent_free(bev);
	event_base_loop(base, EVLOOP_NONBLOCK);
	ev_token_bucket_cfg_free(cfg);
	ev_token_bucket_cfg_free(less);
	close(fd[1]);
}

static void shared(struct event_base *base)
{
	struct timeval hour = { 3600, 0 };
	struct ev_token_bucket_cfg *cfg = ev_token_bucket_cfg_new(900, 900, 1000, 1000, &hour);
	struct bufferevent_rate_limit_group *group = bufferevent_rate_limit_group_new(base, cfg);
	struct bufferevent_rate_limit_group *second = bufferevent_rate_limit_group_new(base, cfg);
	struct bufferevent *bev[3];
	ev_uint64_t read_total = 1, written_total = 1;
	char bytes[1000] = { 0 };
	int fd[3][2], i;

	say("a group");
	must(group && second);
	received = 0;
	for (i = 0; i < 3; i++) {
		a_pair(fd[i]);
		bev[i] = bufferevent_socket_new(base, fd[i][0], BEV_OPT_CLOSE_ON_FREE);
		bufferevent_setcb(bev[i], on_read, NULL, NULL, NULL);
		bufferevent_enable(bev[i], EV_READ);
		show(bufferevent_add_to_rate_limit_group(bev[i], group));
		show(bufferevent_add_to_rate_limit_group(bev[i], group));
	}
	show(bufferevent_rate_limit_group_get_read_limit(group));
	show(bufferevent_rate_limit_group_get_write_limit(group));
	show(bufferevent_get_max_to_read(bev[0]));
	show(bufferevent_rate_limit_group_set_min_share(group, (size_t)-1));
	show(bufferevent_rate_limit_group_set_min_share(group, 500));
	show(bufferevent_get_max_to_write(bev[0]));
	show(bufferevent_rate_limit_group_set_min_share(group, 64));
	show(bufferevent_get_read_limit(bev[0]) == EV_SSIZE_MAX);
	for (i = 0; i < 3; i++)
		must(write(fd[i][1], bytes, sizeof bytes) == sizeof bytes);
	for (i = 0; i < 100; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(received >= 900 && received < 900 + 64);
	show(bufferevent_rate_limit_group_get_read_limit(group) <= 0);
	bufferevent_rate_limit_group_get_totals(group, &read_total, &written_total);
	show(read_total == received);
	show(written_total);
	bufferevent_rate_limit_group_get_totals(group, NULL, NULL);
	bufferevent_rate_limit_group_reset_totals(group);
	bufferevent_rate_limit_group_get_totals(group, &read_total, NULL);
	show(read_total);
	show(bufferevent_remove_from_rate_limit_group(bev[0]));
	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(received > 900 + 64);
	show(bufferevent_rate_limit_group_decrement_read(group, -5000));
	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(received);
	show(bufferevent_rate_limit_group_decrement_write(group, 1000));
	show(bufferevent_rate_limit_group_get_write_limit(group));
	bufferevent_write(bev[1], bytes, 10);
	for (i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(evbuffer_get_length(bufferevent_get_output(bev[1])));
	show(bufferevent_add_to_rate_limit_group(bev[1], second));
	for (i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	show(evbuffer_get_length(bufferevent_get_output(bev[1])));
	show(bufferevent_rate_limit_group_set_cfg(group, NULL));
	show(bufferevent_rate_limit_group_set_cfg(group, cfg));
	for (i = 0; i < 3; i++) {
		bufferevent_free(bev[i]);
		close(fd[i][1]);
	}
	for (i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	bufferevent_rate_limit_group_free(group);
	bufferevent_rate_limit_group_free(second);
	ev_token_bucket_cfg_free(cfg);
	event_base_loop(base, EVLOOP_NONBLOCK);
}

static void keep_full(evutil_socket_t fd, short what, void *arg)
{
	static const char bytes[4096];

	while (write(fd, bytes, sizeof bytes) > 0)
		;
}

static void rates(struct event_base *base, int in_group)
{
	struct timeval tick = ms(50), second = { 1, 25000 };
	struct ev_token_bucket_cfg *cfg = ev_token_bucket_cfg_new(5000, 5000, 5000, 5000, &tick);
	struct bufferevent_rate_limit_group *group = bufferevent_rate_limit_group_new(base, cfg);
	struct bufferevent *bev[4];
	struct event *source[4];
	int fd[4][2], i;

	received = 0;
	for (i = 0; i < 4; i++) {
		a_pair(fd[i]);
		bev[i] = bufferevent_socket_new(base, fd[i][0], BEV_OPT_CLOSE_ON_FREE);
		bufferevent_setcb(bev[i], on_read, NULL, NULL, NULL);
		if (in_group)
			bufferevent_add_to_rate_limit_group(bev[i], group);
		else
			bufferevent_set_rate_limit(bev[i], cfg);
		bufferevent_enable(bev[i], EV_READ);
		source[i] = event_new(base, fd[i][1], EV_WRITE | EV_PERSIST, keep_full, NULL);
		event_add(source[i], NULL);
	}
	event_base_loopexit(base, &second);
	event_base_dispatch(base);
	if (!in_group)
		received /= 4;
	/* 100,000 a second; a tick more or less at either end, and what a loaded machine misses. */
	say("%s %s", in_group ? "a group's rate" : "each one's rate",
	    received > 60000 && received < 120000 ? "holds" : "does not hold");
	if (!(received > 60000 && received < 120000))
		say("%zu", received);
	for (i = 0; i < 4; i++) {
		bufferevent_free(bev[i]);
		event_free(source[i]);
		close(fd[i][1]);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	bufferevent_rate_limit_group_free(group);
	event_base_loop(base, EVLOOP_NONBLOCK);
	ev_token_bucket_cfg_free(cfg);
}

int main(void)
{
	struct event_base *base = a_base();

	refusals();
	own(base);
	shared(base);
	rates(base, 0);
	rates(base, 1);
	event_base_free(base);
	return 0;
}
