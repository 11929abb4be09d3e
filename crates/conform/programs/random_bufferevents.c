/* Random sequences over bufferevents: pairs and sockets, filters on top of them, every function that changes them, in and out of
 * callbacks. Over pairs the order of everything is the same. Between sockets the kernel has a say, so that each bufferevent has
 * a trace of its own for each direction, and one thing happens at a time. With a seed for its argument: that one, shown. */
#include "conform.h"
#include "random.h"
#include "random_bufferevents.h"

static void step(struct node *n);

/* Whether that loses something depends on how soon a write comes, which is not C libevent's way with ours. */
static size_t unsent(struct node *n)
{
	while (n->below)
		n = n->below;
	return evbuffer_get_length(bufferevent_get_output(n->bev));
}

static size_t unread(struct node *n)
{
	int fd = bufferevent_getfd(n->bev);
	unsigned char bytes[1];

	return fd >= 0 && recv(fd, bytes, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* What a callback does: over pairs anything to anybody, between sockets something to itself. */
static void react(struct node *n, enum part part)
{
	int steps;

	if (calls++ > 3000) {
		trace("too many calls");
		event_base_loopbreak(base);
		return;
	}
	if (sockets) {
		if (part == READS && n->replies && n->bev && !unread(n) && of(n, 3) == 0) {
			n->replies--;
			send_some(n, part, 400);
		}
		if (n->bev && of(n, 40) == 0 && !n->touched && !unsent(n))
			release(n, part);
		return;
	}
	for (steps = below(3); steps > 0 && left > 0; steps--, left--) {
		struct node *other = below(3) ? n : &nodes[below(NODES)];

		if (other->bev && !other->above)
			step(other);
	}
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct node *n = arg;
	size_t there = evbuffer_get_length(bufferevent_get_input(bev)), high;
	enum part before = now;

	depth++;
	now = READS;
	note(n, READS, "can read %zu", there);
	/* To leave all of it there at the high watermark has C libevent call again forever. */
	bufferevent_getwatermark(bev, EV_READ, NULL, &high);
	if (of(n, 3) || (high && there >= high))
		take(n, READS, 1 + of(n, 1000));
	react(n, READS);
	now = before;
	depth--;
}

static void on_write(struct bufferevent *bev, void *arg)
{
	struct node *n = arg;
	enum part before = now;

	depth++;
	now = WRITES;
	note(n, WRITES, "has written, %zu left", evbuffer_get_length(bufferevent_get_output(bev)));
	react(n, WRITES);
	now = before;
	depth--;
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct node *n = arg;

	n->what |= what;
	/* A write that fails may have been before the end of what is read, or after it, or both are told at once. */
	if (sockets) {
		depth++;
		if (n->ends && n->bev && what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
			release(n, EVENTS);
		depth--;
		return;
	}
	depth++;
	note(n, EVENTS, "event %x, enabled %s", (unsigned)what, events_text(bufferevent_get_enabled(bev)));
	react(n, EVENTS);
	depth--;
}

static short directions(struct node *n)
{
	static const short all[] = { EV_READ, EV_WRITE, BOTH };

	return all[of(n, 3)];
}

static void marks(struct node *n)
{
	short which = directions(n);
	size_t low = of(n, 2) ? of(n, 200) : 0, high = of(n, 3) ? low + 1 + of(n, 600) : 0;

	/* What is left below a filter for want of room C libevent leaves there. */
	if (n->below && which & EV_READ)
		high = 0;
	/* And one that needs more than that is called again forever. */
	if (n->above && n->above->filter == CHUNKS && which & EV_READ)
		high = 0;
	/* Where this bounds what a filter without functions moves to another filter C libevent moves the same bytes twice, or
	 * crashes: evbuffer_remove_buffer tells of them before it has counted them. */
	if (n->below && n->above && n->above->filter == PLAIN && which & EV_WRITE)
		high = 0;
	/* How much of it a filter's reader gets at once is the kernel's to say. */
	if (sockets && which == BOTH)
		which = EV_READ;
	if (sockets && which == EV_WRITE)
		high = 0;
	note(n, EVENTS, "marks of %d: %zu to %zu", which, low, high);
	bufferevent_setwatermark(n->bev, which, low, high);
}

/* A filter that does not read leaves bytes below, too: so none are on their way, and no flush sends any. */
static void disable(struct node *n, short which)
{
	if (n->below && which & EV_READ) {
		if (flushes || depth)
			return;
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	if (n->bev)
		note(n, EVENTS, "disable %d: %d", which, bufferevent_disable(n->bev, which));
}

static void limit(struct node *n)
{
	struct ev_token_bucket_cfg *cfg = of(n, 4) ? limits[of(n, 3)] : NULL;

	unsigned what = of(n, 6);

	/* To take from limits that there are not is an assertion of C libevent's. */
	if (!bufferevent_get_token_bucket_cfg(n->bev) && (what == 1 || what == 2))
		what = 0;
	switch (what) {
	case 0: note(n, EVENTS, "set limit %d", bufferevent_set_rate_limit(n->bev, cfg)); break;
	case 1: note(n, EVENTS, "less to read %d", bufferevent_decrement_read_limit(n->bev, (ssize_t)of(n, 3000) - 1500)); break;
	case 2: note(n, EVENTS, "less to write %d", bufferevent_decrement_write_limit(n->bev, (ssize_t)of(n, 3000) - 1500)); break;
	case 3: note(n, EVENTS, "into the group %d", bufferevent_add_to_rate_limit_group(n->bev, group)); break;
	case 4: note(n, EVENTS, "out of the group %d", bufferevent_remove_from_rate_limit_group(n->bev)); break;
	default:
		bufferevent_set_max_single_read(n->bev, 100 + of(n, 1900));
		if (!sockets)
			bufferevent_set_max_single_write(n->bev, 100 + of(n, 1900));
		break;
	}
}

/* One thing done to one of them. */
static void step(struct node *n)
{
	struct timeval far = { 1000 + of(n, 10), 0 };
	struct node *at = n;
	short which = directions(n);
	int options = of(n, 4), mode = of(n, 3);

	n->touched = 1;
	if (n->below && of(n, 4) == 0)
		at = n->below;
	switch (of(n, 19)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		send_some(n, WRITES, 1000);
		answers = 1;
		break;
	case 5:
	case 6: take(n, READS, 1 + of(n, 1500)); break;
	case 7: note(n, EVENTS, "enable %d: %d", which, bufferevent_enable(n->bev, which)); break;
	case 8: disable(n, which); break;
	case 9:
	case 17: marks(at); break;
	case 10:
		if (flushes)
			note(n, EVENTS, "flush %d %d: %d", which, mode, bufferevent_flush(n->bev, which, mode));
		break;
	case 11: set_callbacks(n, 0); break;
	case 12:
		note(n, EVENTS, "trigger %d %d", which, options);
		bufferevent_trigger(n->bev, which,
		    (options & 1 ? BEV_TRIG_IGNORE_WATERMARKS : 0) | (options & 2 ? BEV_TRIG_DEFER_CALLBACKS : 0));
		break;
	case 13:
		note(n, EVENTS, "trigger event");
		bufferevent_trigger_event(n->bev, BEV_EVENT_READING, options & 2 ? BEV_TRIG_DEFER_CALLBACKS : 0);
		break;
	case 14: note(n, EVENTS, "priority %d", bufferevent_priority_set(at->bev, of(n, 3))); break;
	case 15: note(n, EVENTS, "timeouts %d", bufferevent_set_timeouts(n->bev, of(n, 2) ? &far : NULL, &far)); break;
	case 16: limit(at); break;
	default:
		if (of(n, 6) == 0)
			release(n, EVENTS);
		break;
	}
}

static void look(void)
{
	int i, part;

	for (i = 0; i < NODES; i++) {
		struct node *n = &nodes[i];

		if (sockets)
			for (part = 0; part < PARTS; part++)
				if (n->hash[part])
					trace("%d, part %d: %llx", i, part, (unsigned long long)n->hash[part]);
		if (n->bev)
			trace("%d: events %x, in %zu, out %zu, enabled %s, may read %zd and write %zd, limits %zd %zd", i, (unsigned)n->what,
			    evbuffer_get_length(bufferevent_get_input(n->bev)),
			    evbuffer_get_length(bufferevent_get_output(n->bev)),
			    events_text(bufferevent_get_enabled(n->bev)),
			    (ssize_t)bufferevent_get_max_to_read(n->bev), (ssize_t)bufferevent_get_max_to_write(n->bev),
			    (ssize_t)bufferevent_get_read_limit(n->bev), (ssize_t)bufferevent_get_write_limit(n->bev));
	}
}

/* The other side is a program of another kind. */
static void from_outside(int chain)
{
	unsigned char bytes[2000];
	ssize_t length;

	switch (below(5)) {
	case 0:
	case 1:
		memset(bytes, 'a' + chain, sizeof bytes);
		answers = 1;
		trace("outside writes %zd", send(raw[chain], bytes, 1 + below(1999), MSG_NOSIGNAL));
		break;
	case 2:
		length = read(raw[chain], bytes, sizeof bytes);
		trace("outside reads %zd, sum %u", length, length > 0 ? sum_of(bytes, length) : 0);
		break;
	case 3:
		if (below(3) == 0)
			trace("outside shuts %d", shutdown(raw[chain], below(3)));
		break;
	default:
		if (below(3) == 0) {
			trace("outside closes");
			close(raw[chain]);
			raw[chain] = -1;
		}
		break;
	}
}

static void turn(void)
{
	int i, rounds = sockets ? 2 : 1 + below(3), once = sockets || below(2) ? 0 : EVLOOP_ONCE;

	for (i = 0; i < NODES; i++) {
		nodes[i].replies = answers;
		nodes[i].ends = below(3) == 0;
		nodes[i].what = 0;
	}
	calls = answers = 0;
	for (i = 0; i < rounds; i++)
		trace("loop %d", event_base_loop(base, EVLOOP_NONBLOCK | once));
	look();
	for (i = 0; i < NODES; i++)
		nodes[i].touched = 0;
}

static void run(void)
{
	struct timeval never = { 1000000, 0 };
	int i, steps;

	sockets = below(2);
	now = EVENTS;
	flushes = below(2);
	base = event_base_new();
	must(base && event_base_priority_init(base, 3) == 0);
	limits[0] = ev_token_bucket_cfg_new(500, 1000, 600, 900, &never);
	/* No more than C libevent reads at once. */
	limits[1] = ev_token_bucket_cfg_new(3000, 4000, 3500, 3900, &never);
	limits[2] = ev_token_bucket_cfg_new(50, 50, 60, 100, &never);
	/* A group that runs dry shares out by chance. */
	limits[3] = ev_token_bucket_cfg_new(10000000, 10000000, 10000000, 10000000, &never);
	group = bufferevent_rate_limit_group_new(base, limits[3]);
	must(group);
	left = 100;
	build();
	for (steps = 0; steps < 80; steps++) {
		struct node *n = &nodes[below(NODES)];
		int chain = below(CHAINS);

		while (n < nodes + NODES - 1 && (!n->bev || n->above))
			n++;
		if (raw[chain] >= 0 && below(3) == 0)
			from_outside(chain);
		else if (n->bev && !n->above)
			step(n);
		if (sockets || below(3) == 0)
			turn();
	}
	for (i = 0; i < NODES; i++)
		if (nodes[i].bev && !nodes[i].above)
			release(&nodes[i], EVENTS);
	for (i = NODES - 1; i >= 0; i--)
		if (nodes[i].bev)
			release(&nodes[i], EVENTS);
	for (i = 0; i < CHAINS; i++)
		if (raw[i] >= 0)
			close(raw[i]);
	turn();
	bufferevent_rate_limit_group_free(group);
	event_base_free(base);
	for (i = 0; i < 4; i++)
		ev_token_bucket_cfg_free(limits[i]);
}

int main(int argc, char **argv)
{
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	evthread_use_pthreads();
	seeds(argc, argv, 300, run);
	return 0;
}
