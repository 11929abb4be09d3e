/* What an idle bufferevent costs: idle NUMBER: prints the allocator's bytes for each, base and descriptors apart. */
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static void on_read(struct bufferevent *stream, void *argument)
{
	(void)stream, (void)argument;
}

static void on_event(struct bufferevent *stream, short what, void *argument)
{
	(void)stream, (void)what, (void)argument;
}

int main(int argc, char **argv)
{
	int number = argc == 2 ? atoi(argv[1]) : 0, index;
	struct event_base *base = event_base_new();
	size_t before;

	if (number < 1) {
		fprintf(stderr, "usage: %s NUMBER\n", argv[0]);
		return 2;
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	before = mallinfo2().uordblks + mallinfo2().hblkhd;
	for (index = 0; index < number; index++) {
		struct bufferevent *stream;
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
			return perror("socketpair"), 1;
		evutil_make_socket_nonblocking(ends[0]);
		stream = bufferevent_socket_new(base, ends[0], BEV_OPT_CLOSE_ON_FREE);
		bufferevent_setcb(stream, on_read, NULL, on_event, NULL);
		bufferevent_enable(stream, EV_READ | EV_WRITE);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	before = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	printf("%.1f %s\n", (double)before / number, event_base_get_method(base));
	return 0;
}
