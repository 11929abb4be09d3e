/* Every allocation fails in turn: bases and events. conform: alone=C-libevent-aborts seconds=60 */
#include "alloc.h"
#include <event2/event_struct.h>
#include <event2/event_compat.h>

static int told;

static void count(evutil_socket_t fd, short events, void *arg)
{
	told++;
}

static int base_plain(void)
{
	struct event_base *base = event_base_new();
	int result = 0;

	may(base);
	right(event_base_loop(base, EVLOOP_NONBLOCK) == 1);
	event_base_free(base);
out:
	return result;
}

static int base_config(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;
	int result = 0;

	may(config);
	may(event_config_avoid_method(config, "kqueue") == 0);
	may(event_config_avoid_method(config, "devpoll") == 0);
	right(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0);
	base = event_base_new_with_config(config);
	may(base);
	may(event_base_priority_init(base, 20) == 0);
	right(event_base_get_npriorities(base) == 20);
out:
	if (base)
		event_base_free(base);
	if (config)
		event_config_free(config);
	return result;
}

static int event_io(void)
{
	struct event_base *base = event_base_new();
	struct event *one = NULL, *other = NULL;
	int fd[2], result = 0;

	a_pair(fd);
	may(base);
	may(one = event_new(base, fd[0], EV_READ, count, NULL));
	may(other = event_new(base, fd[1], EV_WRITE, count, NULL));
	may(event_add(one, NULL) == 0);
	may(event_add(other, NULL) == 0);
	write_byte(fd[1], 'x');
	told = 0;
	right(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	right(told == 2);
	right(event_del(other) == 0);
	right(!event_pending(one, EV_READ, NULL) && !event_pending(other, EV_WRITE, NULL));
out:
	if (one)
		event_free(one);
	if (other)
		event_free(other);
	if (base)
		event_base_free(base);
	close(fd[0]);
	close(fd[1]);
	return result;
}

static struct event many[3000];

/* Tables grow; who was refused is not pending, everybody else is. */
static int many_timers(void)
{
	struct event_base *base = event_base_new();
	struct timeval tv = { 100, 0 };
	int i, added = 0, result = 0;

	may(base);
	for (i = 0; i < 3000; i++) {
		event_assign(&many[i], base, -1, 0, count, NULL);
		tv.tv_usec = i * 7;
		if (event_add(&many[i], &tv) != 0)
			break;
		added++;
	}
	right(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED) == added);
	if (i < 3000) {
		right(!event_pending(&many[i], EV_TIMEOUT, NULL));
		result = -1;
	}
	right(event_base_loop(base, EVLOOP_NONBLOCK) == (added ? 0 : 1));
	for (i = 0; i < added; i++) {
		right(event_pending(&many[i], EV_TIMEOUT, NULL));
		right(event_del(&many[i]) == 0);
	}
	right(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED) == 0);
	event_base_free(base);
out:
	return result;
}

static int many_descriptors(void)
{
	static int fds[300];
	struct event_base *base = event_base_new();
	int i, n = 0, added = 0, fd[2], result = 0;

	a_pair(fd);
	while (n < 300 && (fds[n] = dup(fd[0])) >= 0)
		n++;
	may(base);
	for (i = 0; i < n; i++) {
		event_assign(&many[i], base, fds[i], EV_READ, count, NULL);
		if (event_add(&many[i], NULL) != 0)
			break;
		added++;
	}
	if (added < n)
		result = -1;
	write_byte(fd[1], 'x');
	told = 0;
	right(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	right(told == added);
	for (i = 0; i < added; i++)
		right(!event_pending(&many[i], EV_READ, NULL) && event_del(&many[i]) == 0);
	event_base_free(base);
out:
	while (n > 0)
		close(fds[--n]);
	close(fd[0]);
	close(fd[1]);
	return result;
}

static int timers(void)
{
	struct event_base *base = event_base_new();
	struct event *ev[20];
	struct timeval tv = { 0, 0 };
	int i, n = 0, result = 0;

	may(base);
	for (; n < 20; n++) {
		may(ev[n] = evtimer_new(base, count, NULL));
		may(event_add(ev[n], &tv) == 0);
	}
	told = 0;
	right(event_base_dispatch(base) == 1);
	right(told == 20);
out:
	for (i = 0; i < n; i++)
		event_free(ev[i]);
	if (n < 20 && result && base && ev[n])
		event_free(ev[n]);
	if (base)
		event_base_free(base);
	return result;
}

static int signals(void)
{
	struct event_base *base = event_base_new();
	struct event *ev = NULL, *other = NULL;
	int result = 0;

	may(base);
	may(ev = evsignal_new(base, SIGUSR1, count, NULL));
	may(other = evsignal_new(base, SIGUSR2, count, NULL));
	may(event_add(ev, NULL) == 0);
	may(event_add(other, NULL) == 0);
	told = 0;
	kill(getpid(), SIGUSR1);
	right(event_base_loop(base, EVLOOP_ONCE) == 0);
	right(told == 1);
out:
	if (ev)
		event_free(ev);
	if (other)
		event_free(other);
	if (base)
		event_base_free(base);
	return result;
}

static int once(void)
{
	struct event_base *base = event_base_new();
	struct timeval tv = { 0, 0 };
	int result = 0, i;

	may(base);
	told = 0;
	for (i = 0; i < 3; i++)
		may(event_base_once(base, -1, EV_TIMEOUT, count, NULL, &tv) == 0);
	right(event_base_dispatch(base) == 1);
	right(told == 3);
	/* And one that never comes to pass. */
	tv.tv_sec = 1000;
	may(event_base_once(base, -1, EV_TIMEOUT, count, NULL, &tv) == 0);
out:
	if (base)
		event_base_free(base);
	return result;
}

static int loop_exit(void)
{
	struct event_base *base = event_base_new();
	struct timeval tv = { 0, 1000 };
	int result = 0;

	may(base);
	may(event_base_loopexit(base, &tv) == 0);
	right(event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY) == 0);
	right(event_base_got_exit(base));
out:
	if (base)
		event_base_free(base);
	return result;
}

static int priorities(void)
{
	struct event_base *base = event_base_new();
	struct event *ev = NULL;
	int result = 0;

	may(base);
	may(event_base_priority_init(base, 5) == 0);
	may(event_base_priority_init(base, 200) == 0);
	may(ev = event_new(base, -1, 0, count, NULL));
	right(event_priority_set(ev, 199) == 0);
	told = 0;
	event_active(ev, EV_READ, 1);
	right(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	right(told == 1);
out:
	if (ev)
		event_free(ev);
	if (base)
		event_base_free(base);
	return result;
}

static int common_timeouts(void)
{
	struct event_base *base = event_base_new();
	struct event *ev = NULL;
	const struct timeval *tv;
	struct timeval duration;
	int result = 0, i;

	may(base);
	may(ev = evtimer_new(base, count, NULL));
	for (i = 0; i < 20; i++) {
		duration = ms(1 + i);
		may(tv = event_base_init_common_timeout(base, &duration));
		may(event_add(ev, tv) == 0);
	}
	told = 0;
	right(event_base_dispatch(base) == 1);
	right(told == 1);
out:
	if (ev)
		event_free(ev);
	if (base)
		event_base_free(base);
	return result;
}

static int finished;

static void finish(struct event *ev, void *arg)
{
	finished++;
}

static int finalized(void)
{
	struct event_base *base = event_base_new();
	struct event *ev = NULL;
	int result = 0;

	may(base);
	may(ev = event_new(base, -1, EV_FINALIZE, count, NULL));
	finished = 0;
	if (event_free_finalize(0, ev, finish) != 0) {
		event_free(ev);
		result = -1;
		goto out;
	}
	right(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	right(finished == 1);
out:
	if (base)
		event_base_free(base);
	return result;
}

static int reinit(void)
{
	struct event_base *base = event_base_new();
	struct event *ev = NULL, *of_signal = NULL;
	int fd[2], result = 0;

	a_pair(fd);
	may(base);
	may(ev = event_new(base, fd[0], EV_READ, count, NULL));
	may(of_signal = evsignal_new(base, SIGUSR1, count, NULL));
	may(event_add(ev, NULL) == 0);
	may(event_add(of_signal, NULL) == 0);
	may(event_reinit(base) == 0);
	write_byte(fd[1], 'x');
	told = 0;
	right(event_base_loop(base, EVLOOP_NONBLOCK) == 0);
	right(told == 1);
out:
	if (ev)
		event_free(ev);
	if (of_signal)
		event_free(of_signal);
	if (base)
		event_base_free(base);
	close(fd[0]);
	close(fd[1]);
	return result;
}

static int each(const struct event_base *base, const struct event *ev, void *arg)
{
	++*(int *)arg;
	return 0;
}

static int looked_at(void)
{
	struct event_base *base = event_base_new();
	struct event *ev = NULL;
	struct timeval tv = { 10, 0 };
	FILE *nowhere = fopen("/dev/null", "w");
	int result = 0, n = 0;

	may(base);
	may(ev = evtimer_new(base, count, NULL));
	may(event_add(ev, &tv) == 0);
	right(event_base_foreach_event(base, each, &n) == 0);
	right(n == 1);
	event_base_dump_events(base, nowhere);
	event_base_active_by_fd(base, 0, EV_READ);
out:
	fclose(nowhere);
	if (ev)
		event_free(ev);
	if (base)
		event_base_free(base);
	return result;
}

/* The oldest face: one base for all. Making it ends the program where there is no memory, as documented. */
static int current_base(void)
{
	struct event_base *base;
	struct event ev;
	struct timeval tv = { 0, 0 };
	long n = fail_at;
	int result = 0;

	fail_at = 0;
	base = event_init();
	allocations = 0;
	fail_at = n;
	right(base);
	evtimer_set(&ev, count, NULL);
	may(evtimer_add(&ev, &tv) == 0);
	told = 0;
	right(event_dispatch() == 1);
	right(told == 1);
	may(event_once(-1, EV_TIMEOUT, count, NULL, &tv) == 0);
	right(event_loop(EVLOOP_ONCE) >= 0);
	right(told == 2);
out:
	if (base)
		event_base_free(base);
	return result;
}

static int debug_mode(void)
{
	static int on;

	if (!on++)
		event_enable_debug_mode();
	return event_io();
}

static int threads(void)
{
	static int on;
	struct event_base *base;
	int result = 0;

	if (!on++)
		must(evthread_use_pthreads() == 0);
	base = event_base_new();
	may(base);
	may(evthread_make_base_notifiable(base) == 0);
	may(event_base_loopbreak(base) == 0);
	event_base_free(base);
	base = NULL;
	result = event_io();
out:
	if (base)
		event_base_free(base);
	return result;
}

static int lock_debugging(void)
{
	static int on;

	if (!on++)
		evthread_enable_lock_debugging();
	return threads();
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "base", base_plain }, { "config", base_config }, { "io", event_io }, { "many timers", many_timers },
		{ "many descriptors", many_descriptors }, { "timers", timers }, { "signals", signals }, { "once", once },
		{ "loopexit", loop_exit }, { "priorities", priorities }, { "common timeouts", common_timeouts }, { "finalize", finalized },
		{ "reinit", reinit }, { "looked at", looked_at }, { "current base", current_base }, { "debug mode", debug_mode },
		{ "threads", threads }, { "lock debugging", lock_debugging }, { NULL, NULL } };

	return main_of(scenarios, argc, argv);
}
