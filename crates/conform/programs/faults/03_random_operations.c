/* Random operations on four evbuffers; after each one its result and the state of all are mixed into a number, which is said
 * now and then. What depends on the sizes of chunks is left out. DUOLU_SEED and DUOLU_OPERATIONS choose others, DUOLU_EACH says every number.
 * conform: methods=epoll seconds=60 */
#include "conform.h"
#include <event2/buffer_compat.h>

#define BUFFERS 4
#define MOST 60000

static struct evbuffer *buffers[BUFFERS];
/* Parts of it came by evbuffer_add_buffer_reference, or are a file: libevent does not refer to them again, and where it pulls
 * up the former it writes into the memory that others share (buffer_alone.c), so that is not compared. */
static int lent[BUFFERS];
/* Others refer to bytes of it: freed, libevent keeps all it has until the last of those is gone. Here only those stay. */
static int lends[BUFFERS];
static uint64_t state, hash = 14695981039346656037u;
static int fd[2], file;
static char text[70000];
/* Says every value, to find the one that differs. */
static int each;

static unsigned below(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state >> 16) % n);
}

static void mix_at(int line, uint64_t value)
{
	hash = (hash ^ value) * 1099511628211u;
	hash ^= hash >> 29;
	if (each)
		say("  %d: %lld", line, (long long)value);
}

#define mix(value) mix_at(__LINE__, (uint64_t)(value))

static void mix_bytes(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;

	mix(length);
	while (length--)
		hash = (hash ^ *at++) * 1099511628211u;
}

/* What was copied into `text`, if anything could be. */
static void mix_copied(ev_ssize_t length)
{
	mix(length);
	if (length > 0)
		mix_bytes(text, (size_t)length);
}

static size_t a_length(void)
{
	static const unsigned most[] = { 3, 3, 20, 20, 20, 200, 200, 700, 3000, 20000 };

	return below(most[below(10)] + 1);
}

/* Few different bytes, so that there is something to find. */
static const char *some_bytes(size_t length)
{
	static char bytes[70000];

	for (size_t i = 0; i < length; i++)
		bytes[i] = "ab\r\n\0c"[below(6)];
	return bytes;
}

static void released(const void *data, size_t length, void *arg)
{
	mix_bytes(data, length);
	mix(77);
	free(arg);
}

static void segment_released(const struct evbuffer_file_segment *segment, int flags, void *arg)
{
	(void)segment;
	mix((unsigned)flags + (uintptr_t)arg);
}

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	mix((uintptr_t)arg);
	mix(info->orig_size);
	mix(info->n_added);
	mix(info->n_deleted);
	mix(evbuffer_get_length(buffer));
}

static void changed_old(struct evbuffer *buffer, size_t before, size_t after, void *arg)
{
	mix((uintptr_t)arg);
	mix(before * 31 + after);
	mix(evbuffer_get_length(buffer));
}

static void add(int one)
{
	size_t length = a_length();
	const char *bytes = some_bytes(length);
	struct evbuffer_iovec vectors[3];
	char *copy;

	switch (below(8)) {
	case 0: case 1:
		mix(evbuffer_add(buffers[one], bytes, length));
		break;
	case 2:
		mix(evbuffer_prepend(buffers[one], bytes, length));
		break;
	case 3:
		mix(evbuffer_add_printf(buffers[one], "%u %.*s|%s", below(1000), (int)(length % 50), "0123456789012345678901234567890123456789", below(9) ? "" : text + 60000));
		break;
	case 4:
		/* A longer one is split without a copy here, and released only when both parts are gone. */
		length %= 1000;
		if (!length)
			break;
		copy = malloc(length);
		memcpy(copy, bytes, length);
		if (evbuffer_add_reference(buffers[one], copy, length, released, copy) < 0) {
			mix(3);
			free(copy);
		}
		break;
	case 5:
		for (int i = 0; i < 3; i++) {
			vectors[i].iov_base = (char *)bytes + i * (length / 3);
			vectors[i].iov_len = length / 3;
		}
		mix(evbuffer_add_iovec(buffers[one], vectors, 3));
		break;
	case 6: {
		struct evbuffer_file_segment *segment = evbuffer_file_segment_new(file, below(30000), 900 + below(9000),
		    EVBUF_FS_DISABLE_SENDFILE | (below(2) ? EVBUF_FS_DISABLE_MMAP : 0));

		must(segment != NULL);
		evbuffer_file_segment_add_cleanup_cb(segment, segment_released, (void *)(uintptr_t)below(99));
		/* libevent lets go of the segment where it refuses, so it is tried only where it does not. */
		if (evbuffer_add(buffers[one], "", 0) == 0) {
			mix(evbuffer_add_file_segment(buffers[one], segment, below(500), 1 + below(400)) & 1);
			lent[one] = 1;
		}
		evbuffer_file_segment_free(segment);
		break;
	}
	case 7:
		if (evbuffer_add(buffers[one], "", 0) == 0) {
			mix(evbuffer_add_file(buffers[one], dup(file), below(30000), 1 + (off_t)(length % 9000)));
			lent[one] = 1;
		}
		break;
	}
}

static void reserve(int one)
{
	struct evbuffer_iovec vectors[4];
	size_t wanted = 1 + a_length(), left = below((unsigned)wanted) + below(2), length = evbuffer_get_length(buffers[one]);
	/* One piece where there are bytes may be one that libevent does not take back. */
	int most = 1 + (length > 0) + (int)below(3), used = 0, count;
	const char *bytes = some_bytes(wanted);

	count = evbuffer_reserve_space(buffers[one], (ev_ssize_t)wanted, vectors, most);
	mix(count < 0);
	if (count < 0)
		return;
	while (used < count && left) {
		if (vectors[used].iov_len > left)
			vectors[used].iov_len = left;
		memcpy(vectors[used].iov_base, bytes, vectors[used].iov_len);
		left -= vectors[used].iov_len;
		bytes += vectors[used].iov_len;
		used++;
	}
	if (below(3) == 0 && length > 1)
		mix(evbuffer_drain(buffers[one], below((unsigned)length - 1)));
	if (below(10) == 0 && used) {
		vectors[0].iov_len = 1u << 30;
		mix(evbuffer_commit_space(buffers[one], vectors, used));
	} else if (below(10)) {
		mix(evbuffer_commit_space(buffers[one], vectors, used));
	}
}

static void transfer(int one, int two)
{
	switch (below(5)) {
	case 0:
		if (evbuffer_add_buffer(buffers[one], buffers[two]) == 0) {
			lent[one] |= lent[two];
			mix(1);
		}
		break;
	case 1:
		if (evbuffer_prepend_buffer(buffers[one], buffers[two]) == 0) {
			lent[one] |= lent[two];
			mix(1);
		}
		break;
	case 2: case 3:
		mix(evbuffer_remove_buffer(buffers[two], buffers[one], a_length()));
		lent[one] |= lent[two];
		break;
	case 4:
		if (!lent[two] && evbuffer_get_length(buffers[two])) {
			mix(evbuffer_add_buffer_reference(buffers[one], buffers[two]));
			lent[one] = lends[two] = 1;
		}
		break;
	}
}

static void look(int one)
{
	static const enum evbuffer_eol_style styles[] = { EVBUFFER_EOL_ANY, EVBUFFER_EOL_CRLF, EVBUFFER_EOL_CRLF_STRICT,
		EVBUFFER_EOL_LF, EVBUFFER_EOL_NUL };
	struct evbuffer *buffer = buffers[one];
	size_t length = evbuffer_get_length(buffer), eol = 0, needle = below(5);
	struct evbuffer_ptr start, end, found;
	const char *what = some_bytes(needle);

	mix(evbuffer_ptr_set(buffer, &start, below((unsigned)length + 2), EVBUFFER_PTR_SET));
	mix(start.pos);
	mix(evbuffer_ptr_set(buffer, &start, below(20), EVBUFFER_PTR_ADD));
	mix(start.pos);
	if (start.pos < 0)
		must(evbuffer_ptr_set(buffer, &start, 0, EVBUFFER_PTR_SET) == 0);
	must(evbuffer_ptr_set(buffer, &end, below((unsigned)length + 1), EVBUFFER_PTR_SET) == 0);
	if (needle) {
		found = evbuffer_search(buffer, what, needle, below(2) ? &start : NULL);
		mix(found.pos);
		found = evbuffer_search_range(buffer, what, needle, &start, &end);
		mix(found.pos);
		if (found.pos >= 0)
			mix_copied(evbuffer_copyout_from(buffer, &found, text, needle));
	}
	found = evbuffer_search_eol(buffer, below(2) ? &start : NULL, &eol, styles[below(5)]);
	mix(found.pos);
	mix(eol);
	mix_copied(evbuffer_copyout_from(buffer, &start, text, a_length()));
	if (below(2)) {
		struct evbuffer_iovec vectors[200];
		int count = evbuffer_peek(buffer, -1, &start, vectors, 200);
		size_t seen = 0;

		for (int i = 0; i < count && i < 200; i++)
			seen += vectors[i].iov_len;
		mix(count < 200 ? seen : 0);
	}
	if (below(8) == 0 && needle && !lent[one]) {
		unsigned char *at = evbuffer_find(buffer, (const unsigned char *)what, needle);

		mix(at != NULL);
		if (at)
			mix_bytes(at, needle);
	}
}

static void take(int one)
{
	static const enum evbuffer_eol_style styles[] = { EVBUFFER_EOL_ANY, EVBUFFER_EOL_CRLF, EVBUFFER_EOL_CRLF_STRICT,
		EVBUFFER_EOL_LF, EVBUFFER_EOL_NUL };
	struct evbuffer *buffer = buffers[one];
	size_t length = a_length() * 2;
	int got;

	switch (below(6)) {
	case 0: case 1:
		mix(evbuffer_drain(buffer, length));
		break;
	case 2:
		mix_copied(evbuffer_remove(buffer, text, length));
		break;
	case 3: {
		size_t n = 5;
		char *line = evbuffer_readln(buffer, &n, styles[below(5)]);

		mix(n);
		if (line) {
			mix_bytes(line, n + 1);
			free(line);
		}
		break;
	}
	case 4: {
		ev_ssize_t size = (ev_ssize_t)below(8) ? (ev_ssize_t)length : -1;
		unsigned char *at = lent[one] ? NULL : evbuffer_pullup(buffer, size);

		mix(at != NULL);
		if (at)
			mix_bytes(at, size < 0 ? evbuffer_get_length(buffer) : (size_t)size);
		break;
	}
	case 5:
		if (lent[one])
			break;
		/* In one piece: how many are written at once differs. */
		evbuffer_pullup(buffer, -1);
		mix(evbuffer_write_atmost(buffer, fd[0], (ev_ssize_t)(length % 9000) - 1));
		while ((got = evbuffer_read(buffers[below(BUFFERS)], fd[1], (int)below(6000) - 1)) > 0)
			mix(got);
		mix(got);
		read_all(fd[1]);
		break;
	}
}

static void callbacks(int one)
{
	struct evbuffer *buffer = buffers[one];
	void *arg = (void *)(uintptr_t)below(3);
	struct evbuffer_cb_entry *entry;

	switch (below(5)) {
	case 0:
		if (below(4))
			break;
		entry = evbuffer_add_cb(buffer, changed, arg);
		if (below(2))
			evbuffer_cb_clear_flags(buffer, entry, EVBUFFER_CB_ENABLED);
		if (below(2))
			evbuffer_cb_set_flags(buffer, entry, EVBUFFER_CB_ENABLED);
		if (below(3) == 0)
			mix(evbuffer_remove_cb_entry(buffer, entry));
		break;
	case 1:
		mix(evbuffer_remove_cb(buffer, changed, arg));
		break;
	case 2:
		if (below(8) == 0)
			mix(evbuffer_setcb(buffer, below(3) ? changed_old : NULL, arg));
		break;
	case 3:
		evbuffer_freeze(buffer, (int)below(2));
		break;
	case 4:
		evbuffer_unfreeze(buffer, 1);
		evbuffer_unfreeze(buffer, 0);
		break;
	}
}

static void step(void)
{
	int one = (int)below(BUFFERS), two = (one + 1 + (int)below(BUFFERS - 1)) % BUFFERS;

	switch (evbuffer_get_length(buffers[one]) > MOST ? 9 : below(12)) {
	case 0: case 1: case 2:
		add(one);
		break;
	case 3:
		reserve(one);
		break;
	case 4: case 5:
		transfer(one, two);
		break;
	case 6: case 7:
		look(one);
		break;
	case 8:
		callbacks(one);
		break;
	case 10:
		if (below(20) == 0 && !lends[one]) {
			evbuffer_free(buffers[one]);
			must((buffers[one] = evbuffer_new()) != NULL);
		} else {
			mix(evbuffer_expand(buffers[one], a_length()));
		}
		break;
	default:
		take(one);
		break;
	}
	for (int i = 0; i < BUFFERS; i++) {
		size_t length = evbuffer_get_length(buffers[i]);

		mix(length);
		if (!length)
			lent[i] = 0;
		if (length > 2 * MOST) {
			evbuffer_unfreeze(buffers[i], 1);
			mix(evbuffer_drain(buffers[i], MOST));
		}
	}
	mix_copied(evbuffer_copyout(buffers[one], text, 30));
}

int main(void)
{
	const char *seed = getenv("DUOLU_SEED"), *operations = getenv("DUOLU_OPERATIONS");
	long most = operations ? atol(operations) : 60000;
	char name[] = "/tmp/duolu-conform-XXXXXX";

	each = getenv("DUOLU_EACH") != NULL;
	signal(SIGPIPE, SIG_IGN);
	state = (seed ? strtoull(seed, NULL, 10) : 1) * 2654435761u + 88172645463325252u;
	for (size_t i = 0; i < sizeof text - 1; i++)
		text[i] = (char)('a' + i % 26);
	text[sizeof text - 1] = 0;
	a_pair(fd);
	file = mkstemp(name);
	must(file >= 0 && unlink(name) == 0 && write(file, text, 40000) == 40000);
	for (int i = 0; i < BUFFERS; i++)
		must((buffers[i] = evbuffer_new()) != NULL);
	for (long i = 0; i < most; i++) {
		memset(text + 60000, 'x', 5000 + i % 2000);
		text[65000 + i % 2000] = 0;
		step();
		if (each || i % 1000 == 0)
			say("%ld %016llx", i, (unsigned long long)hash);
	}
	for (int i = 0; i < BUFFERS; i++) {
		size_t length;

		evbuffer_unfreeze(buffers[i], 1);
		length = evbuffer_get_length(buffers[i]);
		if (length && !lent[i])
			mix_bytes(evbuffer_pullup(buffers[i], -1), length);
		mix(evbuffer_drain(buffers[i], length));
	}
	for (int i = 0; i < BUFFERS; i++) {
		evbuffer_free(buffers[i]);
		say("at the end %016llx", (unsigned long long)hash);
	}
	return 0;
}
