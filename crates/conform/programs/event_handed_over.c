/* A descriptor is handed over to somebody else, by dup(2), fork(2), a message, another base, another epoll: its event is deleted and the
 * descriptor closed, but the file lives on and has something to read. The loop does not spin, and nobody is told anything. */
#include "conform.h"
#include <event2/event_struct.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum how { DUP, FORKED, MESSAGE, OTHER_BASE, OTHER_EPOLL, KINDS };

static const char *const names[KINDS] = { "dup", "fork", "message", "other base", "other epoll" };

enum { ROUNDS = 6 };

static struct event_base *base, *second;
static int strangers, level, edges;

static void reads(evutil_socket_t fd, short events, void *count)
{
	++*(int *)count;
	if (count != &edges)
		read_all(fd);
}

static void stranger(evutil_socket_t fd, short events, void *count)
{
	strangers++;
}

static double cpu_ms(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
	    (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

/* So long that a loop that spins is seen by the processor's time. */
static void run(void)
{
	struct timeval tv = ms(20);
	double before = cpu_ms();

	must(event_base_loopexit(base, &tv) == 0);
	must(event_base_dispatch(base) == 0);
	say("  %s, strangers %d", cpu_ms() - before > 10 ? "busy" : "sleeps", strangers);
}

/* Gives a copy of the file, or who has one. */
static int hand_over(enum how how, int fd, int channel[2], struct event *elsewhere)
{
	char byte = 'f', control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec bytes = { &byte, 1 };
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	pid_t child;

	switch (how) {
	case DUP:
		return dup(fd);
	case FORKED:
		child = fork();
		must(child >= 0);
		if (child == 0) {
			/* Has it until it is told to go. */
			must(read(channel[1], &byte, 1) == 1);
			_exit(0);
		}
		return (int)child;
	case MESSAGE:
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(head), &fd, sizeof fd);
		must(sendmsg(channel[0], &message, 0) == 1);
		return -1;
	case OTHER_BASE:
		fd = dup(fd);
		event_assign(elsewhere, second, fd, EV_READ | EV_PERSIST, reads, &level);
		must(event_add(elsewhere, NULL) == 0);
		return fd;
	default: {
		struct epoll_event asked = { .events = EPOLLIN };

		fd = dup(fd);
		must(epoll_ctl(channel[0], EPOLL_CTL_ADD, fd, &asked) == 0);
		return fd;
	}
	}
}

static void one(enum how how, int told, int again)
{
	struct event ev, elsewhere;
	struct epoll_event what;
	int pair[2], channel[2], fresh[2], copy, number;

	a_pair(pair);
	a_pair(channel);
	fcntl(channel[1], F_SETFL, 0);
	if (how == OTHER_EPOLL) {
		close(channel[0]);
		channel[0] = epoll_create1(EPOLL_CLOEXEC);
	}
	event_assign(&ev, base, pair[0], EV_READ | EV_PERSIST, stranger, NULL);
	must(event_add(&ev, NULL) == 0);
	if (told) {
		write_byte(pair[1], 'x');
		event_base_loop(base, EVLOOP_ONCE);
	}
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	must(!strangers == !told);
	strangers = 0;
	must(event_del(&ev) == 0);
	copy = hand_over(how, pair[0], channel, &elsewhere);
	number = pair[0];
	close(pair[0]);
	if (again) {
		/* The number means something else from now on. */
		a_pair(fresh);
		if (fresh[1] == number) {
			fresh[1] = fresh[0];
		} else if (fresh[0] != number) {
			must(dup2(fresh[0], number) == number);
			close(fresh[0]);
		}
		event_assign(&ev, base, number, EV_READ | EV_PERSIST, stranger, NULL);
		must(event_add(&ev, NULL) == 0);
	}
	write_byte(pair[1], 'x');
	run();
	if (how == OTHER_BASE) {
		level = 0;
		must(event_base_loop(second, EVLOOP_ONCE | EVLOOP_NONBLOCK) == 0);
		say("  the other base: %d", level);
		event_del(&elsewhere);
	}
	if (how == OTHER_EPOLL)
		say("  the other epoll: %d", epoll_wait(channel[0], &what, 1, 0));
	if (again) {
		event_del(&ev);
		close(number);
		close(fresh[1]);
	}
	if (how == FORKED) {
		int status;

		write_byte(channel[0], 'x');
		must(waitpid((pid_t)copy, &status, 0) == (pid_t)copy);
	} else if (copy >= 0) {
		close(copy);
	}
	close(pair[1]);
	close(channel[0]);
	close(channel[1]);
}

int main(void)
{
	struct event bystander, by_edges;
	int fd[2], round, how;

	base = a_base();
	second = event_base_new();
	must(second);
	a_pair(fd);
	event_assign(&bystander, base, fd[0], EV_READ | EV_PERSIST, reads, &level);
	must(event_add(&bystander, NULL) == 0);
	for (how = DUP; how < KINDS; how++) {
		for (round = 0; round < ROUNDS; round++) {
			say("%s, %d", names[how], round);
			one((enum how)how, round & 1, round & 2);
			level = 0;
			write_byte(fd[1], 'x');
			event_base_loop(base, EVLOOP_ONCE);
			say("  bystander: %d", level);
		}
	}
	/* By edges it is told once of what it leaves unread, whatever becomes of others. */
	if (event_base_get_features(base) & EV_FEATURE_ET) {
		int ends[2];

		a_pair(ends);
		event_assign(&by_edges, base, ends[0], EV_READ | EV_PERSIST | EV_ET, reads, &edges);
		must(event_add(&by_edges, NULL) == 0);
		write_byte(ends[1], 'x');
		event_base_loop(base, EVLOOP_ONCE);
		for (round = 0; round < ROUNDS; round++)
			one(DUP, 0, round & 2);
		show(edges);
		event_del(&by_edges);
	}
	event_del(&bystander);
	event_base_free(second);
	event_base_free(base);
	return 0;
}
