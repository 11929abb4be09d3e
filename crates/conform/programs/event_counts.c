/* Numbers a base keeps, its cached time, foreach and dump. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;

static void counts(const char *when)
{
	static const unsigned kinds[] = { EVENT_BASE_COUNT_ACTIVE, EVENT_BASE_COUNT_VIRTUAL, EVENT_BASE_COUNT_ADDED,
		EVENT_BASE_COUNT_ACTIVE | EVENT_BASE_COUNT_ADDED,
		EVENT_BASE_COUNT_ACTIVE | EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_VIRTUAL };
	unsigned i;

	printf("%s:", when);
	for (i = 0; i < 5; i++)
		printf(" %d/%d", event_base_get_num_events(base, kinds[i]), event_base_get_max_events(base, kinds[i], 0));
	printf("\n");
}

static struct timeval cached;

static void told(evutil_socket_t fd, short events, void *arg)
{
	struct timeval first, second;

	say("told %s", events_text(events));
	event_base_gettimeofday_cached(base, &first);
	usleep(2000);
	event_base_gettimeofday_cached(base, &second);
	show(evutil_timercmp(&first, &second, ==));
	show(event_base_update_cache_time(base));
	event_base_gettimeofday_cached(base, &cached);
	counts("in a callback");
}

static int each(const struct event_base *of, const struct event *ev, void *arg)
{
	int *seen = arg;

	(*seen)++;
	show(of == base && event_get_base(ev) == base);
	return *seen == 4 ? 77 : 0;
}

static int kinds_of(const struct event_base *of, const struct event *ev, void *arg)
{
	int *kinds = arg;

	if (event_get_events(ev) & EV_SIGNAL)
		kinds[0]++;
	else if (event_get_fd(ev) >= 0)
		kinds[1]++;
	else
		kinds[2]++;
	return 0;
}

/* Addresses, descriptors and times differ: only words are kept, of events that are not the library's own. */
static void dump(void)
{
	char line[512];
	FILE *file = tmpfile();

	must(file != NULL);
	event_base_dump_events(base, file);
	rewind(file);
	while (fgets(line, sizeof line, file)) {
		char *in, *out;

		if (strstr(line, "Internal"))
			continue;

		for (in = out = line; *in; in++) {
			if (in[0] == '0' && in[1] == 'x') {
				*out++ = '@';
				in += 2;
				while (strchr("0123456789abcdef", in[1]) && in[1])
					in++;
			} else if (!strncmp(in, "[fd  ", 5) && in[5] != '-') {
				memcpy(out, "[fd  #", 6);
				out += 6;
				in += 4;
				while (strchr("0123456789", in[1]) && in[1])
					in++;
			} else if (*in == '=' && strchr("0123456789.", in[1]) && in[1]) {
				*out++ = '=';
				*out++ = '#';
				while (strchr("0123456789.", in[1]) && in[1])
					in++;
			} else {
				*out++ = *in;
			}
		}
		*out = 0;
		printf("dump: %s", line);
	}
	fclose(file);
}

int main(void)
{
	struct event reads, writes, timer, usr1, lost;
	struct timeval tv = ms(500), far = { 500, 0 };
	int fd[2], seen = 0, kinds[3] = { 0, 0, 0 };

	base = a_base();
	a_pair(fd);
	counts("new");
	event_assign(&reads, base, fd[0], EV_READ | EV_PERSIST, told, NULL);
	event_assign(&writes, base, fd[1], EV_READ | EV_WRITE | EV_PERSIST | EV_ET, told, NULL);
	evtimer_assign(&timer, base, told, NULL);
	evsignal_assign(&usr1, base, SIGUSR1, told, NULL);
	event_assign(&lost, base, -1, 0, told, NULL);
	event_add(&reads, NULL);
	counts("reads");
	event_add(&reads, &far);
	counts("reads with a timeout");
	event_add(&timer, &tv);
	counts("timer");
	evsignal_add(&usr1, NULL);
	counts("signal");
	event_active(&lost, EV_READ, 1);
	counts("active");
	event_active(&reads, EV_READ, 1);
	counts("active and added");
	show(event_base_foreach_event(base, each, &seen));
	show(seen);
	show(event_base_foreach_event(base, kinds_of, kinds));
	say("signals %d, descriptors %d, others %d", kinds[0], kinds[1], kinds[2]);
	dump();
	event_base_loop(base, EVLOOP_NONBLOCK);
	counts("told");
	show(event_base_get_max_events(base, EVENT_BASE_COUNT_ACTIVE, 1) > 0);
	counts("cleared");
	event_del(&reads);
	evsignal_del(&usr1);
	show(event_base_dispatch(base));
	event_add(&writes, NULL);
	dump();
	event_del(&writes);
	dump();
	counts("end");
	event_base_free(base);
	return 0;
}
