/* Timers: order, equal deadlines apart, deleting and adding in callbacks, zero and very far ones, common timeouts. */
#include "conform.h"
#include <event2/event_struct.h>

#define MANY 40

static struct event timers[MANY];
static struct event_base *base;

static void rings(evutil_socket_t fd, short events, void *arg)
{
	long which = (struct event *)arg - timers;

	say("timer %ld: %s", which, events_text(events));
	if (which == 3)
		event_del(&timers[4]);
	if (which == 5) {
		struct timeval late = ms(200);

		event_add(&timers[3], &late);
		event_del(&timers[5]);
	}
}

/* In a callback all timeouts count from the same moment, however long the adding takes. */
static void at_one_moment(event_callback_fn body)
{
	struct event ev;

	event_assign(&ev, base, -1, 0, body, NULL);
	event_active(&ev, EV_READ, 1);
	event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

static void add_many(evutil_socket_t fd, short events, void *arg)
{
	int i;

	/* Added in an order that is not theirs. */
	for (i = 0; i < MANY; i++) {
		int which = (i * 17) % MANY;
		struct timeval tv = ms(2 + which * 2);

		event_assign(&timers[which], base, -1, 0, rings, &timers[which]);
		must(event_add(&timers[which], &tv) == 0);
	}
	for (i = 7; i < MANY; i += 7)
		event_del(&timers[i]);
}

static void move(evutil_socket_t fd, short events, void *arg)
{
	struct timeval early = ms(3), late = ms(40), none = { 0, 0 };

	evtimer_assign(&timers[10], base, rings, &timers[10]);
	evtimer_assign(&timers[11], base, rings, &timers[11]);
	evtimer_assign(&timers[12], base, rings, &timers[12]);
	event_add(&timers[10], &late);
	event_add(&timers[11], &early);
	/* The later one becomes the earlier. */
	event_add(&timers[10], &none);
}

static void moved(void)
{
	struct timeval none = { 0, 0 };

	at_one_moment(move);
	show(evtimer_pending(&timers[11], NULL));
	show(event_base_loop(base, EVLOOP_ONCE));
	show(event_base_dispatch(base));
	/* What lies before now is due at once. */
	event_add(&timers[12], &none);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(evtimer_del(&timers[12]));
}

static void far_and_wrong(void)
{
	struct timeval far = { 100000000, 0 }, odd = { 0, 1500000 }, left;

	evtimer_assign(&timers[1], base, rings, &timers[1]);
	show(event_add(&timers[1], &far));
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	show(evtimer_pending(&timers[1], &left) && left.tv_sec > 100000000);
	show(event_del(&timers[1]));
	/* More than a second of microseconds: libevent takes it as it is. */
	(void)odd;
}

static int ticks;

static void tick(evutil_socket_t fd, short events, void *arg)
{
	say("tick %d", ++ticks);
	if (ticks == 5)
		event_del(arg);
}

static void common(void)
{
	struct timeval plain = ms(4);
	const struct timeval *shared, *again;
	int i;

	shared = event_base_init_common_timeout(base, &plain);
	must(shared != NULL);
	again = event_base_init_common_timeout(base, &plain);
	show(shared == again);
	show(shared->tv_sec);
	show((shared->tv_usec & 0xf0000000) != 0);
	show(shared->tv_usec & 0xfffff);
	show(event_base_init_common_timeout(base, shared) == shared);
	for (i = 20; i < 30; i++) {
		evtimer_assign(&timers[i], base, rings, &timers[i]);
		event_add(&timers[i], shared);
	}
	event_del(&timers[23]);
	show(event_base_dispatch(base));
	event_assign(&timers[30], base, -1, EV_PERSIST, tick, &timers[30]);
	event_add(&timers[30], shared);
	show(event_base_dispatch(base));
	/* 256 durations can be had, no more. */
	for (i = 0; i < 300; i++) {
		struct timeval tv = { 1000 + i, 0 };

		if (!event_base_init_common_timeout(base, &tv))
			break;
	}
	say("durations: %d", i);
}

int main(void)
{
	base = a_base();
	event_set_log_callback(NULL);
	at_one_moment(add_many);
	show(event_base_dispatch(base));
	moved();
	far_and_wrong();
	common();
	event_base_free(base);
	return 0;
}
