/* Debug mode: what it finds ends the program through the fatal callback. Each mistake in a child. */
#include "conform.h"
#include <event2/event_compat.h>
#include <event2/event_struct.h>

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("told %s", events_text(events));
}

static void fatal(int code)
{
	say("fatal %s", code == (int)0xdeaddead ? "abort" : "other");
	fflush(stdout);
	_exit(42);
}

static void logged(int severity, const char *message)
{
	(void)message;
	say("log %d", severity);
}

static void mistake(struct event_base *base, int which, int fd)
{
	struct event ev;

	memset(&ev, 0, sizeof ev);
	switch (which) {
	case 0: event_add(&ev, NULL); break;
	case 1: event_del(&ev); break;
	case 2: event_active(&ev, EV_READ, 1); break;
	case 3: event_pending(&ev, EV_READ, NULL); break;
	case 4:
		event_assign(&ev, base, fd, EV_READ, told, NULL);
		event_add(&ev, NULL);
		event_assign(&ev, base, fd, EV_READ, told, NULL);
		break;
	case 5:
		event_assign(&ev, base, fd, EV_READ, told, NULL);
		event_add(&ev, NULL);
		event_del(&ev);
		event_debug_unassign(&ev);
		event_add(&ev, NULL);
		break;
	case 6: event_get_assignment(&ev, NULL, NULL, NULL, NULL, NULL); break;
	case 7: event_priority_set(&ev, 1); break;
	case 8: event_base_set(base, &ev); break;
	default: event_enable_debug_mode(); break;
	}
}

/* An event that was told and does not persist is not added any more. */
static void told_and_assigned_anew(struct event_base *base, int fd)
{
	struct timeval tv = ms(1), zero = { 0, 0 };
	struct event ev;

	event_assign(&ev, base, fd, EV_WRITE, told, NULL);
	show(event_add(&ev, NULL));
	show(event_base_loop(base, EVLOOP_ONCE));
	event_assign(&ev, base, -1, 0, told, NULL);
	show(event_add(&ev, &tv));
	show(event_base_dispatch(base));
	event_assign(&ev, base, fd, EV_READ | EV_PERSIST, told, NULL);
	show(event_add(&ev, &zero));
	read_all(fd);
	show(event_base_loop(base, EVLOOP_ONCE));
	event_assign(&ev, base, fd, EV_READ, told, NULL);
	event_active(&ev, EV_READ, 1);
	show(event_base_loop(base, EVLOOP_NONBLOCK));
	event_debug_unassign(&ev);
	event_assign(&ev, base, SIGUSR1, EV_SIGNAL, told, NULL);
	show(event_add(&ev, NULL));
	raise(SIGUSR1);
	show(event_base_loop(base, EVLOOP_ONCE));
	event_debug_unassign(&ev);
}

int main(void)
{
	struct event ev;
	struct event_base *base;
	int fd[2], which;

	event_enable_debug_mode();
	base = a_base();
	a_pair(fd);
	event_set_fatal_callback(fatal);
	event_set_log_callback(logged);
	/* What is right stays right. */
	event_assign(&ev, base, fd[0], EV_READ | EV_PERSIST, told, NULL);
	show(event_add(&ev, NULL));
	write_byte(fd[1], 'x');
	show(event_base_loop(base, EVLOOP_ONCE));
	show(event_del(&ev));
	event_debug_unassign(&ev);
	told_and_assigned_anew(base, fd[0]);
	for (which = 0; which < 10; which++) {
		pid_t child = fork();
		int status;

		must(child >= 0);
		if (child == 0) {
			mistake(base, which, fd[0]);
			say("mistake %d passed", which);
			_exit(0);
		}
		must(waitpid(child, &status, 0) == child);
		say("mistake %d: exit %d, signal %d", which, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
	event_base_free(base);
	return 0;
}
