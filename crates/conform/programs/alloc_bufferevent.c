/* Every allocation fails in turn: bufferevents. conform: alone=C-libevent-aborts methods=epoll seconds=60 */
#include "alloc.h"
#include <event2/bufferevent_struct.h>
#include <netinet/in.h>

static char large[60000];
static int got, events_told, connected, eof, failed;

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);

	got += evbuffer_get_length(input);
	evbuffer_drain(input, evbuffer_get_length(input));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	events_told++;
	connected += !!(what & BEV_EVENT_CONNECTED);
	eof += !!(what & BEV_EVENT_EOF);
	failed += !!(what & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT));
}

/* Runs until so much has come, or something has gone wrong; 0: it came. */
static int run_until(struct event_base *base, int bytes)
{
	int i;

	for (i = 0; i < 300 && got < bytes && !failed; i++) {
		if (event_base_loop(base, EVLOOP_NONBLOCK) < 0)
			break;
		if (i > 20)
			usleep(200);
	}
	return got >= bytes ? 0 : -1;
}

static void begin(void)
{
	got = events_told = connected = eof = failed = 0;
}

static int sockets_with(int options)
{
	struct event_base *base = event_base_new();
	struct bufferevent *one = NULL, *other = NULL;
	int fd[2], result = 0;

	a_pair(fd);
	begin();
	may(base);
	may(one = bufferevent_socket_new(base, fd[0], options));
	may(other = bufferevent_socket_new(base, fd[1], options));
	bufferevent_setcb(other, on_read, NULL, on_event, NULL);
	may(bufferevent_enable(other, EV_READ | EV_WRITE) == 0);
	may(bufferevent_write(one, large, sizeof large) == 0);
	may(run_until(base, sizeof large) == 0);
	right(got == sizeof large && events_told == 0);
out:
	if (one)
		bufferevent_free(one);
	if (other)
		bufferevent_free(other);
	if (base) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		event_base_free(base);
	}
	close(fd[0]);
	close(fd[1]);
	return result;
}

static int sockets(void)
{
	return sockets_with(0);
}

static int sockets_deferred(void)
{
	return sockets_with(BEV_OPT_DEFER_CALLBACKS);
}

static int sockets_threadsafe(void)
{
	static int on;

	if (!on++)
		must(evthread_use_pthreads() == 0);
	return sockets_with(BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS);
}

static int pairs(void)
{
	struct event_base *base = event_base_new();
	struct bufferevent *pair[2] = { NULL, NULL };
	int result = 0;

	begin();
	may(base);
	may(bufferevent_pair_new(base, 0, pair) == 0);
	bufferevent_setcb(pair[1], on_read, NULL, on_event, NULL);
	may(bufferevent_enable(pair[1], EV_READ) == 0);
	may(bufferevent_write(pair[0], large, 20000) == 0);
	may(run_until(base, 20000) == 0);
	right(got == 20000);
	may(bufferevent_flush(pair[0], EV_WRITE, BEV_FINISHED) >= 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
out:
	if (pair[0])
		bufferevent_free(pair[0]);
	if (pair[1])
		bufferevent_free(pair[1]);
	if (base) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		event_base_free(base);
	}
	return result;
}

static enum bufferevent_filter_result all(struct evbuffer *from, struct evbuffer *to, ev_ssize_t most, enum bufferevent_flush_mode mode, void *arg)
{
	return evbuffer_add_buffer(to, from) == 0 ? BEV_OK : BEV_ERROR;
}

static int filters(void)
{
	struct event_base *base = event_base_new();
	struct bufferevent *pair[2] = { NULL, NULL }, *filter = NULL;
	int result = 0;

	begin();
	may(base);
	may(bufferevent_pair_new(base, 0, pair) == 0);
	may(filter = bufferevent_filter_new(pair[1], all, all, BEV_OPT_CLOSE_ON_FREE, NULL, NULL));
	bufferevent_setcb(filter, on_read, NULL, on_event, NULL);
	may(bufferevent_enable(filter, EV_READ | EV_WRITE) == 0);
	may(bufferevent_write(pair[0], large, 10000) == 0);
	may(run_until(base, 10000) == 0);
	may(bufferevent_write(filter, large, 10000) == 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
out:
	if (filter)
		bufferevent_free(filter);
	else if (pair[1])
		bufferevent_free(pair[1]);
	if (pair[0])
		bufferevent_free(pair[0]);
	if (base) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		event_base_free(base);
	}
	return result;
}

static int limits(void)
{
	struct event_base *base = event_base_new();
	struct timeval tick = { 0, 1000 };
	struct ev_token_bucket_cfg *cfg = NULL;
	struct bufferevent_rate_limit_group *group = NULL;
	struct bufferevent *one = NULL, *other = NULL;
	int fd[2], result = 0;

	a_pair(fd);
	begin();
	may(base);
	may(cfg = ev_token_bucket_cfg_new(100000, 100000, 100000, 100000, &tick));
	may(one = bufferevent_socket_new(base, fd[0], 0));
	may(other = bufferevent_socket_new(base, fd[1], 0));
	may(bufferevent_set_rate_limit(one, cfg) == 0);
	may(group = bufferevent_rate_limit_group_new(base, cfg));
	may(bufferevent_add_to_rate_limit_group(other, group) == 0);
	bufferevent_setcb(other, on_read, NULL, on_event, NULL);
	may(bufferevent_enable(other, EV_READ) == 0);
	may(bufferevent_write(one, large, 30000) == 0);
	may(run_until(base, 30000) == 0);
	right(bufferevent_remove_from_rate_limit_group(other) == 0);
	right(bufferevent_set_rate_limit(one, NULL) == 0);
out:
	if (one)
		bufferevent_free(one);
	if (other)
		bufferevent_free(other);
	if (base)
		event_base_loop(base, EVLOOP_NONBLOCK);
	if (group)
		bufferevent_rate_limit_group_free(group);
	if (cfg)
		ev_token_bucket_cfg_free(cfg);
	if (base)
		event_base_free(base);
	close(fd[0]);
	close(fd[1]);
	return result;
}

static int timeouts(void)
{
	struct event_base *base = event_base_new();
	struct timeval tv = { 0, 1000 };
	struct bufferevent *bev = NULL;
	int fd[2], i, result = 0;

	a_pair(fd);
	begin();
	may(base);
	may(bev = bufferevent_socket_new(base, fd[0], 0));
	bufferevent_setcb(bev, on_read, NULL, on_event, NULL);
	bufferevent_setwatermark(bev, EV_READ, 10, 100);
	may(bufferevent_set_timeouts(bev, &tv, &tv) == 0);
	may(bufferevent_enable(bev, EV_READ) == 0);
	for (i = 0; i < 200 && !failed; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(100);
	}
	may(failed);
out:
	if (bev)
		bufferevent_free(bev);
	if (base) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		event_base_free(base);
	}
	close(fd[0]);
	close(fd[1]);
	return result;
}

static struct bufferevent *served;

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	served = bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
	if (!served) {
		close(fd);
		failed++;
		return;
	}
	bufferevent_setcb(served, on_read, NULL, on_event, NULL);
	if (bufferevent_enable(served, EV_READ) != 0)
		failed++;
}

static int connects_with(int by_name)
{
	struct event_base *base = event_base_new();
	struct evconnlistener *listener = NULL;
	struct bufferevent *bev = NULL;
	struct sockaddr_in sin;
	socklen_t length = sizeof sin;
	int i, result = 0;

	begin();
	served = NULL;
	may(base);
	memset(&sin, 0, sizeof sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	may(listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 4, (struct sockaddr *)&sin, sizeof sin));
	must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &length) == 0);
	may(bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE));
	bufferevent_setcb(bev, NULL, NULL, on_event, NULL);
	may(bufferevent_write(bev, large, 5000) == 0);
	if (by_name)
		may(bufferevent_socket_connect_hostname(bev, NULL, AF_INET, "127.0.0.1", ntohs(sin.sin_port)) == 0);
	else
		may(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin) == 0);
	may(run_until(base, 5000) == 0);
	right(connected == 1);
	bufferevent_free(bev);
	bev = NULL;
	for (i = 0; i < 100 && !eof && !failed; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(100);
	}
	may(eof == 1);
out:
	if (bev)
		bufferevent_free(bev);
	if (listener)
		evconnlistener_free(listener);
	if (served)
		bufferevent_free(served);
	if (base) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		event_base_free(base);
	}
	return result;
}

static int connects(void)
{
	return connects_with(0);
}

static int connects_by_name(void)
{
	return connects_with(1);
}

static int buffers(void)
{
	struct event_base *base = event_base_new();
	struct evbuffer *own = evbuffer_new();
	struct bufferevent *bev = NULL;
	char bytes[100];
	int fd[2], result = 0;

	a_pair(fd);
	begin();
	may(base && own);
	may(bev = bufferevent_socket_new(base, fd[0], 0));
	may(evbuffer_add(own, large, 9000) == 0);
	may(bufferevent_write_buffer(bev, own) == 0);
	right(evbuffer_get_length(own) == 0);
	may(evbuffer_add_printf(bufferevent_get_output(bev), "%s", "tail") == 4);
	may(bufferevent_priority_set(bev, 0) == 0);
	may(bufferevent_disable(bev, EV_WRITE) == 0);
	may(bufferevent_enable(bev, EV_READ | EV_WRITE) == 0);
	must(write(fd[1], "hello", 5) == 5);
	event_base_loop(base, EVLOOP_NONBLOCK);
	may(bufferevent_read(bev, bytes, sizeof bytes) == 5);
	may(bufferevent_read_buffer(bev, own) == 0);
out:
	if (bev)
		bufferevent_free(bev);
	if (own)
		evbuffer_free(own);
	if (base) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		event_base_free(base);
	}
	close(fd[0]);
	close(fd[1]);
	return result;
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "sockets", sockets }, { "sockets, deferred", sockets_deferred }, { "pairs", pairs }, { "filters", filters },
		{ "limits", limits }, { "timeouts", timeouts }, { "connects", connects }, { "connects by name", connects_by_name },
		{ "buffers", buffers }, { "sockets, threadsafe", sockets_threadsafe }, { NULL, NULL } };

	memset(large, 'x', sizeof large);
	return main_of(scenarios, argc, argv);
}
