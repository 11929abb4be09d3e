/* Priorities: the most urgent first, what a callback activates above itself comes next, limits of a dispatch. */
#include "conform.h"
#include <event2/event_struct.h>

#define LEVELS 5

static struct event events[LEVELS][3];
static struct event_base *base;
static int spread;
static int pair[2];

static void runs(evutil_socket_t fd, short what, void *arg)
{
	struct event *ev = arg;
	int level = event_get_priority(ev), which = (int)(ev - events[level]);

	say("level %d, %d", level, which);
	if (level == 2 && which == 1)
		write_byte(pair[1], 'x');
	if (spread && level == 3 && which == 0) {
		event_active(&events[1][0], EV_READ, 1);
		event_active(&events[4][1], EV_READ, 1);
	}
}

static struct event urgent;

static void urgent_runs(evutil_socket_t of, short what, void *arg)
{
	say("urgent");
	read_all(of);
}

static void assign(void)
{
	int level, which;

	for (level = 0; level < LEVELS; level++)
		for (which = 0; which < 3; which++) {
			event_assign(&events[level][which], base, -1, 0, runs, &events[level][which]);
			must(event_priority_set(&events[level][which], level) == 0);
		}
	event_assign(&urgent, base, pair[0], EV_READ, urgent_runs, NULL);
	must(event_priority_set(&urgent, 0) == 0 && event_add(&urgent, NULL) == 0);
}

static void activate(void)
{
	int level, which;

	for (which = 0; which < 3; which++)
		for (level = LEVELS - 1; level >= 0; level--)
			event_active(&events[level][which], EV_READ, 1);
}

static int turns;

static void passes(void)
{
	for (turns = 0; turns < 30 && event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE); turns++) {
		say("pass %d: %d", turns, event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE));
	}
}

int main(void)
{
	struct event_config *config;
	struct timeval interval = { 10, 0 };
	int limit;

	a_pair(pair);
	base = a_base();
	event_set_log_callback(NULL);
	show(event_base_get_npriorities(base));
	show(event_base_priority_init(base, LEVELS));
	show(event_base_get_npriorities(base));
	show(event_base_priority_init(base, 0));
	show(event_base_priority_init(base, 256));
	show(event_base_priority_init(base, EVENT_MAX_PRIORITIES));
	show(event_base_get_npriorities(base));
	show(event_base_priority_init(base, LEVELS));
	assign();
	event_assign(&events[0][0], base, -1, 0, runs, &events[2][0]);
	show(event_get_priority(&events[0][0]));
	show(event_priority_set(&events[0][0], LEVELS));
	event_del(&urgent);
	assign();
	activate();
	/* Not while something is active. */
	show(event_base_priority_init(base, 3));
	spread = 1;
	passes();
	event_del(&urgent);
	event_base_free(base);

	for (limit = 1; limit <= 2; limit++) {
		int above;

		for (above = 0; above <= 2; above += 2) {
			config = event_config_new();
			show(event_config_set_max_dispatch_interval(config, above ? &interval : NULL, limit, above));
			base = event_base_new_with_config(config);
			event_config_free(config);
			must(base != NULL && event_base_priority_init(base, LEVELS) == 0);
			assign();
			activate();
			spread = limit == 2;
			say("at most %d at a time from priority %d", limit, above);
			passes();
			event_del(&urgent);
			event_base_free(base);
		}
	}
	return 0;
}
