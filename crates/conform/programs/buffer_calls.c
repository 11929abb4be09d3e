/* What each function of buffer.h gives back, at the edges too. conform: methods=epoll */
#include "conform.h"
#include <event2/buffer_compat.h>
#include <limits.h>

static void contents(const char *what, struct evbuffer *buffer)
{
	size_t length = evbuffer_get_length(buffer);
	unsigned char *bytes = evbuffer_pullup(buffer, -1);

	say("%s: %zu \"%.*s\"", what, length, (int)length, bytes ? (char *)bytes : "");
}

static struct evbuffer *of(const char *text)
{
	struct evbuffer *buffer = evbuffer_new();

	must(buffer != NULL && evbuffer_add(buffer, text, strlen(text)) == 0);
	return buffer;
}

static void lines(void)
{
	static const char *const styles[] = { "any", "crlf", "strict", "lf", "nul" };
	static const char text[] = "one\r\n\r\ntwo\nthree\n\rfour\rfive\r\r\nsix\0seven\r\n";

	for (int style = EVBUFFER_EOL_ANY; style <= EVBUFFER_EOL_NUL + 1; style++) {
		struct evbuffer *buffer = evbuffer_new();
		size_t n;
		char *line;

		/* Byte by byte, so that ends of lines lie across chunks. */
		for (size_t i = 0; i + 1 < sizeof text; i++)
			must(evbuffer_add_reference(buffer, text + i, 1, NULL, NULL) == 0);
		n = 9;
		while ((line = evbuffer_readln(buffer, &n, (enum evbuffer_eol_style)style)) != NULL) {
			say("%s: %zu %s", style > EVBUFFER_EOL_NUL ? "?" : styles[style], n, line);
			free(line);
		}
		say("rest %zu, n %zu", evbuffer_get_length(buffer), n);
		evbuffer_free(buffer);
	}
	struct evbuffer *buffer = of("old\r\n\n\nstyle\n");
	char *line;

	while ((line = evbuffer_readline(buffer)) != NULL) {
		say("readline %s", line);
		free(line);
	}
	show(evbuffer_readln(buffer, NULL, EVBUFFER_EOL_LF) == NULL);
	evbuffer_free(buffer);
}

static void positions(void)
{
	struct evbuffer *buffer = of("0123456789abcdef0123"), *empty = evbuffer_new();
	struct evbuffer_ptr at, to, found;
	char bytes[8] = "";
	size_t eol = 7;

	show(evbuffer_ptr_set(buffer, &at, 20, EVBUFFER_PTR_SET));
	show(at.pos);
	show(evbuffer_peek(buffer, -1, &at, NULL, 0));
	show(evbuffer_copyout_from(buffer, &at, bytes, 4));
	show(evbuffer_ptr_set(buffer, &at, 0, EVBUFFER_PTR_ADD));
	show(evbuffer_ptr_set(buffer, &at, 1, EVBUFFER_PTR_ADD));
	show(at.pos);
	show(evbuffer_ptr_set(buffer, &at, 1, EVBUFFER_PTR_ADD));
	show(at.pos);
	show(evbuffer_ptr_set(buffer, &at, 21, EVBUFFER_PTR_SET));
	show(at.pos);
	show(evbuffer_ptr_set(buffer, &at, 3, EVBUFFER_PTR_SET));
	show(evbuffer_ptr_set(buffer, &at, SIZE_MAX - 1, EVBUFFER_PTR_ADD));
	show(evbuffer_ptr_set(buffer, &at, 3, EVBUFFER_PTR_SET));
	show(evbuffer_search(buffer, "0123", 4, &at).pos);
	show(evbuffer_search(buffer, "0123", 4, NULL).pos);
	show(evbuffer_search(buffer, "", 0, &at).pos);
	show(evbuffer_search(empty, "", 0, NULL).pos);
	show(evbuffer_search(empty, "a", 1, NULL).pos);
	show(evbuffer_search(buffer, "x", 1, NULL).pos);
	show(evbuffer_search(buffer, "01234567890", 11, NULL).pos);
	must(evbuffer_ptr_set(buffer, &to, 19, EVBUFFER_PTR_SET) == 0);
	show(evbuffer_search_range(buffer, "0123", 4, &at, &to).pos);
	must(evbuffer_ptr_set(buffer, &to, 20, EVBUFFER_PTR_SET) == 0);
	show(evbuffer_search_range(buffer, "0123", 4, &at, &to).pos);
	found = evbuffer_search_eol(buffer, NULL, &eol, EVBUFFER_EOL_LF);
	say("no eol: %ld %zu", (long)found.pos, eol);
	show(evbuffer_copyout_from(buffer, &at, bytes, 4));
	say("%.4s", bytes);
	show(evbuffer_copyout_from(buffer, &at, bytes, (size_t)SSIZE_MAX));
	show(evbuffer_find(buffer, (const unsigned char *)"abc", 3) == evbuffer_pullup(buffer, -1) + 10);
	show(evbuffer_find(buffer, (const unsigned char *)"abd", 3) == NULL);
	show(evbuffer_find(buffer, (const unsigned char *)"", 0) == NULL);
	show(evbuffer_pullup(buffer, 21) == NULL);
	show(evbuffer_pullup(buffer, 0) == NULL);
	show(evbuffer_pullup(empty, -1) == NULL);
	show(evbuffer_get_contiguous_space(buffer));
	show(evbuffer_get_contiguous_space(empty));
	evbuffer_free(buffer);
	evbuffer_free(empty);
}

static void freezing(void)
{
	for (int front = 0; front < 2; front++) {
		struct evbuffer *buffer = of("line\nrest"), *other = of("other"), *ours = of("ours");
		struct evbuffer_iovec vector = { (void *)"vec", 3 };
		char bytes[4];
		int printed;

		say("frozen at the %s", front ? "front" : "back");
		show(evbuffer_freeze(buffer, front));
		show(evbuffer_add(buffer, "x", 1));
		show(evbuffer_add(buffer, "", 0));
		show(evbuffer_prepend(buffer, "x", 1));
		show(evbuffer_prepend(buffer, "", 0));
		show(evbuffer_add_iovec(buffer, &vector, 1));
		printed = evbuffer_add_printf(buffer, "%d", 12);
		show(printed);
		show(evbuffer_add_reference(buffer, "ref", 3, NULL, NULL));
		show(evbuffer_expand(buffer, 100));
		show(evbuffer_reserve_space(buffer, 10, &vector, 1));
		vector.iov_len = 0;
		show(evbuffer_commit_space(buffer, &vector, 1));
		show(evbuffer_commit_space(buffer, &vector, 0));
		show(evbuffer_add_buffer(buffer, other));
		show(evbuffer_add_buffer(buffer, buffer));
		show(evbuffer_prepend_buffer(buffer, other));
		show(evbuffer_add_buffer_reference(buffer, ours));
		show(evbuffer_add_buffer_reference(ours, buffer));
		show(evbuffer_remove_buffer(buffer, other, 2));
		show(evbuffer_remove_buffer(ours, buffer, 2));
		show(evbuffer_remove_buffer(buffer, other, 0));
		show(evbuffer_remove(buffer, bytes, 0));
		show(evbuffer_remove(buffer, bytes, 2));
		show(evbuffer_copyout(buffer, bytes, 2));
		char *line = evbuffer_readln(buffer, NULL, EVBUFFER_EOL_LF);

		show(line != NULL);
		free(line);
		show(evbuffer_drain(buffer, 1));
		show(evbuffer_read(buffer, -1, 1));
		show(evbuffer_write(buffer, -1));
		show(evbuffer_unfreeze(buffer, front));
		contents("buffer", buffer);
		contents("other", other);
		contents("ours", ours);
		evbuffer_drain(buffer, 1000);
		evbuffer_freeze(buffer, front);
		show(evbuffer_drain(buffer, 1));
		show(evbuffer_remove(buffer, bytes, 2));
		show(evbuffer_add_buffer(other, buffer));
		evbuffer_free(buffer);
		evbuffer_free(other);
		evbuffer_free(ours);
	}
}

static void room(void)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_iovec vectors[3];
	void *first;

	show(evbuffer_reserve_space(buffer, 100, vectors, 0));
	show(evbuffer_reserve_space(buffer, -1, vectors, 1));
	show(evbuffer_reserve_space(buffer, -1, vectors, 2));
	show(evbuffer_reserve_space(buffer, 0, vectors, 2));
	show(evbuffer_reserve_space(buffer, 100, vectors, 1));
	show(vectors[0].iov_len >= 100);
	memcpy(vectors[0].iov_base, "abcdef", 6);
	first = vectors[0].iov_base;
	show(evbuffer_reserve_space(buffer, 50, vectors, 2));
	show(vectors[0].iov_base == first);
	vectors[0].iov_len = 6;
	show(evbuffer_commit_space(buffer, vectors, 1));
	show(evbuffer_commit_space(buffer, vectors, 1));
	contents("committed", buffer);
	show(evbuffer_reserve_space(buffer, 5000, vectors, 2));
	vectors[1].iov_len = 1u << 20;
	show(evbuffer_commit_space(buffer, vectors, 2));
	vectors[0].iov_len = 2;
	vectors[1].iov_len = 1;
	memcpy(vectors[0].iov_base, "gh", 2);
	memcpy(vectors[1].iov_base, "i", 1);
	first = vectors[1].iov_base;
	vectors[1].iov_base = "nowhere";
	show(evbuffer_commit_space(buffer, vectors, 2));
	vectors[1].iov_base = first;
	show(evbuffer_drain(buffer, 3));
	show(evbuffer_commit_space(buffer, vectors, 2));
	contents("in two", buffer);
	show(evbuffer_reserve_space(buffer, 5000, vectors, 2));
	vectors[0] = vectors[1];
	vectors[0].iov_len = 0;
	show(evbuffer_commit_space(buffer, vectors, 1));
	show(evbuffer_reserve_space(buffer, 10, vectors, 1));
	evbuffer_drain(buffer, 100);
	vectors[0].iov_len = 1;
	show(evbuffer_commit_space(buffer, vectors, 1));
	show(evbuffer_expand(buffer, 100000));
	show(evbuffer_add(buffer, "x", 1));
	show(evbuffer_get_length(buffer));
	evbuffer_free(buffer);
}

static int released;
static void release(const void *data, size_t length, void *arg)
{
	released++;
	say("released %.*s %s", (int)length, (const char *)data, (char *)arg);
}

static void references(void)
{
	struct evbuffer *one = evbuffer_new(), *two = of("two"), *three = evbuffer_new();
	char bytes[20];

	show(evbuffer_add_reference(one, "reference", 9, release, "first"));
	show(evbuffer_prepend(one, "a ", 2));
	show(evbuffer_add(one, " b", 2));
	show(evbuffer_add_buffer_reference(two, one));
	show(evbuffer_add_buffer_reference(three, two));
	show(evbuffer_add_buffer_reference(one, two));
	show(evbuffer_add_buffer_reference(one, one));
	show(evbuffer_add_buffer_reference(three, three));
	show(evbuffer_add_buffer_reference(three, one));
	evbuffer_drain(one, 100);
	show(released);
	show(evbuffer_remove(two, bytes, 20));
	show(released);
	evbuffer_free(one);
	contents("three", three);
	evbuffer_free(three);
	show(released);
	/* Refused: the memory stays the caller's. */
	evbuffer_freeze(two, 0);
	show(evbuffer_add_reference(two, "refused", 7, release, "second"));
	evbuffer_unfreeze(two, 0);
	show(released);
	show(evbuffer_add_reference(two, "in the buffer", 13, release, "third"));
	evbuffer_free(two);
	show(released);
}

static void between(void)
{
	struct evbuffer *one = of("one"), *two = of("two");
	int fd[2];
	char bytes[100] = "";

	show(evbuffer_add_buffer(one, one));
	show(evbuffer_prepend_buffer(one, two));
	contents("prepended", one);
	show(evbuffer_add_buffer(one, two));
	show(evbuffer_remove_buffer(one, two, 4));
	show(evbuffer_remove_buffer(one, one, 4));
	show(evbuffer_remove_buffer(one, two, 400));
	contents("moved", two);
	a_pair(fd);
	show(evbuffer_write(one, fd[0]));
	show(evbuffer_write_atmost(two, fd[0], 0));
	show(evbuffer_write_atmost(two, fd[0], 2));
	show(evbuffer_write_atmost(two, fd[0], 200));
	show(evbuffer_write_atmost(two, fd[0], -1));
	show(evbuffer_read(one, fd[1], 1));
	show(evbuffer_read(one, fd[1], 0));
	show(evbuffer_read(one, fd[1], -1));
	show(evbuffer_read(one, fd[1], -1));
	show(errno == EAGAIN);
	contents("through the pair", one);
	for (int i = 0; i < 100; i++)
		must(evbuffer_add(one, bytes, 100) == 0);
	show(evbuffer_write(one, fd[0]));
	show(evbuffer_read(two, fd[1], 100000));
	show(evbuffer_read(two, fd[1], -1));
	show(evbuffer_read(two, fd[1], 100));
	close(fd[0]);
	show(evbuffer_read(two, fd[1], 5000));
	show(evbuffer_read(two, fd[1], 5000));
	evbuffer_add(one, "x", 1);
	show(evbuffer_write(one, fd[1]));
	show(errno == EPIPE);
	show(evbuffer_write(one, -1));
	show(errno == EBADF);
	show(evbuffer_get_length(one));
	close(fd[1]);
	evbuffer_free(one);
	evbuffer_free(two);
}

static int vprintf_into(struct evbuffer *buffer, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = evbuffer_add_vprintf(buffer, format, arguments);
	va_end(arguments);
	return length;
}

static void printing(void)
{
	struct evbuffer *buffer = evbuffer_new();
	static char spaces[5001];
	int printed;

	memset(spaces, ' ', 5000);
	printed = evbuffer_add_printf(buffer, "%s", "");
	show(printed);
	printed = evbuffer_add_printf(buffer, "%d %s %g %c %lld %d %d %d %d", 1, "two", 3.5, '4', 5ll, 6, 7, 8, 9);
	show(printed);
	/* A NUL stands behind what was printed. */
	say("%s", (char *)evbuffer_pullup(buffer, -1));
	printed = vprintf_into(buffer, "%s%s%s", spaces, "!", spaces);
	show(printed);
	printed = vprintf_into(buffer, "|%g|%g|%g|%g|%g|%g|%g|%g|%g|%d", 1., 2., 3., 4., 5., 6., 7., 8., 9., 10);
	show(printed);
	evbuffer_drain(buffer, 10000);
	contents("printed", buffer);
	evbuffer_free(buffer);
}

static void vectors(void)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_iovec vectors[4] = { { "a", 1 }, { NULL, 0 }, { "bc", 2 }, { "def", 3 } };
	struct evbuffer_ptr at;

	show(evbuffer_add_iovec(buffer, vectors, 4));
	show(evbuffer_add_iovec(buffer, vectors, 0));
	contents("vectors", buffer);
	for (int i = 0; i < 5; i++)
		must(evbuffer_add_reference(buffer, "0123456789", 10, NULL, NULL) == 0);
	show(evbuffer_peek(buffer, -1, NULL, NULL, 0));
	show(evbuffer_peek(buffer, 17, NULL, NULL, 0));
	show(evbuffer_peek(buffer, 16, NULL, NULL, 0));
	show(evbuffer_peek(buffer, 0, NULL, NULL, 0));
	show(evbuffer_peek(buffer, 40, NULL, vectors, 2));
	show(evbuffer_peek(buffer, -1, NULL, vectors, 2));
	show(vectors[1].iov_len);
	must(evbuffer_ptr_set(buffer, &at, 20, EVBUFFER_PTR_SET) == 0);
	show(evbuffer_peek(buffer, 0, &at, vectors, 4));
	show(vectors[0].iov_len);
	say("%.*s", (int)vectors[0].iov_len, (char *)vectors[0].iov_base);
	show(evbuffer_peek(buffer, 3, &at, vectors, 4));
	show(evbuffer_peek(buffer, -1, &at, vectors, 4));
	show(evbuffer_peek(buffer, -1, &at, NULL, 0));
	evbuffer_free(buffer);
}

int main(void)
{
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	lines();
	positions();
	freezing();
	room();
	references();
	between();
	printing();
	vectors();
	return 0;
}
