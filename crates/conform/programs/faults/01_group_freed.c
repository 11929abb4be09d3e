/* A rate-limit group that is freed while it has members, who then go as fast as they can; and members and groups that go
 * in every order. C libevent aborts. conform: alone=it-aborts-for-a-group-with-members */
#include "conform.h"

static size_t received;

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);

	received += evbuffer_get_length(input);
	evbuffer_drain(input, evbuffer_get_length(input));
}

int main(void)
{
	struct event_base *base = a_base();
	struct timeval hour = { 3600, 0 };
	struct ev_token_bucket_cfg *cfg = ev_token_bucket_cfg_new(10, 10, 10, 10, &hour);
	char bytes[1000] = { 0 };
	int order, i, fd[2][2];

	for (order = 0; order < 6; order++) {
		struct bufferevent_rate_limit_group *group = bufferevent_rate_limit_group_new(base, cfg);
		struct bufferevent *bev[2];

		received = 0;
		for (i = 0; i < 2; i++) {
			a_pair(fd[i]);
			bev[i] = bufferevent_socket_new(base, fd[i][0], BEV_OPT_CLOSE_ON_FREE);
			bufferevent_setcb(bev[i], on_read, NULL, NULL, NULL);
			bufferevent_enable(bev[i], EV_READ);
			must(bufferevent_add_to_rate_limit_group(bev[i], group) == 0);
			must(write(fd[i][1], bytes, sizeof bytes) == sizeof bytes);
		}
		for (i = 0; i < 5; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		must(received >= 10 && received <= 20);
		if (order == 0)
			bufferevent_free(bev[0]);
		if (order == 1)
			must(bufferevent_add_to_rate_limit_group(bev[0], NULL) == 0);
		if (order < 5)
			bufferevent_rate_limit_group_free(group);
		if (order == 2)
			bufferevent_free(bev[1]);
		if (order == 3)
			event_base_loop(base, EVLOOP_NONBLOCK);
		for (i = 0; i < 5; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		if (order == 1 || order == 3 || order == 4)
			must(received == 2000);
		if (order != 0)
			bufferevent_free(bev[0]);
		if (order != 2)
			bufferevent_free(bev[1]);
		if (order == 5)
			bufferevent_rate_limit_group_free(group);
		for (i = 0; i < 3; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
		close(fd[0][1]);
		close(fd[1][1]);
	}
	event_base_free(base);
	ev_token_bucket_cfg_free(cfg);
	say("ok");
	return 0;
}
