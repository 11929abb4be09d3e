/* Listeners at their edges: callbacks that change, free or take away the callback while more wait; enabled without one; what is no
 * listening socket; every combination of flags. */
#include "conform.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

static struct event_base *base;
static struct sockaddr_in address;
static int accepted, most;

static void turn(void)
{
	for (int i = 0; i < 6; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *name)
{
	say("%s accepts", (char *)name);
	close(fd);
	if (++accepted == most)
		show(evconnlistener_disable(listener));
}

static void on_accept_frees(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *name)
{
	say("%s accepts and is freed", (char *)name);
	evconnlistener_free(listener);
	close(fd);
}

static void on_accept_changes(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *name)
{
	say("%s accepts and changes", (char *)name);
	close(fd);
	evconnlistener_set_cb(listener, on_accept, "changed");
}

static void on_accept_none(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *name)
{
	say("%s accepts and has none", (char *)name);
	close(fd);
	evconnlistener_set_cb(listener, NULL, "none");
}

static void on_error(struct evconnlistener *listener, void *name)
{
	int error = errno;

	say("error of %s: %s", (char *)name, strerror(error));
	evconnlistener_disable(listener);
}

static void forget(struct sockaddr_in *sin)
{
	memset(sin, 0, sizeof *sin);
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static struct evconnlistener *a_listener(evconnlistener_cb callback, const char *name, unsigned flags)
{
	socklen_t length = sizeof address;
	struct evconnlistener *listener;

	forget(&address);
	listener = evconnlistener_new_bind(base, callback, (void *)name, flags | LEV_OPT_CLOSE_ON_FREE, -1,
	    (struct sockaddr *)&address, sizeof address);
	must(listener);
	must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&address, &length) == 0);
	return listener;
}

static int a_client(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	must(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	return fd;
}

static void fate(int fd)
{
	char byte;
	ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);

	say("  %s", got == 0 ? "ended" : got > 0 ? "bytes" : errno == EAGAIN ? "open" : strerror(errno));
}

static void callbacks(void)
{
	static const evconnlistener_cb all[] = { on_accept, on_accept_frees, on_accept_changes, on_accept_none };
	struct evconnlistener *listener;
	int client[4];

	for (int which = 0; which < 4; which++) {
		say("callback %d", which);
		listener = a_listener(all[which], "one", 0);
		for (int i = 0; i < 3; i++)
			client[i] = a_client();
		accepted = 0;
		most = which ? -1 : 2;
		turn();
		for (int i = 0; i < 3; i++)
			fate(client[i]);
		if (which == 0) {
			show(evconnlistener_enable(listener));
			turn();
			fate(client[2]);
		}
		if (which != 1)
			evconnlistener_free(listener);
		for (int i = 0; i < 3; i++)
			close(client[i]);
		turn();
	}
}

static void without(void)
{
	struct evconnlistener *listener = a_listener(NULL, "none", LEV_OPT_DISABLED);
	int client = a_client();

	say("without a callback, not enabled");
	most = -1;
	turn();
	fate(client);
	evconnlistener_set_cb(listener, on_accept, "disabled");
	turn();
	fate(client);
	show(evconnlistener_enable(listener));
	show(evconnlistener_enable(listener));
	turn();
	fate(client);
	close(client);
	evconnlistener_set_cb(listener, NULL, NULL);
	client = a_client();
	turn();
	fate(client);
	close(client);
	evconnlistener_free(listener);

	say("without a callback, enabled");
	listener = a_listener(NULL, "none", 0);
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	client = a_client();
	turn();
	fate(client);
	evconnlistener_set_cb(listener, NULL, NULL);
	show(evconnlistener_enable(listener));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	evconnlistener_set_cb(listener, on_accept, "late");
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	turn();
	fate(client);
	show(evconnlistener_disable(listener));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	evconnlistener_free(listener);
	close(client);
}

static void no_listener(int fd, const char *name)
{
	struct evconnlistener *listener = evconnlistener_new(base, on_accept, (void *)name, LEV_OPT_CLOSE_ON_FREE, 0, fd);

	must(listener);
	say("%s", name);
	evconnlistener_set_error_cb(listener, on_error);
	turn();
	evconnlistener_free(listener);
	show(fcntl(fd, F_GETFD));
}

static void refusals(void)
{
	int both[2], datagram = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in sin;
	socklen_t length = sizeof sin;

	say("what does not listen");
	must(pipe(both) == 0 && fcntl(both[0], F_SETFL, O_NONBLOCK) == 0);
	show(evconnlistener_new(base, on_accept, NULL, 0, -1, datagram) == NULL);
	show(evconnlistener_new(base, on_accept, NULL, 0, 5, both[0]) == NULL);
	show(fcntl(both[0], F_GETFD));
	write_byte(both[1], 'x');
	no_listener(both[0], "a pipe");
	close(both[1]);
	forget(&sin);
	must(bind(datagram, (struct sockaddr *)&sin, sizeof sin) == 0);
	must(getsockname(datagram, (struct sockaddr *)&sin, &length) == 0);
	must(sendto(datagram, "x", 1, 0, (struct sockaddr *)&sin, sizeof sin) == 1);
	no_listener(datagram, "a datagram socket");
	no_listener(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "not listening");
	no_listener(-1, "none");
}

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t length = sizeof value;

	must(getsockopt(fd, level, name, &value, &length) == 0);
	return value;
}

static void options(void)
{
	struct evconnlistener *listener;
	int fd;

	say("all flags");
	for (unsigned flags = 0; flags < LEV_OPT_BIND_IPV6ONLY; flags++) {
		listener = a_listener(on_accept, "flags", flags);
		fd = evconnlistener_get_fd(listener);
		say("%x: nonblocking %d exec %d reuse %d port %d keepalive %d deferred %d, added %d", flags,
		    !!(fcntl(fd, F_GETFL) & O_NONBLOCK), fcntl(fd, F_GETFD), option(fd, SOL_SOCKET, SO_REUSEADDR),
		    option(fd, SOL_SOCKET, SO_REUSEPORT), option(fd, SOL_SOCKET, SO_KEEPALIVE),
		    option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
		evconnlistener_free(listener);
	}
}

int main(void)
{
	base = a_base();
	callbacks();
	without();
	refusals();
	options();
	event_base_free(base);
	return 0;
}
