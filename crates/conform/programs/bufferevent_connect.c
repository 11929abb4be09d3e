/* Connecting: over TCP and AF_UNIX, refused, without a name, before and after callbacks are deferred. */
#include "conform.h"
#include <netinet/in.h>
#include <sys/un.h>

static struct bufferevent *accepted;

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	struct event_base *base = evconnlistener_get_base(listener);

	accepted = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_write(accepted, "welcome", 7);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	char text[64];
	size_t length = bufferevent_read(bev, text, sizeof text);

	say("%s reads %.*s", (char *)arg, (int)length, text);
	event_base_loopexit(bufferevent_get_base(bev), NULL);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	say("%s has written, %zu left", (char *)arg, evbuffer_get_length(bufferevent_get_output(bev)));
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	int error = EVUTIL_SOCKET_ERROR();

	say("%s: event %x, enabled %s, dns %d, %s", (char *)arg, (unsigned)what, events_text(bufferevent_get_enabled(bev)),
	    bufferevent_socket_get_dns_error(bev),
	    what & BEV_EVENT_ERROR && !bufferevent_socket_get_dns_error(bev) ? evutil_socket_error_to_string(error) : "-");
	if (what & (BEV_EVENT_ERROR | BEV_EVENT_EOF))
		event_base_loopexit(bufferevent_get_base(bev), NULL);
}

static struct evconnlistener *a_listener(struct event_base *base, struct sockaddr *sa, socklen_t length)
{
	struct evconnlistener *listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 5, sa, (int)length);

	must(listener);
	must(getsockname(evconnlistener_get_fd(listener), sa, &length) == 0);
	return listener;
}

static void turn(struct event_base *base)
{
	int i;

	/* Not by a loopexit in a while, which would end the next dispatch where a callback's own came first. */
	for (i = 0; i < 30; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(1000);
	}
}

static void connect_to(struct event_base *base, struct sockaddr *sa, int length, int options, int early, const char *name)
{
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE | options);

	bufferevent_setcb(bev, on_read, on_write, on_event, (void *)name);
	bufferevent_enable(bev, EV_READ);
	if (early)
		bufferevent_write(bev, "early", 5);
	show(bufferevent_socket_connect(bev, sa, length));
	show(bufferevent_getfd(bev) >= 0);
	event_base_dispatch(base);
	turn(base);
	if (accepted) {
		show(evbuffer_get_length(bufferevent_get_input(accepted)));
		bufferevent_enable(accepted, EV_READ);
		turn(base);
		show(evbuffer_get_length(bufferevent_get_input(accepted)));
		bufferevent_free(accepted);
		accepted = NULL;
		event_base_dispatch(base);
	}
	bufferevent_free(bev);
	turn(base);
}

static void names(struct event_base *base, int port)
{
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);

	say("names");
	bufferevent_setcb(bev, on_read, NULL, on_event, "by name");
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_UNIX, "127.0.0.1", port));
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_INET, "127.0.0.1", 0));
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_INET, "127.0.0.1", 65536));
	show(bufferevent_socket_get_dns_error(bev));
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_INET6, "127.0.0.1", port));
	show(bufferevent_socket_get_dns_error(bev) != 0);
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_UNSPEC, "127.0.0.1", port));
	show(bufferevent_socket_get_dns_error(bev));
	event_base_dispatch(base);
	turn(base);
	bufferevent_free(bev);
	if (accepted)
		bufferevent_free(accepted);
	accepted = NULL;
	turn(base);
}

static void half(struct event_base *base, struct sockaddr *sa, socklen_t length)
{
	struct bufferevent *bev;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	say("connecting already");
	bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	show(bufferevent_socket_connect(bev, NULL, 0));
	bufferevent_free(bev);
	connect(fd, sa, length);
	bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(bev, on_read, on_write, on_event, "half");
	bufferevent_enable(bev, EV_READ);
	bufferevent_disable(bev, EV_WRITE);
	show(bufferevent_socket_connect(bev, NULL, 0));
	event_base_dispatch(base);
	bufferevent_free(bev);
	turn(base);
	if (accepted)
		bufferevent_free(accepted);
	accepted = NULL;
	turn(base);
}

int main(void)
{
	struct event_base *base = a_base();
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in6 nonsense = { .sin6_family = AF_INET6 };
	struct evconnlistener *listener;
	struct bufferevent *bev;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = a_listener(base, (struct sockaddr *)&in, sizeof in);
	say("over TCP");
	connect_to(base, (struct sockaddr *)&in, sizeof in, 0, 0, "tcp");
	connect_to(base, (struct sockaddr *)&in, sizeof in, 0, 1, "tcp, written early");
	connect_to(base, (struct sockaddr *)&in, sizeof in, BEV_OPT_DEFER_CALLBACKS, 1, "tcp, deferred");
	names(base, ntohs(in.sin_port));
	half(base, (struct sockaddr *)&in, sizeof in);
	evconnlistener_free(listener);
	say("refused");
	connect_to(base, (struct sockaddr *)&in, sizeof in, 0, 0, "refused");
	connect_to(base, (struct sockaddr *)&in, sizeof in, 0, 1, "refused, written early");
	connect_to(base, (struct sockaddr *)&in, sizeof in, BEV_OPT_DEFER_CALLBACKS, 0, "refused, deferred");
	say("failing at once");
	bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&nonsense, 3));
	show(bufferevent_getfd(bev));
	bufferevent_free(bev);

	say("over AF_UNIX");
	/* An abstract name, which nobody has to remove: longer than libevent's room for a peer's address. */
	memset(un.sun_path, 0, sizeof un.sun_path);
	snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "conform-%ld-%080d", (long)getpid(), 7);
	listener = a_listener(base, (struct sockaddr *)&un, sizeof un);
	connect_to(base, (struct sockaddr *)&un, sizeof un, 0, 0, "unix");
	connect_to(base, (struct sockaddr *)&un, sizeof un, BEV_OPT_DEFER_CALLBACKS, 1, "unix, deferred");
	evconnlistener_free(listener);
	connect_to(base, (struct sockaddr *)&un, sizeof un, 0, 0, "unix, refused");
	connect_to(base, (struct sockaddr *)&un, sizeof un, BEV_OPT_DEFER_CALLBACKS, 0, "unix, refused, deferred");
	event_base_free(base);
	return 0;
}
