/* Whatever a program may do to a bufferevent within its callbacks: every action in each of them, of a socket's, a pair's and a
 * filter's, at once, deferred, and deferred without the lock. A number each of what it saw; with the four
 * numbers of one as arguments it says all.
 *
 * Left out, because C libevent
 * - dies: a bufferevent that is freed while its output is told of a change;
 * - forgets bytes that are added, or tells a length of before, while it releases memory that was added by reference;
 * - lets a filter write although it is freed, tells it an end before the bytes it has not taken yet (faults/05_last_bytes).
 * And because they are done at other times on purpose: what a deferred socket writes while its input is told, and bytes that a
 * pair or a filter takes as soon as it has room below its high watermark. conform: seconds=60 */
#include "conform.h"
#include "random.h"
#include <event2/bufferevent_struct.h>

enum place { IN_READ, IN_WRITE, IN_EVENT, IN_INPUT, IN_OUTPUT, IN_RELEASE, PLACES };
enum action { FREE, HELD_FREE, DISABLE_READ, DISABLE_WRITE, DISABLE_ALL, ENABLE, NO_FD, OTHER_FD, WRITE, WRITE_TWICE, WRITE_AND_FREE,
	WRITE_AND_DISABLE, READ, HIGH_MARK, NO_MARK, WRITE_MARK, LIMIT, NO_LIMIT, TRIGGER_READ, TRIGGER_WRITE, TRIGGER_EVENT, BREAK,
	NO_CALLBACKS, OTHER_CALLBACKS,
	PRIORITY, TIMEOUTS, NO_TIMEOUTS, FLUSH, FREE_PARTNER, ACTIONS };

static const char *const places[] = { "read", "write", "event", "input", "output", "release" };
static const char *const actions[] = { "free", "held free", "disable read", "disable write", "disable all", "enable", "no fd",
	"other fd", "write", "write twice", "write and free", "write and disable", "read", "high mark", "no mark", "write mark", "limit", "no limit",
	"trigger read", "trigger write", "trigger event", "break",
	"no callbacks", "other callbacks", "priority", "timeouts", "no timeouts", "flush", "free partner" };

static struct event_base *base;
static struct ev_token_bucket_cfg *cfg;
static struct bufferevent *bev, *partner;
static enum place where;
static enum action what_;
static int armed, freed, other[2];

static void on_other(struct bufferevent *b, void *arg)
{
	trace("   other callback, in %zu, out %zu", evbuffer_get_length(bufferevent_get_input(b)), evbuffer_get_length(bufferevent_get_output(b)));
}

static void act(enum place place)
{
	struct timeval late = { 100, 0 };
	char bytes[64];

	if (place != where || armed <= 0 || freed)
		return;
	armed--;
	switch (what_) {
	case FREE: freed = 1; bufferevent_free(bev); break;
	case HELD_FREE: freed = 1; bufferevent_incref(bev); bufferevent_free(bev); bufferevent_decref(bev); break;
	case DISABLE_READ: trace("   %d", bufferevent_disable(bev, EV_READ)); break;
	case DISABLE_WRITE: trace("   %d", bufferevent_disable(bev, EV_WRITE)); break;
	case DISABLE_ALL: trace("   %d", bufferevent_disable(bev, EV_READ | EV_WRITE)); break;
	case ENABLE: trace("   %d", bufferevent_enable(bev, EV_READ | EV_WRITE)); break;
	case NO_FD: trace("   %d", bufferevent_setfd(bev, -1)); break;
	case OTHER_FD: trace("   %d", bufferevent_setfd(bev, other[0])); break;
	case WRITE: bufferevent_write(bev, "more", 4); break;
	case WRITE_TWICE: bufferevent_write(bev, "more", 4); bufferevent_write(bev, "and more", 8); break;
	case WRITE_AND_FREE:
		bufferevent_write(bev, "more", 4);
		if (!freed) {
			freed = 1;
			bufferevent_free(bev);
		}
		break;
	case WRITE_AND_DISABLE: bufferevent_write(bev, "more", 4); bufferevent_disable(bev, EV_WRITE); break;
	case READ: trace("   %zd", (ssize_t)bufferevent_read(bev, bytes, sizeof bytes)); break;
	case HIGH_MARK: bufferevent_setwatermark(bev, EV_READ, 0, 8); break;
	case NO_MARK: bufferevent_setwatermark(bev, EV_READ | EV_WRITE, 0, 0); break;
	case WRITE_MARK: bufferevent_setwatermark(bev, EV_WRITE, 2, 3); break;
	case LIMIT: trace("   %d", bufferevent_set_rate_limit(bev, cfg)); break;
	case NO_LIMIT: trace("   %d", bufferevent_set_rate_limit(bev, NULL)); break;
	case TRIGGER_READ: bufferevent_trigger(bev, EV_READ, armed ? 0 : BEV_TRIG_DEFER_CALLBACKS); break;
	case TRIGGER_WRITE: bufferevent_trigger(bev, EV_WRITE, armed ? 0 : BEV_TRIG_DEFER_CALLBACKS); break;
	case TRIGGER_EVENT: bufferevent_trigger_event(bev, BEV_EVENT_CONNECTED, armed ? 0 : BEV_TRIG_DEFER_CALLBACKS); break;
	case BREAK: event_base_loopbreak(base); break;
	case NO_CALLBACKS: bufferevent_setcb(bev, NULL, NULL, NULL, NULL); break;
	case OTHER_CALLBACKS: bufferevent_setcb(bev, on_other, on_other, NULL, NULL); break;
	case PRIORITY: trace("   %d", bufferevent_priority_set(bev, 0)); break;
	case TIMEOUTS: trace("   %d", bufferevent_set_timeouts(bev, &late, &late)); break;
	case NO_TIMEOUTS: trace("   %d", bufferevent_set_timeouts(bev, NULL, NULL)); break;
	case FLUSH: trace("   %d", bufferevent_flush(bev, EV_READ | EV_WRITE, BEV_FLUSH)); break;
	case FREE_PARTNER:
		if (partner)
			bufferevent_free(partner);
		partner = NULL;
		break;
	default: break;
	}
}

static void on_read(struct bufferevent *b, void *arg)
{
	trace("  read, in %zu, out %zu", evbuffer_get_length(bufferevent_get_input(b)), evbuffer_get_length(bufferevent_get_output(b)));
	act(IN_READ);
	/* Or it would be called for ever at its high watermark. */
	if (!freed && evbuffer_get_length(bufferevent_get_input(b)) >= 8)
		evbuffer_drain(bufferevent_get_input(b), 5);
}

static void on_write(struct bufferevent *b, void *arg)
{
	trace("  write, in %zu, out %zu", evbuffer_get_length(bufferevent_get_input(b)), evbuffer_get_length(bufferevent_get_output(b)));
	act(IN_WRITE);
}

static void on_event(struct bufferevent *b, short what, void *arg)
{
	trace("  event %x, enabled %s", (unsigned)what, events_text(bufferevent_get_enabled(b)));
	act(IN_EVENT);
}

static void on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	trace("  input %zu +%zu -%zu", info->orig_size, info->n_added, info->n_deleted);
	act(IN_INPUT);
}

static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	trace("  output %zu +%zu -%zu", info->orig_size, info->n_added, info->n_deleted);
	act(IN_OUTPUT);
}

static void on_release(const void *data, size_t length, void *arg)
{
	trace("  released");
	act(IN_RELEASE);
}

static void turn(void)
{
	for (int i = 0; i < 5; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void look(int peer)
{
	char bytes[100];
	ssize_t got = 0;

	if (peer >= 0) {
		got = read(peer, bytes, sizeof bytes);
		trace(" peer: %.*s", got > 0 ? (int)got : got == 0 ? 3 : 1, got > 0 ? bytes : got == 0 ? "end" : "-");
	} else if (partner) {
		got = (ssize_t)bufferevent_read(partner, bytes, sizeof bytes);
		trace(" partner: %.*s", (int)got, bytes);
	}
	if (freed)
		return;
	trace(" in %zu, out %zu, enabled %s, waits %s %s", evbuffer_get_length(bufferevent_get_input(bev)),
	    evbuffer_get_length(bufferevent_get_output(bev)), events_text(bufferevent_get_enabled(bev)), events_text((short)event_pending(&bev->ev_read, EV_READ | EV_TIMEOUT, NULL)),
	    events_text((short)event_pending(&bev->ev_write, EV_WRITE | EV_TIMEOUT, NULL)));
}

static void ready(void)
{
	armed = 2;
	freed = 0;
	bufferevent_setcb(bev, on_read, on_write, on_event, NULL);
	evbuffer_add_cb(bufferevent_get_input(bev), on_input, NULL);
	evbuffer_add_cb(bufferevent_get_output(bev), on_output, NULL);
}

static void from_peer(int peer, const char *text)
{
	if (peer >= 0)
		trace(" sent %zd", write(peer, text, strlen(text)));
	else if (partner)
		bufferevent_write(partner, text, strlen(text));
}

static void play(int peer)
{
	ready();
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	turn();
	look(peer);
	from_peer(peer, "abc");
	turn();
	look(peer);
	if (!freed) {
		evbuffer_add_reference(bufferevent_get_output(bev), "out", 3, on_release, NULL);
		turn();
	}
	look(peer);
	from_peer(peer, "0123456789");
	turn();
	look(peer);
	if (!freed)
		bufferevent_write(bev, "last", 4);
	turn();
	look(peer);
	from_peer(peer, "end");
	if (peer >= 0)
		close(peer);
	else if (partner)
		bufferevent_flush(partner, EV_WRITE | EV_READ, BEV_FINISHED);
	turn();
	look(-1);
	if (!freed)
		bufferevent_write(bev, "too late", 8);
	turn();
	look(-1);
	armed = 0;
	if (!freed)
		bufferevent_free(bev);
	if (partner)
		bufferevent_free(partner);
	partner = NULL;
	turn();
}


/* See above. */
static int is_left_out(int kind, int options)
{
	int frees = what_ == FREE || what_ == HELD_FREE || what_ == WRITE_AND_FREE;
	int writes = what_ == WRITE || what_ == WRITE_TWICE || what_ == WRITE_AND_FREE || what_ == WRITE_AND_DISABLE;

	return (where == IN_OUTPUT && frees && kind != 1)
	    || (where == IN_RELEASE && (writes || what_ == TRIGGER_READ || what_ == TRIGGER_WRITE))
	    || (kind == 2 && (what_ == DISABLE_READ || what_ == DISABLE_ALL))
	    || (kind == 0 && options && where == IN_INPUT && writes)
	    || (kind != 0 && what_ == HIGH_MARK);
}

static void scenario(int kind, int o)
{
	struct timeval hour = { 3600, 0 };
	struct bufferevent *low, *both[2];
	int fd[2];

	base = a_base();
	must(event_base_priority_init(base, 3) == 0);
	cfg = ev_token_bucket_cfg_new(2, 2, 2, 2, &hour);
	a_pair(other);
	if (kind == 0) {
		a_pair(fd);
		bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE | o);
		play(fd[1]);
	} else {
		must(bufferevent_pair_new(base, o, both) == 0);
		partner = both[1];
		bufferevent_enable(partner, EV_READ | EV_WRITE);
		low = both[0];
		bev = kind == 1 ? low : bufferevent_filter_new(low, NULL, NULL, BEV_OPT_CLOSE_ON_FREE | o, NULL, NULL);
		play(-1);
	}
	ev_token_bucket_cfg_free(cfg);
	event_base_free(base);
}

int main(int argc, char **argv)
{
	static const int options[] = { 0, BEV_OPT_DEFER_CALLBACKS, BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS };
	static const char *const kinds[] = { "socket", "pair", "filter" };
	int i, fd, first;

	for (i = 0; i < 3 * 3 * PLACES * ACTIONS; i++) {
		int kind = i / ACTIONS / PLACES / 3, o = i / ACTIONS / PLACES % 3;

		where = (enum place)(i / ACTIONS % PLACES);
		what_ = (enum action)(i % ACTIONS);
		if (is_left_out(kind, options[o]))
			continue;
		if (argc > 4 && (atoi(argv[1]) != kind || atoi(argv[2]) != o || atoi(argv[3]) != (int)where || atoi(argv[4]) != (int)what_))
			continue;
		trace_shown = argc > 4;
		first = dup(0);
		close(first);
		trace_hash = 14695981039346656037u;
		scenario(kind, options[o]);
		say("%s, options %x: %s in %s: %016llx", kinds[kind], (unsigned)options[o], actions[what_], places[where],
		    (unsigned long long)trace_hash);
		/* Which descriptor was whose in the end is the action's doing. */
		for (fd = first; fd < first + 16; fd++)
			close(fd);
	}
	return 0;
}
