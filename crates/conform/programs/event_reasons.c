/* What an event is told when its timeout is over and its descriptor is ready in the same turn, when it times out by
 * event_pending, and when a periodic one is made active by hand. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static struct event ev, urgent;
static struct timeval before;
static int left;

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("  told %s", events_text(events));
	if (--left == 0)
		event_del(&ev);
}

/* Whether more than one and a half periods of 250 ms have gone since it was told before. */
static void told_when(evutil_socket_t fd, short events, void *arg)
{
	struct timeval now, since;

	evutil_gettimeofday(&now, NULL);
	evutil_timersub(&now, &before, &since);
	say("  told %s, late %d", events_text(events), since.tv_sec > 0 || since.tv_usec > 375000);
	before = now;
	if (--left == 0)
		event_del(&ev);
}

static void together(int fd, short events)
{
	struct timeval tv = ms(60);

	say("%x", (unsigned)events);
	left = 2;
	event_assign(&ev, base, fd, events, told, NULL);
	show(event_add(&ev, &tv));
	usleep(90000);
	show(event_base_loop(base, EVLOOP_ONCE));
	/* What persists is told of its descriptor after. */
	show(event_pending(&ev, EV_READ | EV_WRITE | EV_TIMEOUT, NULL));
	show(event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
	event_del(&ev);
}

/* Its timeout is over, and it was not told yet: the time is given all the same. */
static void looks(evutil_socket_t fd, short events, void *arg)
{
	struct timeval tv = { 7, 7 }, now;

	show(event_pending(&ev, EV_TIMEOUT, &tv));
	evutil_gettimeofday(&now, NULL);
	say("  given %d, over %d", tv.tv_sec != 7, evutil_timercmp(&tv, &now, <=));
}

static void due_and_not_told(short events)
{
	struct timeval tv = ms(2), late = ms(4);

	left = 1;
	event_assign(&ev, base, -1, events, told, NULL);
	event_assign(&urgent, base, -1, 0, looks, NULL);
	event_priority_set(&ev, 1);
	event_priority_set(&urgent, 0);
	event_add(&ev, &tv);
	event_add(&urgent, &late);
	usleep(30000);
	show(event_base_loop(base, EVLOOP_ONCE));
	event_del(&ev);
}

static void activates(evutil_socket_t fd, short events, void *arg)
{
	event_active(&ev, (int)(intptr_t)arg, 1);
}

/* By EV_TIMEOUT it keeps its schedule, and leaves out the next time; by another reason it starts anew. */
static void periodic(int fd, short reason)
{
	struct timeval period = ms(250), by_hand = ms(50);

	say("periodic, by hand for %s", events_text(reason));
	left = 3;
	event_assign(&ev, base, fd, EV_PERSIST | (fd >= 0 ? EV_READ : 0), told_when, NULL);
	event_assign(&urgent, base, -1, 0, activates, (void *)(intptr_t)reason);
	evutil_gettimeofday(&before, NULL);
	event_add(&ev, &period);
	event_add(&urgent, &by_hand);
	show(event_base_dispatch(base));
}

int main(void)
{
	int fd[2];

	base = a_base();
	a_pair(fd);
	must(event_base_priority_init(base, 2) == 0);
	write_byte(fd[1], 'x');
	together(fd[0], EV_READ);
	together(fd[0], EV_READ | EV_PERSIST);
	together(fd[0], EV_READ | EV_WRITE | EV_PERSIST);
	read_all(fd[0]);
	due_and_not_told(0);
	due_and_not_told(EV_PERSIST);
	periodic(-1, EV_TIMEOUT);
	periodic(fd[0], EV_TIMEOUT);
	periodic(-1, EV_READ);
	event_base_free(base);
	return 0;
}
