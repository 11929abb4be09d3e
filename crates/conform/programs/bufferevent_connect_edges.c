/* Connecting at its edges: nobody answers, connected already, moved to another descriptor meanwhile, impossible addresses, refused
 * and used afterwards, names that are none. */
#include "conform.h"
#include <event2/bufferevent_struct.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/un.h>
#include "edges.h"

static int listen_tcp(struct sockaddr_in *sin, int backlog)
{
	socklen_t len = sizeof *sin;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memset(sin, 0, sizeof *sin);
	sin->sin_family = AF_INET;
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(fd, (struct sockaddr *)sin, sizeof *sin) == 0 && listen(fd, backlog) == 0);
	must(getsockname(fd, (struct sockaddr *)sin, &len) == 0);
	return fd;
}

static struct bufferevent *a_bev(int fd, const char *name, int options)
{
	struct bufferevent *bev = bufferevent_socket_new(base, fd, options);

	must(bev);
	bufferevent_setcb(bev, on_read, on_write, on_event, (void *)name);
	return bev;
}

static void full_backlog(void)
{
	struct sockaddr_in sin;
	int fd = listen_tcp(&sin, 0), c[6];
	struct timeval soon = ms(30);
	struct bufferevent *bev;

	say("== nobody answers");
	for (int i = 0; i < 6; i++) {
		c[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(c[i], (struct sockaddr *)&sin, sizeof sin);
	}
	run_for(20);
	bev = a_bev(-1, "late", BEV_OPT_CLOSE_ON_FREE);
	bufferevent_set_timeouts(bev, NULL, &soon);
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin));
	/* Told again and again: connecting goes on. */
	expected = 3;
	event_base_dispatch(base);
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_pending(&bev->ev_read, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	bufferevent_free(bev);
	turn();
	bev = a_bev(-1, "late reading", BEV_OPT_CLOSE_ON_FREE);
	bufferevent_set_timeouts(bev, &soon, NULL);
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin));
	run_for(105);
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_pending(&bev->ev_read, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	bufferevent_disable(bev, EV_READ | EV_WRITE);
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(bufferevent_setfd(bev, -1));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(bufferevent_disable(bev, EV_READ | EV_WRITE));
	/* While it connects another is begun. */
	bufferevent_free(bev);
	turn();
	for (int i = 0; i < 6; i++)
		close(c[i]);
	close(fd);
}

static void twice(void)
{
	struct sockaddr_in sin, sin2;
	int l = listen_tcp(&sin, 5), l2 = listen_tcp(&sin2, 5), fd[2];
	struct bufferevent *bev;

	say("== connecting what is connected");
	bev = a_bev(-1, "one", BEV_OPT_CLOSE_ON_FREE);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin));
	turn();
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin));
	show(errno == EISCONN);
	turn();
	show(bufferevent_socket_connect(bev, NULL, 0));
	turn();
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, 3));
	show(errno);
	a_pair(fd);
	show(bufferevent_setfd(bev, fd[0]));
	turn();
	bufferevent_free(bev);
	turn();
	close(fd[1]);
	bev = a_bev(-1, "two", BEV_OPT_CLOSE_ON_FREE);
	bufferevent_disable(bev, EV_WRITE);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin2, sizeof sin2));
	show(bufferevent_write(bev, "abc", 3));
	turn();
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(bufferevent_enable(bev, EV_WRITE));
	turn();
	bufferevent_free(bev);
	turn();
	/* moved to another descriptor while connecting */
	bev = a_bev(-1, "three", BEV_OPT_CLOSE_ON_FREE);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin2, sizeof sin2));
	close(bufferevent_getfd(bev));
	a_pair(fd);
	show(bufferevent_setfd(bev, fd[0]));
	turn();
	bufferevent_free(bev);
	turn();
	close(fd[1]);
	close(l);
	close(l2);
}

static void badly(void)
{
	struct sockaddr_in sin;
	struct sockaddr_un sun;
	struct sockaddr strange = { .sa_family = 250 };
	struct sockaddr_storage none;
	int fd;
	struct bufferevent *bev = a_bev(-1, "bad", BEV_OPT_CLOSE_ON_FREE), *pair[2];

	say("== cannot be connected");
	memset(&none, 0, sizeof none);
	show(bufferevent_socket_connect(bev, &strange, sizeof strange));
	show(bufferevent_getfd(bev));
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&none, 0));
	memset(&sun, 0, sizeof sun);
	sun.sun_family = AF_UNIX;
	strcpy(sun.sun_path, "/nonexistent/duolu");
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sun, sizeof sun));
	show(errno == ENOENT);
	show(bufferevent_getfd(bev));
	turn();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	bufferevent_setfd(bev, fd);
	turn();
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sun, sizeof sun));
	show(bufferevent_getfd(bev) == fd);
	show(fcntl(fd, F_GETFD) >= 0);
	turn();
	bufferevent_free(bev);
	turn();
	/* refused later, and then used */
	fd = listen_tcp(&sin, 1);
	close(fd);
	bev = a_bev(-1, "refused", BEV_OPT_CLOSE_ON_FREE);
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin));
	turn();
	say("%s", events_text(bufferevent_get_enabled(bev)));
	show(event_pending(&bev->ev_write, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_pending(&bev->ev_read, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	bufferevent_write(bev, "x", 1);
	turn();
	bufferevent_enable(bev, EV_READ);
	turn();
	bufferevent_free(bev);
	turn();
	bev = a_bev(-1, "refused deferred", BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	bufferevent_enable(bev, EV_READ);
	bufferevent_write(bev, "early", 5);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin));
	turn();
	show(evbuffer_get_length(bufferevent_get_output(bev)));
	bufferevent_free(bev);
	turn();
	fd = socket(AF_INET, SOCK_STREAM, 0);
	bev = a_bev(fd, "refused blocking", BEV_OPT_CLOSE_ON_FREE);
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_socket_connect(bev, (struct sockaddr *)&sin, sizeof sin));
	say("%s", events_text(bufferevent_get_enabled(bev)));
	turn();
	bufferevent_free(bev);
	turn();
	must(bufferevent_pair_new(base, 0, pair) == 0);
	show(bufferevent_socket_connect_hostname(pair[0], NULL, AF_INET, "127.0.0.1", 0));
	show(bufferevent_socket_get_dns_error(pair[0]));
	bufferevent_free(pair[0]);
	bufferevent_free(pair[1]);
	turn();
}

static void by_name(void)
{
	struct sockaddr_in sin;
	int l = listen_tcp(&sin, 5);
	struct bufferevent *bev = a_bev(-1, "name", BEV_OPT_CLOSE_ON_FREE);

	say("== names");
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_INET, NULL, ntohs(sin.sin_port)));
	show(bufferevent_socket_get_dns_error(bev));
	turn();
	bufferevent_free(bev);
	turn();
	bev = a_bev(-1, "bad name", BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	bufferevent_enable(bev, EV_READ);
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_INET6, "127.0.0.1", ntohs(sin.sin_port)));
	show(bufferevent_socket_get_dns_error(bev) != 0);
	turn();
	show(bufferevent_socket_connect_hostname(bev, NULL, AF_INET, "127.0.0.1", ntohs(sin.sin_port)));
	show(bufferevent_socket_get_dns_error(bev));
	turn();
	bufferevent_free(bev);
	turn();
	close(l);
}

int main(void)
{
	base = a_base();
	full_backlog();
	twice();
	badly();
	by_name();
	event_base_free(base);
	return 0;
}
