/* Tagged data: its bytes, and what is read from them. conform: methods=epoll */
#include "conform.h"
#include <event2/tag.h>

/* Exported for rpcgen's programs, in no header. */
int evtag_decode_int(ev_uint32_t *number, struct evbuffer *buffer);
int evtag_decode_int64(ev_uint64_t *number, struct evbuffer *buffer);
int evtag_encode_tag(struct evbuffer *buffer, ev_uint32_t tag);
int evtag_decode_tag(ev_uint32_t *tag, struct evbuffer *buffer);

static void bytes_of(const char *name, struct evbuffer *buffer)
{
	size_t length = evbuffer_get_length(buffer), i;
	unsigned char *bytes = evbuffer_pullup(buffer, -1);
	char text[256] = "";

	for (i = 0; i < length && i < 100; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	say("%s: %s", name, text);
}

int main(void)
{
	static const uint32_t numbers[] = { 0, 1, 0xf, 0x10, 0x7f, 0x80, 0xff, 0x100, 0x3fff, 0x4000, 0xdead, 0xbeef00, 0xdeadbeef,
		0x7fffffff, 0x80000000, 0xffffffff };
	static const uint64_t longs[] = { 0, 0xffffffffffffffffull, 0x8000000000000000ull, 0x123456789abcdef0ull, 0x100000000ull };
	struct evbuffer *one = evbuffer_new(), *other = evbuffer_new();
	struct timeval tv = { 0xdeadbeef, 999999 }, read;
	ev_uint32_t number, tag;
	ev_uint64_t big;
	char *text, fixed[8];
	size_t i;

	evtag_init();
	for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		evtag_encode_int(one, numbers[i]);
		bytes_of("int", one);
		number = 7;
		show(evtag_decode_int(&number, one));
		show(number == numbers[i] && evbuffer_get_length(one) == 0);
		show(evtag_encode_tag(one, numbers[i]));
		bytes_of("tag", one);
		show(evtag_encode_tag(NULL, numbers[i]));
		show(evtag_peek(one, &tag));
		show(evtag_peek(one, NULL));
		show(evtag_decode_tag(&tag, one));
		show(tag == numbers[i]);
		evtag_marshal_int(one, numbers[i], numbers[i]);
		bytes_of("tagged", one);
		show(evtag_peek_length(one, &number));
		show(number);
		show(evtag_payload_length(one, &number));
		show(number);
		show(evtag_unmarshal_int(one, numbers[i], &number));
		show(number == numbers[i] && evbuffer_get_length(one) == 0);
	}
	for (i = 0; i < sizeof longs / sizeof *longs; i++) {
		evtag_encode_int64(one, longs[i]);
		bytes_of("int64", one);
		show(evtag_decode_int64(&big, one));
		show(big == longs[i]);
		evtag_encode_int64(one, longs[i]);
		show(evtag_decode_int(&number, one));
		evbuffer_drain(one, -1);
		evtag_marshal_int64(one, 3, longs[i]);
		bytes_of("tagged", one);
		show(evtag_unmarshal_int64(one, 3, &big));
		show(big == longs[i]);
	}
	evtag_marshal_string(one, 1, "hello");
	evtag_marshal(one, 2, "\0\1\2", 3);
	evtag_marshal_timeval(one, 300, &tv);
	evbuffer_add(other, "in a buffer", 11);
	evtag_marshal_buffer(one, 4, other);
	evtag_marshal(one, 5, "", 0);
	show(evbuffer_get_length(other));
	bytes_of("all", one);
	show(evtag_unmarshal_string(one, 1, &text));
	say("%s", text);
	free(text);
	show(evtag_unmarshal_fixed(one, 2, fixed, 3));
	show(fixed[2]);
	show(evtag_unmarshal_timeval(one, 300, &read));
	show(read.tv_sec == tv.tv_sec && read.tv_usec == tv.tv_usec);
	show(evtag_unmarshal(one, &tag, other));
	show(tag);
	bytes_of("moved", other);
	show(evtag_consume(one));
	show(evtag_consume(one));
	show(evbuffer_get_length(one));

	/* Not what was wanted. */
	evtag_marshal_string(one, 1, "x");
	show(evtag_unmarshal_string(one, 2, &text));
	bytes_of("left", one);
	evbuffer_drain(one, -1);
	evtag_marshal_string(one, 1, "abc");
	show(evtag_unmarshal_fixed(one, 1, fixed, 2));
	bytes_of("left", one);
	evbuffer_drain(one, -1);
	evtag_marshal_string(one, 1, "abc");
	show(evtag_unmarshal_int(one, 2, &number));
	bytes_of("left", one);
	evbuffer_free(one);
	evbuffer_free(other);
	return 0;
}
