/* fork(2) and event_reinit: child and parent go on with their own descriptors, signals and timers. */
#include "conform.h"
#include <event2/event_struct.h>

static struct event_base *base;
static struct event reads, timer, caught;
static const char *who = "parent";

static void told(evutil_socket_t fd, short events, void *arg)
{
	say("%s: %s %s", who, (const char *)arg, events_text(events));
	if (events & EV_READ)
		read_all(fd);
	if (events & EV_SIGNAL)
		event_base_loopbreak(base);
}

static void run(int to)
{
	struct timeval tv = ms(5);

	write_byte(to, 'x');
	show(event_base_loop(base, EVLOOP_ONCE));
	show(event_add(&timer, &tv));
	show(event_base_loop(base, EVLOOP_ONCE));
	kill(getpid(), SIGUSR1);
	show(event_base_loop(base, 0));
	show(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
}

int main(void)
{
	int fd[2], status;
	pid_t child;

	base = a_base();
	a_pair(fd);
	event_assign(&reads, base, fd[0], EV_READ | EV_PERSIST, told, "reads");
	evtimer_assign(&timer, base, told, "timer");
	evsignal_assign(&caught, base, SIGUSR1, told, "caught");
	show(event_add(&reads, NULL));
	show(evsignal_add(&caught, NULL));
	show(event_reinit(base));
	run(fd[1]);

	child = fork();
	must(child >= 0);
	if (child == 0) {
		who = "child";
		alarm(20);
		show(event_reinit(base));
		run(fd[1]);
		show(event_del(&reads));
		show(event_del(&caught));
		event_base_free(base);
		exit(7);
	}
	must(waitpid(child, &status, 0) == child);
	say("child: exit %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	/* What the child deleted is still there. */
	run(fd[1]);

	/* Without reinit a child may at least leave. */
	child = fork();
	must(child >= 0);
	if (child == 0) {
		event_base_free(base);
		_exit(8);
	}
	must(waitpid(child, &status, 0) == child);
	say("child: exit %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	event_base_free(base);
	return 0;
}
