/* Whatever a program may do to evbuffers within their callbacks: every operation while another one is told, on the two buffers
 * that both are about, once and within itself. A number each of what it saw; with the three numbers of one as arguments it says
 * all.
 *
 * Left out, because C libevent goes on with what it has freed: a buffer's end, and all its callbacks' (evbuffer_setcb), within
 * one of them. And a part that is moved on (evbuffer_remove_buffer), which C libevent tells the receiver of while the bytes are in both
 * buffers, where they can be had twice. conform: methods=epoll seconds=60 */
#include "conform.h"
#include "random.h"
#include <event2/buffer_compat.h>

static struct evbuffer *a, *b;
static int inner, armed, depth, fd[2], freed_a, freed_b;
static struct evbuffer_cb_entry *entry_a;

enum {
	ADD, ADD_NOTHING, PREPEND, PRINTF, IOVEC, REFERENCE, COMMIT, DRAIN_2, DRAIN_ALL, DRAIN_0, REMOVE_2, REMOVE_ALL, READLN,
	READLN_NUL, ADD_BUFFER, ADD_BUFFER_BACK, PREPEND_BUFFER, REMOVE_BUFFER_2, REMOVE_BUFFER_ALL, REMOVE_BUFFER_BACK,
	BUFFER_REFERENCE, PULLUP, EXPAND, RESERVE, SEARCH, COPYOUT, WRITE, READ, FREEZE_A, FREEZE_B, FREE_A, FREE_B, CALLBACK_OFF,
	CALLBACK_GONE, CALLBACK_NEW, SETCB, PEEK, COMMIT_NONE, FIND, OPERATIONS
};
static const char *const operations[OPERATIONS] = {
	"add", "add nothing", "prepend", "printf", "iovec", "reference", "commit", "drain 2", "drain all", "drain 0", "remove 2",
	"remove all", "readln", "readln nul", "add_buffer", "add_buffer back", "prepend_buffer", "remove_buffer 2",
	"remove_buffer all", "remove_buffer back", "buffer_reference", "pullup", "expand", "reserve", "search", "copyout", "write",
	"read", "freeze a", "freeze b", "free a", "free b", "callback off", "callback gone", "callback new", "setcb", "peek",
	"commit none", "find"
};

static void told(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg);

static void told_new(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	trace("%*snew: %zu +%zu -%zu, now %zu", depth, "", info->orig_size, info->n_added, info->n_deleted, evbuffer_get_length(buffer));
}

static void told_old(struct evbuffer *buffer, size_t before, size_t after, void *arg)
{
	trace("%*sold: %zu %zu, now %zu", depth, "", before, after, evbuffer_get_length(buffer));
}

static void operate(int which)
{
	struct evbuffer_iovec v[3];
	char bytes[200] = "";
	char *line;
	long result = 0;

	switch (which) {
	case ADD: result = evbuffer_add(a, "added", 5); break;
	case ADD_NOTHING: result = evbuffer_add(a, "", 0); break;
	case PREPEND: result = evbuffer_prepend(a, "before", 6); break;
	case PRINTF: result = evbuffer_add_printf(a, "%d\n", 12345); break;
	case IOVEC:
		v[0] = (struct evbuffer_iovec){ "ab", 2 };
		v[1] = (struct evbuffer_iovec){ "", 0 };
		v[2] = (struct evbuffer_iovec){ "cde", 3 };
		result = (long)evbuffer_add_iovec(a, v, 3);
		break;
	case REFERENCE: result = evbuffer_add_reference(a, "reference", 9, NULL, NULL); break;
	case COMMIT:
		result = evbuffer_reserve_space(a, 10, v, 1);
		if (result == 1) {
			memcpy(v[0].iov_base, "committed", 9);
			v[0].iov_len = 9;
			result = evbuffer_commit_space(a, v, 1);
		}
		break;
	case DRAIN_2: result = evbuffer_drain(a, 2); break;
	case DRAIN_ALL: result = evbuffer_drain(a, 1000); break;
	case DRAIN_0: result = evbuffer_drain(a, 0); break;
	case REMOVE_2: result = evbuffer_remove(a, bytes, 2); break;
	case REMOVE_ALL: result = evbuffer_remove(a, bytes, 200); break;
	case READLN:
	case READLN_NUL:
		line = evbuffer_readln(a, NULL, which == READLN ? EVBUFFER_EOL_LF : EVBUFFER_EOL_NUL);
		trace("%*sline %s", depth, "", line ? line : "-");
		free(line);
		break;
	case ADD_BUFFER: result = evbuffer_add_buffer(b, a); break;
	case ADD_BUFFER_BACK: result = evbuffer_add_buffer(a, b); break;
	case PREPEND_BUFFER: result = evbuffer_prepend_buffer(b, a); break;
	case REMOVE_BUFFER_2: result = evbuffer_remove_buffer(a, b, 2); break;
	case REMOVE_BUFFER_ALL: result = evbuffer_remove_buffer(a, b, 2000); break;
	case REMOVE_BUFFER_BACK: result = evbuffer_remove_buffer(b, a, 3); break;
	case BUFFER_REFERENCE: result = evbuffer_add_buffer_reference(b, a); break;
	case PULLUP: result = evbuffer_pullup(a, -1) != NULL; break;
	case EXPAND: result = evbuffer_expand(a, 100); break;
	case RESERVE: result = evbuffer_reserve_space(a, 100, v, 2) >= 1; break;
	case SEARCH: result = evbuffer_search(a, "ed", 2, NULL).pos; break;
	case COPYOUT: result = evbuffer_copyout(a, bytes, 5); break;
	case WRITE: result = evbuffer_write_atmost(a, fd[0], 4); break;
	case READ:
		must(write(fd[0], "written", 7) == 7);
		result = evbuffer_read(a, fd[1], 5);
		read_all(fd[1]);
		break;
	case FREEZE_A: result = evbuffer_freeze(a, depth & 1); break;
	case FREEZE_B: result = evbuffer_freeze(b, depth & 1); break;
	case FREE_A: freed_a = 1; evbuffer_free(a); break;
	case FREE_B: freed_b = 1; evbuffer_free(b); break;
	case CALLBACK_OFF: evbuffer_cb_clear_flags(a, entry_a, EVBUFFER_CB_ENABLED); break;
	case CALLBACK_GONE: result = evbuffer_remove_cb(a, told, "a"); break;
	case CALLBACK_NEW: evbuffer_add_cb(a, told_new, NULL); break;
	case SETCB: result = evbuffer_setcb(b, told_old, NULL); break;
	case PEEK: result = evbuffer_peek(a, -1, NULL, NULL, 0) > 0; break;
	case COMMIT_NONE: result = evbuffer_commit_space(a, v, 0); break;
	case FIND: result = evbuffer_find(a, (const unsigned char *)"ne", 2) != NULL; break;
	}
	trace("%*s%s = %ld %s", depth, "", operations[which], result, bytes);
}

static void told(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	trace("%*s%s: %zu +%zu -%zu, now %zu", depth, "", (char *)arg, info->orig_size, info->n_added,
	    info->n_deleted, evbuffer_get_length(buffer));
	if (armed-- <= 0 || freed_a || freed_b)
		return;
	depth += 2;
	operate(inner);
	depth -= 2;
}

static struct evbuffer *made(const char *text, char *name)
{
	struct evbuffer *buffer = evbuffer_new();

	must(buffer != NULL && evbuffer_add(buffer, text, strlen(text) + 1) == 0);
	evbuffer_add_reference(buffer, "and a\nreference", 15, NULL, NULL);
	return buffer;
}

static void contents(struct evbuffer *buffer, const char *name, int freed)
{
	char bytes[1000];
	ev_ssize_t got;

	if (freed)
		return;
	evbuffer_unfreeze(buffer, 0);
	evbuffer_unfreeze(buffer, 1);
	evbuffer_setcb(buffer, NULL, NULL);
	got = evbuffer_remove(buffer, bytes, sizeof bytes);
	for (ev_ssize_t i = 0; i < got; i++)
		if (bytes[i] < ' ')
			bytes[i] = '|';
	trace("%s: %.*s", name, (int)got, bytes);
	evbuffer_free(buffer);
}

/* See above. */
static int is_left_out(int outer, int times)
{
	int outer_moves = outer == REMOVE_BUFFER_2 || outer == REMOVE_BUFFER_BACK;
	int inner_moves = inner == REMOVE_BUFFER_2 || inner == REMOVE_BUFFER_BACK;
	int tells_b = outer == ADD_BUFFER_BACK || outer == BUFFER_REFERENCE;

	return outer_moves || (inner_moves && times == 2) || inner == FREE_A || (tells_b && (inner == FREE_B || inner == SETCB));
}

static void scenario(int outer, int times)
{
	a_pair(fd);
	a = made("one\ntwo\nthree", "a");
	b = made("four\nfive", "b");
	freed_a = freed_b = depth = 0;
	armed = times;
	evbuffer_add_cb(a, told_new, NULL);
	entry_a = evbuffer_add_cb(a, told, "a");
	evbuffer_add_cb(b, told_new, NULL);
	evbuffer_add_cb(b, told, "b");
	operate(outer);
	armed = 0;
	contents(a, "a", freed_a);
	contents(b, "b", freed_b);
}

int main(int argc, char **argv)
{
	int i;

	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < OPERATIONS * OPERATIONS * 2; i++) {
		int outer = i / OPERATIONS / 2, times = 1 + i / OPERATIONS % 2;

		inner = i % OPERATIONS;
		if (is_left_out(outer, times))
			continue;
		if (argc > 3 && (atoi(argv[1]) != outer || atoi(argv[2]) != times || atoi(argv[3]) != inner))
			continue;
		trace_shown = argc > 3;
		trace_hash = 14695981039346656037u;
		scenario(outer, times);
		say("%s in %s, %d times: %016llx", operations[inner], operations[outer], times, (unsigned long long)trace_hash);
		close(fd[0]);
		close(fd[1]);
	}
	return 0;
}
