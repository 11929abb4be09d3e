/* Random bytes and clocks: also in a child. conform: methods=epoll */
#include "conform.h"

static void clock_of(int flags)
{
	struct evutil_monotonic_timer *timer = evutil_monotonic_timer_new();
	struct timeval before, after;
	int i, backwards = 0;

	must(timer);
	show(evutil_configure_monotonic_time(timer, flags));
	must(evutil_gettime_monotonic(timer, &before) == 0);
	for (i = 0; i < 10000; i++) {
		must(evutil_gettime_monotonic(timer, &after) == 0);
		backwards += evutil_timercmp(&after, &before, <);
		must(after.tv_usec >= 0 && after.tv_usec < 1000000);
		before = after;
	}
	show(backwards);
	usleep(30000);
	must(evutil_gettime_monotonic(timer, &after) == 0);
	evutil_timersub(&after, &before, &after);
	say("30 ms are %s", after.tv_sec == 0 && after.tv_usec >= 15000 ? "some" : "none");
	evutil_monotonic_timer_free(timer);
}

int main(void)
{
	unsigned char one[300], other[300], seen[256];
	int pipes[2], i, kinds = 0, equal;

	alarm(20);
	/* Debian's says -1, since it asks the kernel; others take the name. */
	evutil_secure_rng_set_urandom_device_file("/dev/urandom");
	show(evutil_secure_rng_init());
	memset(one, 0, sizeof one);
	memset(seen, 0, sizeof seen);
	evutil_secure_rng_get_bytes(one, 0);
	show(one[0]);
	evutil_secure_rng_get_bytes(one, 299);
	show(one[299]);
	for (i = 0; i < 299; i++)
		seen[one[i]] = 1;
	for (i = 0; i < 256; i++)
		kinds += seen[i];
	say("many kinds: %d", kinds > 100);
	evutil_secure_rng_get_bytes(other, 299);
	show(memcmp(one, other, 299) != 0);

	must(pipe(pipes) == 0);
	if (fork() == 0) {
		evutil_secure_rng_get_bytes(one, 299);
		_exit(write(pipes[1], one, 299) != 299);
	}
	evutil_secure_rng_get_bytes(other, 299);
	must(read(pipes[0], one, 299) == 299);
	equal = memcmp(one, other, 299) == 0;
	show(equal);

	clock_of(0);
	clock_of(EV_MONOT_PRECISE);
	clock_of(EV_MONOT_FALLBACK);
	evutil_monotonic_timer_free(NULL);
	return 0;
}
