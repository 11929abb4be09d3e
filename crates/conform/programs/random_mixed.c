/* Random sequences with signals, one descriptor that many wait for, event_base_once, and being made active by descriptor: the
 * same order of everything. */
#include "conform.h"
#include "random.h"
#include <event2/event_struct.h>

#define EVENTS 16
#define LEVELS 3
#define ALL (EV_TIMEOUT | EV_READ | EV_WRITE | EV_SIGNAL | EV_CLOSED)

static struct event_base *base;
static struct event events[EVENTS];
static int pair[2], level[EVENTS], told_to_go[EVENTS];
/* A signal and a byte never come together: which of the two descriptors is told first is the kernel's affair. */
static int signalled, readable, left, depth;

static void called(evutil_socket_t fd, short what, void *arg);

static void once(evutil_socket_t fd, short what, void *arg)
{
	trace("once %d %d", (int)(intptr_t)arg, what);
}

static void assign(int which)
{
	static const short kinds[] = { 0, EV_READ, EV_READ | EV_CLOSED, 0, EV_READ, EV_SIGNAL };
	short kind = kinds[which % 6];
	int fd = kind & EV_SIGNAL ? (which == 5 ? SIGUSR1 : SIGUSR2) : kind ? pair[0] : -1;

	event_assign(&events[which], base, fd, kind | (below(2) ? EV_PERSIST : 0), called, &events[which]);
	event_priority_set(&events[which], level[which]);
}

static int is_idle(struct event *ev)
{
	return !event_pending(ev, ALL, NULL);
}

/* event_add of what is active and not added: C libevent says that it adds, and does not. */
static int may_be_added(struct event *ev)
{
	return is_idle(ev) || (ev->ev_evcallback.evcb_flags & EVLIST_INSERTED) || !(ev->ev_events & ~EV_PERSIST);
}

static void raise_one(void)
{
	int number = below(2) ? SIGUSR1 : SIGUSR2;
	struct sigaction now;

	/* Not what is active already: C libevent then forgets the count. */
	if (depth || signalled || readable || event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE))
		return;
	must(sigaction(number, NULL, &now) == 0);
	if (now.sa_handler == SIG_DFL)
		return;
	raise(number);
	signalled = 1;
	trace("raised %d", number == SIGUSR1);
}

static void step(void)
{
	int which = below(EVENTS);
	struct event *ev = &events[which];
	struct timeval far = { 100 + below(100), 0 }, zero = { 0, 0 };
	int is_signal = ev->ev_events & EV_SIGNAL;

	switch (below(depth ? 17 : 15)) {
	case 0:
		if (left-- > 0 && !(signalled && is_signal)) {
			event_active(ev, is_signal ? EV_SIGNAL : below(2) ? EV_READ : EV_WRITE, 1 + below(3));
			told_to_go[which] = 1;
			trace("active %d", which);
		}
		break;
	case 1:
		/* Where a more urgent event was made active and deleted C libevent ends the pass all the same. */
		if (depth && told_to_go[which])
			break;
		trace("del %d %d", which, event_del(ev));
		/* C libevent would give a persistent one its timeout back when it is called. */
		if (!is_signal)
			evutil_timerclear(&ev->ev_.ev_io.ev_timeout);
		break;
	case 2:
	case 3:
		if (may_be_added(ev))
			trace("add %d %d", which, event_add(ev, NULL));
		break;
	case 4:
		if (may_be_added(ev))
			trace("add far %d %d", which, event_add(ev, &far));
		break;
	case 5:
		event_priority_set(ev, below(LEVELS));
		level[which] = event_get_priority(ev);
		trace("priority %d %d", which, level[which]);
		break;
	case 6:
		/* Of a signal C libevent takes the count for the timeout. */
		if (!is_signal)
			trace("remove timer %d %d", which, event_remove_timer(ev));
		break;
	case 7:
		if (!depth && !signalled && left-- > 0) {
			write_byte(pair[1], 'x');
			readable = 1;
			trace("byte");
		}
		break;
	case 8:
		read_all(pair[0]);
		readable = 0;
		trace("drained");
		break;
	case 9:
		if (left-- > 0)
			raise_one();
		break;
	case 10:
		if (left-- > 0)
			trace("once %d", event_base_once(base, -1, EV_TIMEOUT, once, (void *)(intptr_t)below(3), &zero));
		break;
	case 11:
		if (left-- > 0)
			event_base_active_by_fd(base, pair[0], below(2) ? EV_READ : EV_CLOSED);
		break;
	case 12:
		if (!depth && below(5) == 0)
			trace("exit %d", event_base_loopexit(base, NULL));
		break;
	case 13:
		if (!depth && is_idle(ev)) {
			assign(which);
			trace("assign %d", which);
		}
		break;
	case 14: trace("priority of %d is %d", which, event_get_priority(ev)); break;
	case 15:
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
	struct event *ev = arg;

	trace("called %d %d, it runs %d", (int)(ev - events), what, event_base_get_running_event(base) == ev);
	/* Nobody else ends what is readable. */
	if (what & EV_READ && left-- < 0) {
		read_all(pair[0]);
		readable = 0;
	}
	depth++;
	while (steps--)
		step();
	depth--;
}

static void look(void)
{
	int i, active = event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE);

	for (i = 0; i < EVENTS; i++)
		trace("%d: %d", i, event_pending(&events[i], ALL, NULL));
	/* A signal that came and was not looked at yet is an active event of the library's own. */
	signalled = signalled && (active || event_base_got_break(base));
	if (signalled)
		return;
	trace("active %d", active);
	if (!active)
		trace("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
}

static void run(void)
{
	int i, steps;

	base = event_base_new();
	must(base != NULL && event_base_priority_init(base, LEVELS) == 0);
	a_pair(pair);
	for (i = 0; i < EVENTS; i++) {
		level[i] = below(LEVELS);
		assign(i);
	}
	left = 100;
	signalled = readable = 0;
	for (steps = 0; steps < 60; steps++) {
		step();
		if (below(5))
			continue;
		memset(told_to_go, 0, sizeof told_to_go);
		trace("loop %d", event_base_loop(base, EVLOOP_NONBLOCK | (below(2) ? EVLOOP_ONCE : 0)));
		trace("break %d, exit %d", event_base_got_break(base), event_base_got_exit(base));
		look();
	}
	event_base_free(base);
	close(pair[0]);
	close(pair[1]);
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
