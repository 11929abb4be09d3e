/* Addresses as text, both ways, with ports and zones. conform: methods=epoll */
#include "conform.h"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

static void both_ways(int family, const char *text)
{
	unsigned char bytes[16];
	char again[64];
	int parsed = evutil_inet_pton(family, text, bytes);

	if (parsed == 1)
		say("pton %s: %s", text, evutil_inet_ntop(family, bytes, again, sizeof again));
	else
		say("pton %s: %d", text, parsed);
}

static void with_port(const char *text, int room)
{
	struct sockaddr_storage ss;
	char host[64];
	int length = room, parsed;

	memset(&ss, 0x55, sizeof ss);
	parsed = evutil_parse_sockaddr_port(text, (struct sockaddr *)&ss, &length);
	if (parsed != 0) {
		say("parse %s (%d): %d, %d", text, room, parsed, length);
		return;
	}
	if (ss.ss_family == AF_INET) {
		struct sockaddr_in *sin = (struct sockaddr_in *)&ss;

		say("parse %s (%d): 4 %s %d, %d", text, room,
		    evutil_inet_ntop(AF_INET, &sin->sin_addr, host, sizeof host), ntohs(sin->sin_port), length);
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&ss;

		say("parse %s (%d): 6 %s %d zone %d, %d", text, room,
		    evutil_inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof host), ntohs(sin6->sin6_port),
		    (int)sin6->sin6_scope_id, length);
	}
}

static void zone(int family, const char *text)
{
	unsigned char bytes[16];
	unsigned index = 99;
	int parsed = evutil_inet_pton_scope(family, text, bytes, &index);

	say("zone of %s: %d %s", text, parsed, parsed != 1 ? "-" : index == if_nametoindex("lo") ? "lo" : index ? "n" : "0");
}

int main(void)
{
	static const char *const v4[] = { "1.2.3.4", "0.0.0.0", "255.255.255.255", "127.000.000.001", "256.1.1.1", "1.2.3",
		"1.2.3.4.5", "", "a.b.c.d", "1.2.3.4x", "1..2.3", NULL };
	static const char *const v6[] = { "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:0:0:4:0:0:0:8", "::ffff:1.2.3.4", "::1.2.3.4",
		"::102:0", "::2:1", "::ffff:0:0", "fe80::1%1", "1::2::3", ":::1", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
		"::1.2.3", "::256.1.1.1", "g::", "", ":", "ABCD:EF01::", "0:0:1::", "1:2:3:4:5:6:1.2.3.4", "64:ff9b::1.2.3.4", NULL };
	static const char *const ports[] = { "1.2.3.4:80", "1.2.3.4", "[::1]:80", "[::1]", "::1", "[::1", "::1]:80", "[1.2.3.4]:80",
		"1.2.3.4:0", "1.2.3.4:65535", "1.2.3.4:65536", "1.2.3.4:", "1.2.3.4:-1", "[::1]:", "[::1]:0", "[::1]:99999", "host:80",
		"", "[]", "[]:80", ":80", "1.2.3.4: 80", "1.2.3.4:80x", "[fe80::1%1]:22", "fe80::1%1", "fe80::1%no-such-zone",
		NULL };
	unsigned char bytes[16] = { 0 };
	char text[64], *huge;
	int i, room;

	for (i = 0; v4[i]; i++)
		both_ways(AF_INET, v4[i]);
	for (i = 0; v6[i]; i++)
		both_ways(AF_INET6, v6[i]);
	show(evutil_inet_pton(AF_UNIX, "1.2.3.4", bytes));
	show(evutil_inet_ntop(AF_UNIX, bytes, text, sizeof text) != NULL);
	memset(bytes, 0xfe, sizeof bytes);
	for (room = 36; room < 42; room++)
		if (room != 39) /* libevent cuts the last character off */
			say("%d: %s", room, evutil_inet_ntop(AF_INET6, bytes, text, room) ? text : "no room");
	for (room = 13; room < 18; room++)
		say("%d: %s", room, evutil_inet_ntop(AF_INET, bytes, text, room) ? text : "no room");

	zone(AF_INET6, "fe80::1%lo");
	zone(AF_INET6, "fe80::1%17");
	zone(AF_INET6, "fe80::1");
	zone(AF_INET6, "fe80::1%17x");
	zone(AF_INET, "1.2.3.4");

	for (i = 0; ports[i]; i++)
		with_port(ports[i], sizeof(struct sockaddr_storage));
	with_port("1.2.3.4:5", sizeof(struct sockaddr_in));
	with_port("1.2.3.4:5", sizeof(struct sockaddr_in) - 1);
	with_port("[::1]:5", sizeof(struct sockaddr_in6));
	with_port("[::1]:5", sizeof(struct sockaddr_in6) - 1);
	with_port("[::1]:5", 0);

	/* CVE-2016-10196: more between the brackets than an int can count. */
	huge = malloc((size_t)0x80000000u + 16);
	if (huge) {
		memset(huge, 'a', (size_t)0x80000000u + 14);
		huge[0] = '[';
		strcpy(huge + 0x80000000u + 8, "]:1");
		room = sizeof(struct sockaddr_storage);
		{
			struct sockaddr_storage ss;

			say("huge: %d", evutil_parse_sockaddr_port(huge, (struct sockaddr *)&ss, &room));
		}
		free(huge);
	} else {
		say("huge: -1");
	}
	return 0;
}
