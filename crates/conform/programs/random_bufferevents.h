/* What random_bufferevents.c has to do with: the bufferevents it makes, their filters, and the traces of what they did. */
#ifndef RANDOM_BUFFEREVENTS_H
#define RANDOM_BUFFEREVENTS_H

#define CHAINS 2
#define LEVELS 3
#define NODES (CHAINS * 2 * LEVELS)
#define BOTH (EV_READ | EV_WRITE)

enum kind { PAIR, SOCKET, FILTER };
enum filter { PLAIN, DOUBLING, CHUNKS, HOLDING, FILTERS };
enum part { READS, WRITES, EVENTS, FILTERED_IN, FILTERED_OUT, PARTS };

/* A bufferevent, and what is known of it. */
struct node {
	struct bufferevent *bev;
	struct node *below, *above;
	enum kind kind;
	enum filter filter;
	uint64_t random[PARTS], hash[PARTS];
	unsigned replies, sent;
	int options, touched, ends, what;
};

static struct event_base *base;
static struct node nodes[NODES];
static struct ev_token_bucket_cfg *limits[4];
static struct bufferevent_rate_limit_group *group;
static int sockets, flushes, raw[CHAINS], left, depth, calls;
/* Between sockets there are answers to what was just written, and nothing else that may meet them. */
static int answers;
static enum part now;

/* Between sockets each has its own numbers, and for each direction: who is called first is the kernel's to say. */
static unsigned of(struct node *n, unsigned limit)
{
	uint64_t all = random_state;
	unsigned number;

	if (!sockets)
		return below(limit);
	random_state = n->random[now];
	number = below(limit);
	n->random[now] = random_state;
	random_state = all;
	return number;
}

static int number(struct node *n)
{
	return (int)(n - nodes);
}

/* What was done, or has happened, to one of them. */
static void note(struct node *n, enum part part, const char *format, ...)
{
	uint64_t all = trace_hash;
	char line[200];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (sockets && depth)
		trace_hash = n->hash[part];
	trace("%*s%d: %s", depth * 2, "", number(n), line);
	if (sockets && depth) {
		n->hash[part] = trace_hash;
		trace_hash = all;
	}
}

static unsigned sum_of(const unsigned char *bytes, size_t length)
{
	unsigned sum = 0;

	while (length--)
		sum = sum * 31 + *bytes++;
	return sum;
}

static enum bufferevent_filter_result change(struct node *n, enum part part, struct evbuffer *from, struct evbuffer *to,
    ev_ssize_t limit, enum bufferevent_flush_mode mode)
{
	size_t there = evbuffer_get_length(from), room = limit < 0 ? 100000 : (size_t)limit, take = there;
	unsigned char bytes[4000];

	depth++;
	note(n, part, "filter %d has %zu, limit %zd, mode %d", (int)part, there, (ssize_t)limit, (int)mode);
	depth--;
	if (n->filter == CHUNKS && mode == BEV_NORMAL)
		take -= take % 64;
	if (n->filter == DOUBLING)
		room /= 2;
	if (take > room)
		take = room;
	if (take > 1000)
		take = 1000;
	/* BEV_OK means that something was done: for one that says so and does nothing C libevent goes on forever. */
	if (take == 0)
		return BEV_NEED_MORE;
	evbuffer_remove(from, bytes, take);
	evbuffer_add(to, bytes, take);
	if (n->filter == DOUBLING)
		evbuffer_add(to, bytes, take);
	return n->filter == HOLDING && take == there ? BEV_NEED_MORE : BEV_OK;
}

static enum bufferevent_filter_result change_in(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	return change(arg, FILTERED_IN, from, to, limit, mode);
}

static enum bufferevent_filter_result change_out(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
    enum bufferevent_flush_mode mode, void *arg)
{
	return change(arg, FILTERED_OUT, from, to, limit, mode);
}

static void filter_is_freed(void *arg)
{
	struct node *n = arg;

	trace("filter of %d is freed", number(n));
}

static void take(struct node *n, enum part part, size_t most)
{
	unsigned char bytes[2000];
	size_t length = bufferevent_read(n->bev, bytes, most < sizeof bytes ? most : sizeof bytes);

	note(n, part, "read %zu, sum %u", length, sum_of(bytes, length));
}

static void send_some(struct node *n, enum part part, unsigned most)
{
	unsigned char bytes[2000];
	unsigned length = 1 + of(n, most), i;
	struct evbuffer *buffer;

	n->touched = 1;
	for (i = 0; i < length; i++)
		bytes[i] = (unsigned char)(number(n) * 17 + n->sent++);
	switch (of(n, 3)) {
	case 0: note(n, part, "write %u: %d", length, bufferevent_write(n->bev, bytes, length)); break;
	case 1: note(n, part, "add %u: %d", length, evbuffer_add(bufferevent_get_output(n->bev), bytes, length)); break;
	default:
		buffer = evbuffer_new();
		evbuffer_add(buffer, bytes, length);
		note(n, part, "write buffer %u: %d", length, bufferevent_write_buffer(n->bev, buffer));
		evbuffer_free(buffer);
		break;
	}
}

static void on_read(struct bufferevent *bev, void *arg);
static void on_write(struct bufferevent *bev, void *arg);
static void on_event(struct bufferevent *bev, short what, void *arg);

static void set_callbacks(struct node *n, int all)
{
	bufferevent_setcb(n->bev, all || of(n, 8) ? on_read : NULL, all || of(n, 8) ? on_write : NULL,
	    all || of(n, 8) ? on_event : NULL, n);
}

/* The filter goes first; what is below it goes with it, or is the program's again. */
static void release(struct node *n, enum part part)
{
	struct node *below = n->below;
	struct bufferevent *bev = n->bev;

	note(n, part, "free");
	n->bev = NULL;
	bufferevent_free(bev);
	for (; below && n->options & BEV_OPT_CLOSE_ON_FREE; n = below, below = n->below)
		below->bev = NULL;
	if (below)
		below->above = NULL;
}

static int options(int more)
{
	static const int all[] = { 0, BEV_OPT_DEFER_CALLBACKS, BEV_OPT_THREADSAFE,
		BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS,
		BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS };

	return all[below(5)] | more;
}

/* One end of a connection: what is at the bottom, and filters upon it. */
static void stack(struct node *n, struct bufferevent *bottom, enum kind kind, int made_with)
{
	int filters = below(LEVELS), i, part;

	memset(n, 0, LEVELS * sizeof *n);
	n->bev = bottom;
	n->kind = kind;
	n->options = made_with;
	bufferevent_set_max_single_read(bottom, 2000);
	for (i = 0; i < filters; i++) {
		struct node *filter = n + i + 1;

		filter->filter = below(FILTERS);
		filter->kind = FILTER;
		filter->options = options(below(2) ? BEV_OPT_CLOSE_ON_FREE : 0);
		filter->below = n + i;
		n[i].above = filter;
		filter->bev = bufferevent_filter_new(n[i].bev, filter->filter ? change_in : NULL,
		    filter->filter ? change_out : NULL, filter->options, filter_is_freed, filter);
		must(filter->bev);
	}
	for (i = 0; i <= filters; i++)
		for (part = 0; part < PARTS; part++)
			n[i].random[part] = random_next() + 1;
	n += filters;
	set_callbacks(n, 1);
	bufferevent_enable(n->bev, filters || below(4) ? BOTH : EV_WRITE);
}

static void build(void)
{
	struct bufferevent *pair[2];
	int chain, fd[2], made_with;

	for (chain = 0; chain < CHAINS; chain++) {
		struct node *n = &nodes[chain * 2 * LEVELS];

		raw[chain] = -1;
		made_with = options(BEV_OPT_CLOSE_ON_FREE);
		if (!sockets) {
			must(bufferevent_pair_new(base, made_with, pair) == 0);
			stack(n, pair[0], PAIR, made_with);
			stack(n + LEVELS, pair[1], PAIR, made_with);
			continue;
		}
		a_pair(fd);
		stack(n, bufferevent_socket_new(base, fd[0], made_with), SOCKET, made_with);
		if (below(2)) {
			made_with = options(BEV_OPT_CLOSE_ON_FREE);
			stack(n + LEVELS, bufferevent_socket_new(base, fd[1], made_with), SOCKET, made_with);
		} else {
			memset(n + LEVELS, 0, LEVELS * sizeof *n);
			raw[chain] = fd[1];
		}
	}
}

#endif
