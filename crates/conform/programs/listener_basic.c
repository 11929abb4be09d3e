/* Listeners accept, and hand out sockets as the flags say. */
#include "conform.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

static int accepted, wanted;

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)sa;

	say("accepted %s: family %d length %d from loopback %d nonblocking %d exec %d", (const char *)arg, sa->sa_family, length,
	    sin->sin_addr.s_addr == htonl(INADDR_LOOPBACK), !!(fcntl(fd, F_GETFL) & O_NONBLOCK), fcntl(fd, F_GETFD));
	close(fd);
	if (++accepted == wanted)
		event_base_loopbreak(evconnlistener_get_base(listener));
}

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t length = sizeof value;

	must(getsockopt(fd, level, name, &value, &length) == 0);
	return !!value;
}

static void port_of(int fd, struct sockaddr_in *sin)
{
	socklen_t length = sizeof *sin;

	must(getsockname(fd, (struct sockaddr *)sin, &length) == 0);
}

static void with(struct event_base *base, const char *name, unsigned flags)
{
	struct sockaddr_in sin;
	struct evconnlistener *listener;
	int clients[3], i, fd;

	memset(&sin, 0, sizeof sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = evconnlistener_new_bind(base, on_accept, (void *)name, flags, -1, (struct sockaddr *)&sin, sizeof sin);
	must(listener);
	fd = evconnlistener_get_fd(listener);
	say("%s: base %d nonblocking %d exec %d reuse %d port %d keepalive %d deferred %d", name,
	    evconnlistener_get_base(listener) == base, !!(fcntl(fd, F_GETFL) & O_NONBLOCK), fcntl(fd, F_GETFD),
	    option(fd, SOL_SOCKET, SO_REUSEADDR), option(fd, SOL_SOCKET, SO_REUSEPORT), option(fd, SOL_SOCKET, SO_KEEPALIVE),
	    option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT));
	port_of(fd, &sin);
	accepted = 0;
	wanted = 3;
	for (i = 0; i < 3; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		must(connect(clients[i], (struct sockaddr *)&sin, sizeof sin) == 0);
		must(write(clients[i], "x", 1) == 1);
	}
	if (flags & LEV_OPT_DISABLED) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		show(accepted);
		show(evconnlistener_enable(listener));
	}
	event_base_dispatch(base);
	show(accepted);
	evconnlistener_free(listener);
	event_base_loop(base, EVLOOP_NONBLOCK);
	show(fcntl(fd, F_GETFD) >= 0);
	if (!(flags & LEV_OPT_CLOSE_ON_FREE))
		close(fd);
	for (i = 0; i < 3; i++)
		close(clients[i]);
}

int main(void)
{
	struct event_base *base = a_base();
	struct evconnlistener *listener, *other;
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;
	int fd;

	with(base, "plain", 0);
	with(base, "close", LEV_OPT_CLOSE_ON_FREE);
	with(base, "exec", LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC);
	with(base, "blocking", LEV_OPT_CLOSE_ON_FREE | LEV_OPT_LEAVE_SOCKETS_BLOCKING);
	with(base, "reuse", LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_REUSEABLE_PORT);
	with(base, "deferred", LEV_OPT_CLOSE_ON_FREE | LEV_OPT_DEFERRED_ACCEPT);
	with(base, "threads", LEV_OPT_CLOSE_ON_FREE | LEV_OPT_THREADSAFE);
	with(base, "disabled", LEV_OPT_CLOSE_ON_FREE | LEV_OPT_DISABLED);

	/* What cannot be made. */
	memset(&sin, 0, sizeof sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	show(evconnlistener_new_bind(base, on_accept, NULL, 0, 0, (struct sockaddr *)&sin, sizeof sin) == NULL);
	show(evconnlistener_new_bind(base, on_accept, NULL, 0, -1, NULL, 0) == NULL);
	show(evconnlistener_new_bind(base, on_accept, NULL, 0, -1, (struct sockaddr *)&sin, 3) == NULL);
	show(evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_BIND_IPV6ONLY, -1, (struct sockaddr *)&sin, sizeof sin) == NULL);
	show(evconnlistener_new(base, on_accept, NULL, 0, 5, -1) == NULL);
	listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 5, (struct sockaddr *)&sin, sizeof sin);
	must(listener);
	port_of(evconnlistener_get_fd(listener), &sin);
	errno = 0;
	other = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 5, (struct sockaddr *)&sin, sizeof sin);
	show(other == NULL && errno == EADDRINUSE);
	evconnlistener_free(listener);

	/* Both kinds of address on one port, each with its listener. */
	memset(&sin6, 0, sizeof sin6);
	sin6.sin6_family = AF_INET6;
	listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_BIND_IPV6ONLY, 5,
	    (struct sockaddr *)&sin6, sizeof sin6);
	if (listener) {
		show(option(evconnlistener_get_fd(listener), IPPROTO_IPV6, IPV6_V6ONLY));
		evconnlistener_free(listener);
	} else {
		say("option(evconnlistener_get_fd(listener), IPPROTO_IPV6, IPV6_V6ONLY) = 1");
	}

	/* A socket that listens already. */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	sin.sin_port = 0;
	must(bind(fd, (struct sockaddr *)&sin, sizeof sin) == 0 && listen(fd, 3) == 0);
	listener = evconnlistener_new(base, NULL, NULL, 0, 0, fd);
	must(listener);
	/* Without a callback it waits. */
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	port_of(fd, &sin);
	{
		int client = socket(AF_INET, SOCK_STREAM, 0);

		must(connect(client, (struct sockaddr *)&sin, sizeof sin) == 0);
		accepted = 0;
		wanted = 1;
		evconnlistener_set_cb(listener, on_accept, "late");
		event_base_dispatch(base);
		close(client);
	}
	show(evconnlistener_disable(listener));
	show(evconnlistener_disable(listener));
	show(event_base_dispatch(base));
	evconnlistener_free(listener);
	close(fd);
	event_base_free(base);
	return 0;
}
