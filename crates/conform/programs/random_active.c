/* Random sequences of add, delete, activate, priorities and loops, in and out of callbacks: the same order of everything. */
#include "conform.h"
#include "random.h"
#include <event2/event_struct.h>

#define EVENTS 24
#define LEVELS 4

static struct event_base *base;
static struct event events[EVENTS];
static int left, depth;

static void called(evutil_socket_t fd, short what, void *arg);

/* A persistent event that is deleted and added without a timeout gets its old one back with C libevent, once it is called.
 * That is a fault (and none of ours), so it is assigned anew. */
static void forget_timeout(struct event *ev)
{
	int level = event_get_priority(ev);

	event_assign(ev, base, -1, event_get_events(ev), called, ev);
	event_priority_set(ev, level);
}

static void step(void)
{
	int which = below(EVENTS);
	struct event *ev = &events[which];
	struct timeval far = { 100 + below(100), 0 }, zero = { 0, 0 };
	static const short results[] = { EV_READ, EV_WRITE, EV_TIMEOUT, EV_READ | EV_WRITE, EV_CLOSED };

	switch (below(depth ? 11 : 9)) {
	case 0:
	case 1:
		/* Not what may also be due by its timeout: C libevent forgets the one over the other. */
		if (left-- > 0 && which != 0) {
			short result = results[below(5)];

			event_active(ev, result, 1);
			trace("active %d %d", which, result);
		}
		break;
	case 2:
		trace("del %d %d", which, event_del(ev));
		forget_timeout(ev);
		break;
	case 3: trace("add %d %d", which, event_add(ev, NULL)); break;
	case 4: trace("add far %d %d", which, event_add(ev, &far)); break;
	case 5:
		/* One event only is due at once: the order of equal deadlines is nobody's promise. */
		if (left-- > 0)
			trace("add zero %d", event_add(&events[0], &zero));
		break;
	case 6: trace("priority %d %d", which, event_priority_set(ev, below(LEVELS))); break;
	case 7: trace("remove timer %d %d", which, event_remove_timer(ev)); break;
	case 8:
		if (!event_pending(ev, EV_READ | EV_WRITE | EV_TIMEOUT | EV_CLOSED, NULL)) {
			int level = event_get_priority(ev);

			event_assign(ev, base, -1, below(2) ? EV_PERSIST : 0, called, ev);
			event_priority_set(ev, level);
			trace("assign %d", which);
		}
		break;
	case 9:
		if (below(4) == 0)
			trace("break %d", event_base_loopbreak(base));
		break;
	default:
		if (below(4) == 0)
			trace("continue %d", event_base_loopcontinue(base));
		break;
	}
}

static void called(evutil_socket_t fd, short what, void *arg)
{
	int steps = below(3);

	trace("called %d %d", (int)((struct event *)arg - events), what);
	depth++;
	while (steps--)
		step();
	depth--;
}

static void look(void)
{
	int i;

	for (i = 0; i < EVENTS; i++)
		trace("%d: %d", i, event_pending(&events[i], EV_READ | EV_WRITE | EV_TIMEOUT | EV_CLOSED, NULL));
	/* C libevent does not count a timeout among the added any more once it has run out. */
	if (!event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE))
		trace("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
}

static void run(void)
{
	int i, steps;

	base = event_base_new();
	must(event_base_priority_init(base, LEVELS) == 0);
	for (i = 0; i < EVENTS; i++) {
		event_assign(&events[i], base, -1, i % 2 ? EV_PERSIST : 0, called, &events[i]);
		event_priority_set(&events[i], below(LEVELS));
	}
	left = 120;
	for (steps = 0; steps < 60; steps++) {
		step();
		if (below(6) == 0) {
			trace("loop %d", event_base_loop(base, EVLOOP_NONBLOCK | (below(2) ? EVLOOP_ONCE : 0)));
			trace("break %d", event_base_got_break(base));
			look();
		}
	}
	event_base_free(base);
}

static void quiet(int severity, const char *message)
{
	(void)severity, (void)message;
}

int main(int argc, char **argv)
{
	alarm(60);
	event_set_log_callback(quiet);
	seeds(argc, argv, 300, run);
	return 0;
}
