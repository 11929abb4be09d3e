/* Tagged data from somebody who lies: 40,000 buffers, each read by every function, in one piece and byte by byte; the answers
 * and what is left must be the same. conform: methods=epoll */
#include "conform.h"
#include <event2/tag.h>

int evtag_decode_int(ev_uint32_t *number, struct evbuffer *buffer);
int evtag_decode_int64(ev_uint64_t *number, struct evbuffer *buffer);
int evtag_decode_tag(ev_uint32_t *tag, struct evbuffer *buffer);

static uint64_t state = 88172645463325252ull, sum = 14695981039346656037ull;

static uint32_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 11);
}

static void mix(uint64_t value)
{
	sum = (sum ^ value) * 1099511628211ull;
}

static void left(struct evbuffer *buffer, int result)
{
	mix(result);
	mix(evbuffer_get_length(buffer));
	evbuffer_drain(buffer, -1);
}

static void fill(struct evbuffer *buffer, const unsigned char *bytes, size_t length, int pieces)
{
	size_t i;

	if (!pieces) {
		evbuffer_add(buffer, bytes, length);
		return;
	}
	/* Each byte in its own chain. */
	for (i = 0; i < length; i++)
		evbuffer_add_reference(buffer, bytes + i, 1, NULL, NULL);
}

static void read_all_ways(const unsigned char *bytes, size_t length, int pieces)
{
	struct evbuffer *buffer = evbuffer_new(), *to = evbuffer_new();
	ev_uint32_t number = 1, tag = 2, need = bytes[0] & 0x7f;
	ev_uint64_t big = 3;
	struct timeval tv = { 4, 5 };
	char *text = NULL, fixed[256];
	int result, kind;

	for (kind = 0; kind < 13; kind++) {
		fill(buffer, bytes, length, pieces);
		number = tag = 1;
		big = 1;
		switch (kind) {
		case 0: result = evtag_decode_tag(&tag, buffer); break;
		case 1: result = evtag_decode_int(&number, buffer); break;
		case 2: result = evtag_decode_int64(&big, buffer); break;
		case 3: result = evtag_peek(buffer, &tag); break;
		case 4: result = evtag_payload_length(buffer, &number); break;
		case 5:
			/* With the header it is more than 32 bits can say: C libevent gives a small number. */
			if (evtag_payload_length(buffer, &number) == 0 && number > UINT32_MAX - 16)
				result = -1;
			else
				result = evtag_peek_length(buffer, &number);
			break;
		case 6: result = evtag_unmarshal_header(buffer, &tag); break;
		case 7: result = evtag_consume(buffer); break;
		case 8: result = evtag_unmarshal(buffer, &tag, to); break;
		case 9: result = evtag_unmarshal_int(buffer, need, &number); break;
		case 10: result = evtag_unmarshal_int64(buffer, need, &big); break;
		case 11: result = evtag_unmarshal_fixed(buffer, need, fixed, length % 7); break;
		default: result = evtag_unmarshal_timeval(buffer, need, &tv); break;
		}
		if (result >= 0) {
			mix(number);
			mix(tag);
			mix(big);
		}
		left(buffer, result);
		mix(evbuffer_get_length(to));
		evbuffer_drain(to, -1);
	}
	fill(buffer, bytes, length, pieces);
	result = evtag_unmarshal_string(buffer, need, &text);
	if (result == 0) {
		mix(strlen(text));
		free(text);
	}
	left(buffer, result);
	evbuffer_free(buffer);
	evbuffer_free(to);
}

int main(void)
{
	/* A length of 2^31, which as an int is less than nothing; of 2^32 - 1; more than is there; a tag without an end. */
	static const unsigned char known[][16] = {
		{ 1, 0x70, 0, 0, 0, 0x80, 'x' }, { 1, 0x7f, 0xff, 0xff, 0xff, 0xf0, 'x' }, { 1, 0x0f, 'x' }, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 0xff, 0xff, 0xff, 0xff, 0x1f, 0 }, { 1, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0 }, { 1, 0x01, 0x70, 0, 0, 0, 0 }, { 1, 0x00, 0x00 } };
	unsigned char bytes[256];
	size_t i, j;

	for (i = 0; i < sizeof known / sizeof *known; i++)
		for (j = 1; j <= sizeof *known; j++)
			read_all_ways(known[i], j, j & 1);
	say("known: %016llx", (unsigned long long)sum);
	for (i = 1; i <= 40000; i++) {
		size_t length = 1 + next() % (i % 10 ? 24 : 255);

		for (j = 0; j < length; j++)
			bytes[j] = next();
		if (i % 3) {
			/* Plausible: a tag of one byte and a length that could be there. */
			bytes[0] &= 0x7f;
			if (length > 1)
				bytes[1] &= i % 2 ? 0x0f : 0x1f;
		}
		read_all_ways(bytes, length, i & 1);
		if (i % 2000 == 0)
			say("%d: %016llx", (int)i, (unsigned long long)sum);
	}
	return 0;
}
