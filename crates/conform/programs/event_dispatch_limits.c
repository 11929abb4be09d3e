/* event_config_set_max_dispatch_interval: how many callbacks, for how long and from which priority on, before the kernel is asked
 * for what is more urgent. No callbacks at all are one. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static struct event urgent, self, plain[6];
static int fd[2], runs;

static void told(evutil_socket_t of, short events, void *arg)
{
	say("  %ld", (long)(intptr_t)arg);
}

static void slow(evutil_socket_t of, short events, void *arg)
{
	say("  slow");
	usleep(150000);
}

static void writes(evutil_socket_t of, short events, void *arg)
{
	say("  writes");
	write_byte(fd[1], 'x');
}

static void urgent_told(evutil_socket_t of, short events, void *arg)
{
	say("  urgent %s", events_text(events));
	read_all(of);
}

static void activates_itself(evutil_socket_t of, short events, void *arg)
{
	say("  itself");
	if (++runs < 5)
		event_active(&self, EV_READ, 1);
}

static void with(const struct timeval *interval, int callbacks, int from, int urgency, int priority)
{
	struct event_config *config = event_config_new();
	int i;

	say("interval %ld.%ld, callbacks %d, from %d: urgent is %d, others %d", interval ? (long)interval->tv_sec : -1,
	    interval ? (long)interval->tv_usec : -1, callbacks, from, urgency, priority);
	show(event_config_set_max_dispatch_interval(config, interval, callbacks, from));
	base = event_base_new_with_config(config);
	must(base != NULL && event_base_priority_init(base, 4) == 0);
	event_config_free(config);
	a_pair(fd);
	event_assign(&urgent, base, fd[0], EV_READ | EV_PERSIST, urgent_told, NULL);
	event_priority_set(&urgent, urgency);
	event_add(&urgent, NULL);
	for (i = 0; i < 6; i++) {
		event_assign(&plain[i], base, -1, 0, i == 1 ? writes : i == 2 && interval ? slow : told, (void *)(intptr_t)i);
		event_priority_set(&plain[i], priority);
		event_active(&plain[i], EV_READ, 1);
	}
	for (i = 0; i < 3; i++) {
		int result = event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);

		say(" turn: %d, active %d", result, event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
	}
	runs = 0;
	event_assign(&self, base, -1, 0, activates_itself, NULL);
	event_priority_set(&self, priority);
	event_active(&self, EV_READ, 1);
	write_byte(fd[1], 'y');
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	event_del(&urgent);
	close(fd[0]);
	close(fd[1]);
	event_base_free(base);
}

int main(void)
{
	struct timeval brief = ms(100), none = { 0, 0 }, negative = { -1, 0 }, lasting = { 1000, 0 };
	int from;

	alarm(60);
	with(&brief, -1, 0, 0, 1);
	with(&brief, -1, 3, 2, 2);
	for (from = -1; from < 5; from++) {
		with(NULL, 2, from, 0, 2);
		with(NULL, 1, from, 1, 1);
		with(NULL, 0, from, 0, 1);
		with(&negative, -1, from, 0, 1);
		with(&lasting, 3, from, 0, 0);
	}
	with(NULL, 0, 0, 3, 3);
	with(&none, 0, 0, 0, 1);
	return 0;
}
