/* What a callback does to its own event, its descriptor and its neighbours: added again or not, changed, closed, freed. */
#include "conform.h"
#include <event2/event_struct.h>

enum what {
	NOTHING, AGAIN, TWICE, AGAIN_AND_DEL, DEL_AND_AGAIN, FREED, OTHER_FILE, CLOSED, WRITES_INSTEAD, WITH_TIMEOUT,
	PERSISTS, SELF_ACTIVE, ACTIVE_AND_AGAIN, SECOND_ON_FD, EDGE_ON_FD, LOOPBREAK, KINDS
};

static const char *const names[KINDS] = {
	"nothing", "again", "twice", "again and del", "del and again", "freed", "other file", "closed", "writes instead",
	"with timeout", "persists", "self active", "active and again", "second on fd", "edge on fd", "loopbreak",
};

static struct event_base *base;
static struct event *ev, *second;
/* All that there were, to be freed at the end. */
static struct event *seconds[8];
static int n_seconds;
static int pair[2], other[2], calls, budget;
static enum what kind;

static void second_told(evutil_socket_t fd, short events, void *arg)
{
	say("  second %s", events_text(events));
	event_del(second);
}

static void a_second(short events)
{
	must(n_seconds < 8);
	second = seconds[n_seconds++] = event_new(base, pair[0], events, second_told, NULL);
	show(event_add(second, NULL));
}

static void told(evutil_socket_t fd, short events, void *arg)
{
	struct timeval tv = ms(30);

	say("  told %s, pending %s", events_text(events), events_text(event_pending(ev, EV_READ | EV_WRITE | EV_TIMEOUT, NULL)));
	if (++calls >= budget) {
		event_del(ev);
		return;
	}
	switch (kind) {
	case NOTHING: break;
	case AGAIN: show(event_add(ev, NULL)); break;
	case TWICE: event_add(ev, NULL); show(event_add(ev, NULL)); break;
	case AGAIN_AND_DEL: event_add(ev, NULL); show(event_del(ev)); break;
	case DEL_AND_AGAIN: event_del(ev); show(event_add(ev, NULL)); break;
	case FREED:
		event_free(ev);
		/* Most likely in the same place, and for something else. */
		ev = event_new(base, other[0], EV_READ, told, NULL);
		write_byte(other[1], 'y');
		show(event_add(ev, NULL));
		break;
	case OTHER_FILE:
		must(dup2(other[0], pair[0]) >= 0);
		show(event_add(ev, NULL));
		write_byte(other[1], 'y');
		break;
	case CLOSED:
		must(dup2(other[0], pair[0]) >= 0);
		show(event_add(ev, NULL));
		break;
	case WRITES_INSTEAD:
		event_assign(ev, base, pair[0], EV_WRITE, told, NULL);
		show(event_add(ev, NULL));
		break;
	case WITH_TIMEOUT:
		read_all(pair[0]);
		show(event_add(ev, &tv));
		break;
	case PERSISTS:
		/* Pending from now on: not to be assigned again. */
		if (calls > 1)
			break;
		event_assign(ev, base, pair[0], EV_READ | EV_PERSIST, told, NULL);
		show(event_add(ev, NULL));
		break;
	case SELF_ACTIVE: event_active(ev, EV_WRITE, 1); break;
	case ACTIVE_AND_AGAIN: event_active(ev, EV_WRITE, 1); show(event_add(ev, NULL)); break;
	case SECOND_ON_FD:
		a_second(EV_WRITE);
		show(event_add(ev, NULL));
		break;
	case EDGE_ON_FD:
		a_second(EV_WRITE | EV_ET);
		break;
	case LOOPBREAK: event_add(ev, NULL); event_base_loopbreak(base); break;
	default: break;
	}
}

static void one(int neighbours)
{
	struct event *near[3];
	int fds[3][2], i;

	say("%s, neighbours %d", names[kind], neighbours);
	a_pair(pair);
	a_pair(other);
	calls = 0;
	budget = 4;
	second = NULL;
	ev = event_new(base, pair[0], EV_READ, told, NULL);
	must(event_add(ev, NULL) == 0);
	write_byte(pair[1], 'x');
	/* Others that wait at the same time, for something that comes later. */
	for (i = 0; i < neighbours; i++) {
		a_pair(fds[i]);
		near[i] = event_new(base, fds[i][0], EV_READ, second_told, NULL);
		must(event_add(near[i], NULL) == 0);
	}
	for (i = 0; i < 6; i++) {
		int result = event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);

		say(" turn: %d, break %d, added %d", result, event_base_got_break(base),
		    event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
		if (kind == WITH_TIMEOUT && calls < 2)
			usleep(40000);
	}
	for (i = 0; i < neighbours; i++) {
		event_free(near[i]);
		close(fds[i][0]);
		close(fds[i][1]);
	}
	event_free(ev);
	while (n_seconds > 0)
		event_free(seconds[--n_seconds]);
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
	close(pair[0]);
	close(pair[1]);
	close(other[0]);
	close(other[1]);
}

int main(void)
{
	base = a_base();
	for (kind = NOTHING; kind < KINDS; kind++) {
		one(0);
		one(3);
	}
	event_base_free(base);
	return 0;
}
