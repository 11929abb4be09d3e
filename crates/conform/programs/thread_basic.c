/* Other threads add, activate, delete and end the loop while it waits: it hears of it at once. */
#include "conform.h"
#include <event2/event_struct.h>
#include <pthread.h>

static struct event_base *base;
static struct event timer, io, active, keep;
static int fd[2];

static void told(evutil_socket_t of, short events, void *arg)
{
	say("%s: %s", (const char *)arg, events_text(events));
	if (of >= 0)
		read_all(of);
	event_base_loopbreak(base);
}

static void never(evutil_socket_t of, short events, void *arg)
{
	say("never: %s", events_text(events));
}

static void *adds_a_timer(void *arg)
{
	struct timeval tv = ms(5);

	usleep(20000);
	must(event_add(&timer, &tv) == 0);
	return NULL;
}

static void *adds_what_is_ready(void *arg)
{
	usleep(20000);
	write_byte(fd[1], 'x');
	must(event_add(&io, NULL) == 0);
	return NULL;
}

static void *activates(void *arg)
{
	usleep(20000);
	event_active(&active, EV_WRITE, 1);
	return NULL;
}

static void *breaks(void *arg)
{
	usleep(20000);
	must(event_base_loopbreak(base) == 0);
	return NULL;
}

static void *exits(void *arg)
{
	usleep(20000);
	must(event_base_loopexit(base, NULL) == 0);
	return NULL;
}

static void *once(void *arg)
{
	usleep(20000);
	must(event_base_once(base, -1, EV_TIMEOUT, told, "once", NULL) == 0);
	return NULL;
}

static void *adds_signal(void *arg)
{
	usleep(20000);
	evsignal_assign(&active, base, SIGUSR1, told, "signal");
	must(evsignal_add(&active, NULL) == 0);
	kill(getpid(), SIGUSR1);
	return NULL;
}

static void *deletes_the_last(void *arg)
{
	usleep(20000);
	must(event_del(&keep) == 0);
	return NULL;
}

static void with(const char *what, void *(*body)(void *))
{
	struct timeval start, end, took;
	pthread_t thread;
	int result;

	evutil_gettimeofday(&start, NULL);
	must(pthread_create(&thread, NULL, body, NULL) == 0);
	result = event_base_dispatch(base);
	pthread_join(thread, NULL);
	evutil_gettimeofday(&end, NULL);
	evutil_timersub(&end, &start, &took);
	say("%s: loop = %d, exit %d, break %d, in time %d", what, result, event_base_got_exit(base),
	    event_base_got_break(base), took.tv_sec < 5);
}

int main(void)
{
	struct timeval far = { 100, 0 };

	must(evthread_use_pthreads() == 0);
	base = a_base();
	a_pair(fd);
	evtimer_assign(&timer, base, told, "timer");
	event_assign(&io, base, fd[0], EV_READ, told, "io");
	event_assign(&active, base, -1, 0, told, "active");
	evtimer_assign(&keep, base, never, NULL);
	event_add(&keep, &far);
	with("a timer", adds_a_timer);
	with("a descriptor", adds_what_is_ready);
	with("activated", activates);
	with("break", breaks);
	with("exit", exits);
	with("once", once);
	with("signal", adds_signal);
	event_del(&active);
	event_del(&keep);
	event_assign(&keep, base, fd[0], EV_READ, never, NULL);
	event_add(&keep, NULL);
	with("nothing left", deletes_the_last);
	show(evthread_make_base_notifiable(base));
	event_base_free(base);
	return 0;
}
