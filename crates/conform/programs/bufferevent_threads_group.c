/* A rate-limit group whose members are on two bases in two threads, while a third changes, leaves and frees; and filters
 * that are written to from two sides. conform: seconds=40 alone=libevent-s-filters-and-what-is-below-them-take-two-locks-in-either-order */
#include "conform.h"
#include <pthread.h>

#define EACH 8
#define BYTES 20000

static struct event_base *base[2];
static struct bufferevent *reader[2][EACH], *writer[2][EACH];
static struct bufferevent_rate_limit_group *group;
static size_t received[2];
static pthread_mutex_t sides = PTHREAD_MUTEX_INITIALIZER;
static int done;

/* The loops end together: the group's clock is on one of them. */
static void has_all(void)
{
	pthread_mutex_lock(&sides);
	if (++done == 2) {
		done = 0;
		event_base_loopbreak(base[0]);
		event_base_loopbreak(base[1]);
	}
	pthread_mutex_unlock(&sides);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	size_t *count = arg;

	evbuffer_lock(input);
	*count += evbuffer_get_length(input);
	evbuffer_drain(input, evbuffer_get_length(input));
	evbuffer_unlock(input);
	if (*count == (size_t)EACH * BYTES)
		has_all();
}

static void *run(void *arg)
{
	event_base_loop(arg, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

static void end_all(void)
{
	int i, j, k;

	for (i = 0; i < 2; i++)
		for (j = 0; j < EACH; j++) {
			bufferevent_free(reader[i][j]);
			bufferevent_free(writer[i][j]);
		}
	for (i = 0; i < 2; i++)
		for (k = 0; k < 5; k++)
			event_base_loop(base[i], EVLOOP_NONBLOCK);
}

static void in_a_group(void)
{
	struct timeval tick = ms(5);
	struct ev_token_bucket_cfg *cfg = ev_token_bucket_cfg_new(4000, 8000, 4000, 8000, &tick);
	struct ev_token_bucket_cfg *more = ev_token_bucket_cfg_new(8000, 16000, 8000, 16000, &tick);
	pthread_t threads[2];
	static char bytes[BYTES];
	ev_uint64_t in, out;
	int i, j, fd[2];

	group = bufferevent_rate_limit_group_new(base[0], cfg);
	must(group);
	for (i = 0; i < 2; i++)
		for (j = 0; j < EACH; j++) {
			a_pair(fd);
			reader[i][j] = bufferevent_socket_new(base[i], fd[0], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
			writer[i][j] = bufferevent_socket_new(base[i], fd[1], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
			must(reader[i][j] && writer[i][j]);
			bufferevent_setcb(reader[i][j], on_read, NULL, NULL, &received[i]);
			must(bufferevent_add_to_rate_limit_group(reader[i][j], group) == 0);
			if (j % 2)
				must(bufferevent_add_to_rate_limit_group(writer[i][j], group) == 0);
			bufferevent_enable(reader[i][j], EV_READ);
			bufferevent_write(writer[i][j], bytes, BYTES);
		}
	for (i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, run, base[i]) == 0);
	for (i = 0; i < 50; i++) {
		bufferevent_rate_limit_group_set_cfg(group, i % 2 ? cfg : more);
		bufferevent_rate_limit_group_set_min_share(group, (size_t)(64 + i));
		bufferevent_rate_limit_group_decrement_read(group, i % 2 ? 100 : -100);
		bufferevent_rate_limit_group_get_totals(group, &in, &out);
		bufferevent_get_max_to_read(reader[i % 2][i % EACH]);
		bufferevent_remove_from_rate_limit_group(reader[i % 2][i % EACH]);
		bufferevent_set_rate_limit(reader[i % 2][i % EACH], i % 3 ? cfg : NULL);
		bufferevent_add_to_rate_limit_group(reader[i % 2][i % EACH], group);
		usleep(1000);
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("a group: %zu and %zu", received[0], received[1]);
	end_all();
	bufferevent_rate_limit_group_free(group);
	event_base_loop(base[0], EVLOOP_NONBLOCK);
	ev_token_bucket_cfg_free(cfg);
	ev_token_bucket_cfg_free(more);
}

static struct bufferevent *top[2];

static void *write_some(void *arg)
{
	struct bufferevent *bev = arg;
	int i;

	for (i = 0; i < 1000; i++)
		bufferevent_write(bev, "0123456789", 10);
	return NULL;
}

static void on_filtered(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	size_t *count = arg;

	evbuffer_lock(input);
	*count += evbuffer_get_length(input);
	evbuffer_drain(input, evbuffer_get_length(input));
	evbuffer_unlock(input);
	if (*count == 20000)
		has_all();
}

static void through_filters(void)
{
	struct bufferevent *low[2];
	pthread_t threads[5];
	int i, k, fd[2];

	a_pair(fd);
	for (i = 0; i < 2; i++) {
		received[i] = 0;
		low[i] = bufferevent_socket_new(base[i], fd[i], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
		top[i] = bufferevent_filter_new(low[i], NULL, NULL, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE, NULL, NULL);
		must(low[i] && top[i]);
		bufferevent_setcb(top[i], on_filtered, NULL, NULL, &received[i]);
		bufferevent_enable(top[i], EV_READ | EV_WRITE);
	}
	for (i = 0; i < 2; i++)
		must(pthread_create(&threads[i], NULL, run, base[i]) == 0);
	/* Two threads write to each end; what one writes at the top the loop writes from below. */
	for (i = 0; i < 2; i++) {
		must(pthread_create(&threads[2], NULL, write_some, top[i]) == 0);
		must(pthread_create(&threads[3], NULL, write_some, top[i]) == 0);
		pthread_join(threads[2], NULL);
		pthread_join(threads[3], NULL);
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("filters: %zu and %zu", received[0], received[1]);
	for (i = 0; i < 2; i++)
		bufferevent_free(top[i]);
	for (i = 0; i < 2; i++)
		for (k = 0; k < 5; k++)
			event_base_loop(base[i], EVLOOP_NONBLOCK);
}

int main(void)
{
	must(evthread_use_pthreads() == 0);
	base[0] = a_base();
	base[1] = a_base();
	in_a_group();
	through_filters();
	event_base_free(base[0]);
	event_base_free(base[1]);
	say("ok");
	return 0;
}
