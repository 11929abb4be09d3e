/* Comparing, printing, numbers, dates. conform: methods=epoll */
#include "conform.h"
#include <stdarg.h>
#include <time.h>

static int print(char *to, size_t room, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = evutil_vsnprintf(to, room, format, arguments);
	va_end(arguments);
	return length;
}

int main(void)
{
	static const char *const words[] = { "", "a", "A", "b", "abc", "ABC", "abd", "[", "_", "@", "\xc4", "\xe4", "z\xff", "Z", NULL };
	struct tm tm;
	time_t t = 784111777;
	char text[64], *end;
	int i, j;
	size_t room;

	for (i = 0; words[i]; i++)
		for (j = 0; words[j]; j++)
			say("%d %d: %d %d %d %d", i, j, evutil_ascii_strcasecmp(words[i], words[j]),
			    evutil_ascii_strncasecmp(words[i], words[j], 0), evutil_ascii_strncasecmp(words[i], words[j], 1),
			    evutil_ascii_strncasecmp(words[i], words[j], 99));
	for (room = 0; room < 9; room++) {
		memset(text, 'x', sizeof text);
		i = evutil_snprintf(text, room, "%d-%s", 12, "abc");
		say("%d: %d %.8s", (int)room, i, text);
		memset(text, 'x', sizeof text);
		i = print(text, room, "%.2f%c", 1.5, 'q');
		say("%d: %d %.8s", (int)room, i, text);
	}
	i = evutil_snprintf(text, sizeof text, "%d %d %d %d %d %d %d %d %.1f %.1f", 1, 2, 3, 4, 5, 6, 7, 8, 9.5, 10.5);
	say("%d %s", i, text);
	show(evutil_strtoll("12345678901234", &end, 10));
	show(*end);
	show(evutil_strtoll("-0x7fZ", &end, 16));
	say("rest %s", end);
	show(evutil_strtoll("077", NULL, 0));
	show(evutil_strtoll("99999999999999999999", NULL, 10) == INT64_MAX);
	show(evutil_strtoll("x", &end, 10));
	say("rest %s", end);

	must(gmtime_r(&t, &tm));
	show(evutil_date_rfc1123(text, sizeof text, &tm));
	say("%s", text);
	for (room = 0; room < 32; room += 7) {
		memset(text, 'x', sizeof text);
		text[63] = 0;
		i = evutil_date_rfc1123(text, room, &tm);
		say("%d: %d %.30s", (int)room, i, text);
	}
	t = -1;
	must(gmtime_r(&t, &tm));
	show(evutil_date_rfc1123(text, sizeof text, &tm));
	say("%s", text);
	show(evutil_date_rfc1123(text, sizeof text, NULL));
	show(strlen(text));
	return 0;
}
