/* What is done to sockets. conform: methods=epoll */
#include "conform.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

static void quiet(int severity, const char *message)
{
	say("log %d: %s", severity, message);
}

static int option(int fd, int level, int name)
{
	int value = 0;
	socklen_t length = sizeof value;

	must(getsockopt(fd, level, name, &value, &length) == 0);
	return value;
}

int main(void)
{
	evutil_socket_t pair[2];
	int fd, fd6;
	char byte = 0;

	event_set_log_callback(quiet);
	show(evutil_socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	must(write(pair[0], "x", 1) == 1 && read(pair[1], &byte, 1) == 1);
	say("%c", byte);
	show(evutil_make_socket_nonblocking(pair[0]));
	show(!!(fcntl(pair[0], F_GETFL) & O_NONBLOCK));
	show(evutil_make_socket_nonblocking(pair[0]));
	show(!!(fcntl(pair[1], F_GETFL) & O_NONBLOCK));
	show(evutil_make_socket_closeonexec(pair[0]));
	show(fcntl(pair[0], F_GETFD));
	show(evutil_closesocket(pair[0]));
	show(evutil_closesocket(pair[1]));
	errno = 0;
	show(evutil_closesocket(-1));
	show(errno == EBADF);
	show(evutil_make_socket_nonblocking(-1));
	show(evutil_make_socket_closeonexec(-1));
	errno = 0;
	show(evutil_socketpair(AF_INET, SOCK_STREAM, 0, pair));
	show(errno == EOPNOTSUPP);
	show(evutil_socketpair(AF_UNIX, SOCK_STREAM, IPPROTO_TCP, pair));

	fd = socket(AF_INET, SOCK_STREAM, 0);
	fd6 = socket(AF_INET6, SOCK_STREAM, 0);
	must(fd >= 0);
	show(evutil_make_listen_socket_reuseable(fd));
	show(option(fd, SOL_SOCKET, SO_REUSEADDR));
	show(option(fd, SOL_SOCKET, SO_REUSEPORT));
	show(evutil_make_listen_socket_reuseable_port(fd));
	show(option(fd, SOL_SOCKET, SO_REUSEPORT));
	show(evutil_make_tcp_listen_socket_deferred(fd));
	show(option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
	errno = 0;
	show(evutil_make_listen_socket_ipv6only(fd));
	show(errno != 0);
	if (fd6 >= 0) {
		show(evutil_make_listen_socket_ipv6only(fd6));
		show(option(fd6, IPPROTO_IPV6, IPV6_V6ONLY));
	}
	show(evutil_make_listen_socket_reuseable(-1));
	return 0;
}
