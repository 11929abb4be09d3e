/* Lengths that no buffer can have, and changes at the wrong moment: refused, and nothing is changed (CVE-2014-6272,
 * CVE-2015-6525; chunks without bytes before others, CVE-2026-63381). conform: methods=epoll */
#include "conform.h"
#include <event2/buffer_compat.h>
#include <limits.h>

static struct evbuffer *buffer;

static void same(void)
{
	char bytes[8] = "";

	say("  %zu %ld %.3s", evbuffer_get_length(buffer), (long)evbuffer_copyout(buffer, bytes, 7), bytes);
}

int main(void)
{
	static const size_t lengths[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 3, SIZE_MAX - 47, (size_t)SSIZE_MAX,
		(size_t)SSIZE_MAX - 3, (size_t)SSIZE_MAX - 47 };
	struct evbuffer_iovec vectors[3];
	struct evbuffer *other = evbuffer_new();

	alarm(60);
	buffer = evbuffer_new();
	evbuffer_add(buffer, "abc", 3);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		say("%zu", lengths[i]);
		show(evbuffer_expand(buffer, lengths[i]));
		show(evbuffer_reserve_space(buffer, (ev_ssize_t)lengths[i], vectors, 1));
		show(evbuffer_reserve_space(buffer, (ev_ssize_t)lengths[i], vectors, 2));
		show(evbuffer_reserve_space(buffer, (ev_ssize_t)lengths[i], vectors, 3));
		same();
		show(evbuffer_drain(other, lengths[i]));
		show(evbuffer_remove_buffer(other, buffer, lengths[i]));
		show(evbuffer_remove(other, vectors, lengths[i]));
		show(evbuffer_pullup(buffer, (ev_ssize_t)(lengths[i] & SSIZE_MAX)) == NULL);
		same();
	}
	show(evbuffer_add(buffer, "abc", SIZE_MAX));
	show(evbuffer_prepend(buffer, "abc", SIZE_MAX));
	same();
	show(evbuffer_drain(buffer, SIZE_MAX));
	show(evbuffer_expand(buffer, SIZE_MAX));
	show(evbuffer_expand(buffer, (size_t)SSIZE_MAX));
	same();

	say("without bytes");
	show(evbuffer_add_reference(buffer, "", 0, NULL, NULL));
	show(evbuffer_prepend(buffer, "foo", 3));
	show(evbuffer_add(buffer, "", 0));
	show(evbuffer_reserve_space(buffer, 1 << 12, vectors, 2) >= 1);
	vectors[0].iov_len = vectors[1].iov_len = 0;
	show(evbuffer_commit_space(buffer, vectors, 1));
	show(evbuffer_reserve_space(buffer, 1 << 13, vectors, 2) >= 1);
	same();
	evbuffer_drain(buffer, 3);
	for (int i = 0; i < 3; i++) {
		show(evbuffer_add_reference(buffer, NULL, 0, NULL, NULL));
		show(evbuffer_prepend(buffer, "x", 1));
		show(evbuffer_add_reference(buffer, "r", 1, NULL, NULL));
		show(evbuffer_add_reference(buffer, "", 0, NULL, NULL));
		show(evbuffer_prepend_buffer(other, buffer));
		show(evbuffer_add_reference(buffer, "", 0, NULL, NULL));
		show(evbuffer_add_buffer(other, buffer));
		show(evbuffer_remove_buffer(other, buffer, 1));
		show(evbuffer_add(other, "y", 1));
		show(evbuffer_pullup(other, -1) != NULL);
		same();
	}
	evbuffer_add_buffer(buffer, other);
	say("%.*s", (int)evbuffer_get_length(buffer), (char *)evbuffer_pullup(buffer, -1));
	evbuffer_free(buffer);
	evbuffer_free(other);
	return 0;
}
