/* Events freed, and their memory overwritten, inside each kind of callback: their own and others', pending, active, due in the
 * same pass, in a finalizer; and a base freed with all kinds left. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;

struct owner { struct event *ev, *other; const char *name; };

/* Freed memory must not be looked at any more: what is in it then would lead nowhere. */
static void end(struct event *ev)
{
	if (!ev)
		return;
	event_del(ev);
	event_debug_unassign(ev);
	memset(ev, 0xa5, event_get_struct_event_size());
	free(ev);
}

static struct event *make(int fd, short events, event_callback_fn callback, void *arg)
{
	struct event *ev = malloc(event_get_struct_event_size());

	must(ev != NULL && event_assign(ev, base, fd, events, callback, arg) == 0);
	return ev;
}

static void frees(evutil_socket_t fd, short events, void *arg)
{
	struct owner *owner = arg;

	say("%s: %s", owner->name, events_text(events));
	end(owner->other);
	end(owner->ev);
	owner->ev = owner->other = NULL;
}

static void other(evutil_socket_t fd, short events, void *arg)
{
	say("never");
}

static void freed_by(const char *name, int fd, short events, int how)
{
	struct owner owner = { NULL, NULL, name };
	struct timeval now = { 0, 0 }, far = { 100, 0 };

	owner.ev = make(fd, events, frees, &owner);
	owner.other = make(-1, EV_PERSIST, other, NULL);
	must(event_priority_set(owner.other, 1) == 0 && event_priority_set(owner.ev, 0) == 0);
	switch (how) {
	case 0: event_add(owner.ev, NULL); break;
	case 1: event_add(owner.ev, &now); break;
	case 2: event_active(owner.ev, EV_READ, 3); break;
	case 3: event_add(owner.ev, NULL); raise(SIGUSR1); break;
	default: event_add(owner.ev, &far); event_active(owner.ev, EV_TIMEOUT, 1); break;
	}
	/* Due in the same pass, behind it. */
	event_add(owner.other, &far);
	event_active(owner.other, EV_READ, 1);
	must(event_base_loop(base, EVLOOP_ONCE) >= 0);
	must(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	show(owner.ev == NULL);
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE));
}

static void final(struct event *ev, void *arg)
{
	say("finalizer");
	event_debug_unassign(ev);
	memset(ev, 0xa5, event_get_struct_event_size());
	free(ev);
}

static void finalizes(evutil_socket_t fd, short events, void *arg)
{
	struct owner *owner = arg;

	say("finalizes: %s", events_text(events));
	show(event_finalize(0, owner->ev, final));
}

static void once(evutil_socket_t fd, short events, void *arg)
{
	struct owner *owner = arg;

	say("once: %s", events_text(events));
	end(owner->other);
}

/* A one-shot event's memory may go in its callback without event_del: nothing of it is pending any more. */
static void just_frees(evutil_socket_t fd, short events, void *arg)
{
	struct event **ev = arg;

	say("just frees: %s", events_text(events));
	memset(*ev, 0xa5, event_get_struct_event_size());
	free(*ev);
}

int main(void)
{
	struct owner owner = { NULL, NULL, "owner" };
	struct timeval now = { 0, 0 }, far = { 100, 0 };
	struct event *bare;
	int fd[2], round;

	base = a_base();
	event_base_priority_init(base, 2);
	a_pair(fd);
	write_byte(fd[1], 'x');
	for (round = 0; round < 2; round++) {
		short persist = round ? EV_PERSIST : 0;

		freed_by("read", fd[0], EV_READ | persist, 0);
		freed_by("write", fd[0], EV_WRITE | persist, 0);
		freed_by("timeout", -1, persist, 1);
		freed_by("timeout of a descriptor", fd[1], EV_READ | persist, 1);
		freed_by("active", -1, persist, 2);
		freed_by("active signal", SIGUSR1, EV_SIGNAL | persist, 2);
		freed_by("signal", SIGUSR1, EV_SIGNAL | persist, 3);
		freed_by("active and pending", fd[1], EV_READ | persist, 4);

		bare = make(fd[0], EV_READ, just_frees, &bare);
		event_add(bare, NULL);
		must(event_base_loop(base, EVLOOP_ONCE) == 0);
		bare = make(-1, 0, just_frees, &bare);
		event_add(bare, &now);
		must(event_base_loop(base, EVLOOP_ONCE) == 0);
		bare = make(-1, persist, just_frees, &bare);
		event_active(bare, EV_READ, 1);
		must(event_base_loop(base, EVLOOP_ONCE) == 0);
	}
	owner.ev = make(fd[0], EV_READ | EV_PERSIST, finalizes, &owner);
	event_add(owner.ev, NULL);
	must(event_base_loop(base, EVLOOP_ONCE) >= 0);
	must(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	owner.other = make(fd[0], EV_READ, other, NULL);
	event_priority_set(owner.other, 1);
	event_active(owner.other, EV_READ, 1);
	must(event_base_once(base, -1, EV_TIMEOUT, once, &owner, NULL) == 0);
	must(event_base_loop(base, EVLOOP_ONCE) >= 0);

	/* The base goes, its events' memory later. */
	owner.ev = make(fd[0], EV_READ | EV_PERSIST, other, NULL);
	event_add(owner.ev, &far);
	owner.other = make(SIGUSR2, EV_SIGNAL | EV_PERSIST, other, NULL);
	event_add(owner.other, NULL);
	bare = make(-1, 0, other, NULL);
	event_active(bare, EV_READ, 1);
	event_base_once(base, -1, EV_TIMEOUT, other, NULL, &far);
	event_base_free(base);
	free(owner.ev);
	free(owner.other);
	free(bare);
	return 0;
}
