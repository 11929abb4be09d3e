/* EV_CLOSED: told when the peer has closed or shut down, also where the kernel says HUP as well (#984, #1038), beside EV_READ and
 * alone, with bytes left to read, edge-triggered and persistent. For a reset C libevent does not tell it. */
#include "conform.h"
#include <arpa/inet.h>
#include <event2/event_struct.h>
#include <netinet/in.h>

static struct event_base *base;
static short told[2];

static void called(evutil_socket_t fd, short events, void *arg)
{
	*(short *)arg |= events;
}

static void tcp_pair(int fd[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 1) == 0);
	must(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	fd[1] = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(fd[1], (struct sockaddr *)&address, length) == 0);
	fd[0] = accept(listener, NULL, NULL);
	must(fd[0] >= 0);
	evutil_make_socket_nonblocking(fd[0]);
	evutil_make_socket_nonblocking(fd[1]);
	close(listener);
}

static void one(int tcp, int how, int bytes, short first, short second)
{
	struct event events[2];
	int fd[2], pass;

	tcp ? tcp_pair(fd) : a_pair(fd);
	event_assign(&events[0], base, fd[0], first, called, &told[0]);
	event_assign(&events[1], base, fd[0], second, called, &told[1]);
	must(event_add(&events[0], NULL) == 0);
	if (second)
		must(event_add(&events[1], NULL) == 0);
	told[0] = told[1] = 0;
	if (bytes) {
		write_byte(fd[1], 'x');
		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		say("  bytes: %s, %s", events_text(told[0]), events_text(told[1]));
		if (!event_pending(&events[0], EV_READ | EV_WRITE | EV_CLOSED, NULL))
			event_add(&events[0], NULL);
	}
	switch (how) {
	case 0: shutdown(fd[1], SHUT_WR); break;
	default: close(fd[1]); break;
	}
	for (pass = 0; pass < 2; pass++) {
		told[0] = told[1] = 0;
		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		say("  %d: %s, %s", pass, events_text(told[0]), events_text(told[1]));
	}
	event_del(&events[0]);
	event_del(&events[1]);
	close(fd[0]);
	if (how == 0)
		close(fd[1]);
}

int main(void)
{
	static const char *const hows[] = { "shutdown", "close" };
	int tcp, how, bytes;

	base = a_base();
	if (!(event_base_get_features(base) & EV_FEATURE_EARLY_CLOSE)) {
		say("not with %s", event_base_get_method(base));
		return 0;
	}
	for (tcp = 0; tcp < 2; tcp++)
		for (how = 0; how < 2; how++)
			for (bytes = 0; bytes < 2; bytes++) {
				say("%s, %s, %d bytes", tcp ? "TCP" : "Unix", hows[how], bytes);
				one(tcp, how, bytes, EV_CLOSED, 0);
				one(tcp, how, bytes, EV_CLOSED | EV_PERSIST, 0);
				one(tcp, how, bytes, EV_CLOSED | EV_READ | EV_PERSIST, 0);
				one(tcp, how, bytes, EV_READ | EV_PERSIST, EV_CLOSED | EV_PERSIST);
				one(tcp, how, bytes, EV_READ | EV_WRITE | EV_CLOSED | EV_PERSIST, 0);
				if (event_base_get_features(base) & EV_FEATURE_ET)
					one(tcp, how, bytes, EV_CLOSED | EV_READ | EV_PERSIST | EV_ET, 0);
			}
	event_base_free(base);
	return 0;
}
