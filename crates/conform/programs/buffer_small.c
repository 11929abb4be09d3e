/* Small calls: buffers that nobody listens to, with a lock, and with a callback, all do the same. conform: methods=epoll */
#include "conform.h"
#include <event2/thread.h>

static char text[20000];

static unsigned long sum(const char *bytes, size_t length)
{
	unsigned long sum = length;

	while (length--)
		sum = sum * 31 + (unsigned char)*bytes++;
	return sum;
}

static size_t came, left;

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	(void)arg;
	must(evbuffer_get_length(buffer) == info->orig_size + info->n_added - info->n_deleted);
	came += info->n_added;
	left += info->n_deleted;
}

static struct evbuffer *made(int kind)
{
	struct evbuffer *buffer = evbuffer_new();

	must(buffer != NULL);
	if (kind == 1)
		must(evbuffer_enable_locking(buffer, NULL) == 0);
	if (kind == 2)
		must(evbuffer_add_cb(buffer, changed, NULL) != NULL);
	return buffer;
}

/* In and out in pieces whose ends do not meet. */
static void pieces(int kind)
{
	static const size_t in[] = { 1, 64, 495, 496, 497, 0, 63, 1024, 3, 4096, 17000, 2 };
	static const size_t out[] = { 0, 1, 70, 600, 5, 4096, 1, 20000 };
	struct evbuffer *buffer = made(kind), *other = made(kind);
	char bytes[20000];
	size_t at = 0, total = 0;

	for (int round = 0; round < 200; round++) {
		size_t length = in[round % 12], wanted = out[round % 8];

		at = (at + 7) % 1000;
		must(evbuffer_add(buffer, text + at, length) == 0);
		total += length;
		if (round % 5 == 1) {
			must(evbuffer_drain(buffer, wanted) == 0);
		} else if (round % 5 == 2) {
			must(evbuffer_add_buffer(other, buffer) == 0);
			must(evbuffer_get_length(buffer) == 0);
			must(evbuffer_add(buffer, "between", 7) == 0);
			must(evbuffer_prepend_buffer(buffer, other) == 0);
		} else {
			int n = evbuffer_remove(buffer, bytes, wanted);

			must(n >= 0);
			say("%d: %d of %zu, %lx", round, n, evbuffer_get_length(buffer), sum(bytes, (size_t)n));
		}
		if (round % 50 == 49) {
			must(evbuffer_drain(buffer, 1000000) == 0);
			must(evbuffer_drain(buffer, 1) == 0);
			show(evbuffer_remove(buffer, bytes, 10));
		}
	}
	say("%zu came", total);
	evbuffer_free(buffer);
	evbuffer_free(other);
}

/* Texts around every length at which something might change, and the NUL behind them. */
static void texts(int kind)
{
	static const int lengths[] = { 0, 1, 62, 63, 64, 65, 255, 256, 400, 495, 496, 497, 511, 512, 1022, 1023, 1024, 1025, 2000, 9000, 19000 };
	struct evbuffer *all = made(kind);

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		struct evbuffer *buffer = made(kind);
		struct evbuffer_iovec vec;
		int printed = evbuffer_add_printf(buffer, "%.*s", lengths[i], text);

		must(printed == lengths[i] && evbuffer_get_length(buffer) == (size_t)printed);
		if (printed > 0) {
			must(evbuffer_peek(buffer, -1, NULL, &vec, 1) == 1 && vec.iov_len == (size_t)printed);
			must(strlen(vec.iov_base) == vec.iov_len && memcmp(vec.iov_base, text, vec.iov_len) == 0);
		}
		/* And more behind it. */
		must(evbuffer_add(buffer, "+", 1) == 0);
		must(evbuffer_add_printf(buffer, "%d%c%s", 42, 0, "x") == 4);
		must(evbuffer_add_printf(all, "%.*s", lengths[i], text) == lengths[i]);
		must(evbuffer_add_printf(all, "%s", "|") == 1);
		say("%d: %zu, %lx", printed, evbuffer_get_length(buffer), sum((char *)evbuffer_pullup(buffer, -1), evbuffer_get_length(buffer)));
		evbuffer_free(buffer);
	}
	say("all: %lx", sum((char *)evbuffer_pullup(all, -1), evbuffer_get_length(all)));
	evbuffer_free(all);
}

/* Room that was asked for stays good while something small comes in before it. */
static void rooms(int kind)
{
	struct evbuffer *buffer = made(kind);
	struct evbuffer_iovec vec;

	must(evbuffer_add(buffer, "abc", 3) == 0);
	must(evbuffer_reserve_space(buffer, 100, &vec, 1) == 1 && vec.iov_len >= 100);
	memset(vec.iov_base, 'x', 100);
	vec.iov_len = 50;
	must(evbuffer_commit_space(buffer, &vec, 1) == 0);
	must(evbuffer_add(buffer, "def", 3) == 0);
	must(evbuffer_add_printf(buffer, "%d", 123456) == 6);
	must(evbuffer_add(buffer, text, 2000) == 0);
	must(evbuffer_add(buffer, "end", 3) == 0);
	say("%zu, %lx", evbuffer_get_length(buffer), sum((char *)evbuffer_pullup(buffer, -1), evbuffer_get_length(buffer)));
	evbuffer_free(buffer);
}

static void lines(int kind)
{
	static const char given[] = "one\r\n\r\ntwo\nthree\r\n";
	struct evbuffer *buffer = made(kind);

	for (size_t step = 1; step < sizeof given; step++) {
		for (size_t at = 0; at + 1 < sizeof given; at += step) {
			size_t n = 99, length = sizeof given - 1 - at < step ? sizeof given - 1 - at : step;
			char *line;

			must(evbuffer_add_reference(buffer, given + at, length / 2, NULL, NULL) == 0);
			must(evbuffer_add(buffer, given + at + length / 2, length - length / 2) == 0);
			while ((line = evbuffer_readln(buffer, &n, EVBUFFER_EOL_CRLF)) != NULL) {
				say("%zu: %zu \"%s\", %zu left", step, n, line, evbuffer_get_length(buffer));
				free(line);
			}
			must(n == 0);
		}
		must(evbuffer_get_length(buffer) == 0);
	}
	evbuffer_free(buffer);
}

/* C libevent calls it in the midst of its work, so the buffer is not looked at. */
static void released(const void *data, size_t length, void *arg)
{
	(void)data;
	say("released %s, %zu bytes", (char *)arg, length);
}

static void releases(int kind)
{
	struct evbuffer *buffer = made(kind);
	char bytes[10];
	char *line;

	must(evbuffer_add_reference(buffer, "12345678", 8, released, "drained") == 0);
	must(evbuffer_drain(buffer, 7) == 0);
	say("one left");
	must(evbuffer_drain(buffer, 1) == 0);
	say("none left");
	must(evbuffer_add_reference(buffer, "12345678", 8, released, "removed") == 0);
	must(evbuffer_add(buffer, "9", 1) == 0);
	must(evbuffer_remove(buffer, bytes, 8) == 8 && memcmp(bytes, "12345678", 8) == 0);
	say("9 left");
	must(evbuffer_remove(buffer, bytes, 10) == 1);
	must(evbuffer_add_reference(buffer, "line\r\n", 6, released, "read") == 0);
	line = evbuffer_readln(buffer, NULL, EVBUFFER_EOL_CRLF);
	must(line != NULL && strcmp(line, "line") == 0);
	free(line);
	must(evbuffer_add_reference(buffer, "left", 4, released, "with the buffer") == 0);
	evbuffer_free(buffer);
}

/* What came before a callback is not told to it. */
static void told_late(void)
{
	struct evbuffer *buffer = evbuffer_new();
	char bytes[10];

	must(evbuffer_add(buffer, "before", 6) == 0 && evbuffer_drain(buffer, 2) == 0);
	must(evbuffer_add_printf(buffer, "%d", 10) == 2);
	came = left = 0;
	must(evbuffer_add_cb(buffer, changed, NULL) != NULL);
	must(evbuffer_add(buffer, "after", 5) == 0);
	say("%zu came, %zu left", came, left);
	must(evbuffer_remove(buffer, bytes, 10) == 10);
	must(evbuffer_remove_cb(buffer, changed, NULL) == 0);
	must(evbuffer_drain(buffer, 1) == 0);
	say("%zu came, %zu left", came, left);
	evbuffer_free(buffer);
}

/* Nothing can be so long. */
static void impossible(int kind)
{
	struct evbuffer *buffer = made(kind);

	must(evbuffer_add(buffer, NULL, 0) == 0);
	must(evbuffer_add(buffer, "x", 1) == 0);
	show(evbuffer_add(buffer, text, (size_t)-1));
	show(evbuffer_add(buffer, text, 0));
	show(evbuffer_get_length(buffer));
	show(evbuffer_drain(buffer, (size_t)-1));
	show(evbuffer_get_length(buffer));
	evbuffer_free(buffer);
}

int main(void)
{
	for (size_t i = 0; i + 1 < sizeof text; i++)
		text[i] = (char)('a' + i * 7 % 23);
	must(evthread_use_pthreads() == 0);
	for (int kind = 0; kind < 3; kind++) {
		came = left = 0;
		say("kind %d", kind);
		pieces(kind);
		texts(kind);
		rooms(kind);
		lines(kind);
		releases(kind);
		impossible(kind);
		say("%zu came, %zu left", came, left);
	}
	told_late();
	return 0;
}
