/* Setting thread functions: incomplete, twice, others, none, late. conform: methods=epoll */
#include "conform.h"

static int lines, last;

static void count(int severity, const char *message)
{
	lines++;
	last = severity;
}

static void fatal(int code)
{
	say("fatal %d, last line %d", code, last);
	exit(3);
}

static void *lock_alloc(unsigned type) { return malloc(1); }
static void lock_free(void *lock, unsigned type) { free(lock); }
static int lock_either(unsigned mode, void *lock) { return 0; }
static void *condition_alloc(unsigned type) { return malloc(1); }
static void condition_free(void *condition) { free(condition); }
static int condition_signal(void *condition, int all) { return 0; }
static int condition_wait(void *condition, void *lock, const struct timeval *tv) { return 0; }

int main(void)
{
	struct evthread_lock_callbacks locks = { EVTHREAD_LOCK_API_VERSION, EVTHREAD_LOCKTYPE_RECURSIVE, lock_alloc, lock_free,
		lock_either, NULL };
	struct evthread_condition_callbacks conditions = { EVTHREAD_CONDITION_API_VERSION, condition_alloc, condition_free,
		condition_signal, NULL };
	/* Seen to be reachable where fatal() exits. */
	static struct event_base *volatile base;
	int child, status;

	event_set_log_callback(count);
	event_set_fatal_callback(fatal);
	/* With debug mode it is a fault to set them after a base was made. */
	fflush(stdout);
	child = fork();
	if (child == 0) {
		event_enable_debug_mode();
		must(evthread_use_pthreads() == 0);
		base = a_base();
		say("made: %d", base != NULL);
		evthread_use_pthreads();
		say("not reached");
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child);
	show(WIFEXITED(status) ? WEXITSTATUS(status) : -1);

	show(evthread_set_lock_callbacks(NULL));
	show(evthread_set_lock_callbacks(&locks));
	locks.unlock = lock_either;
	show(evthread_set_lock_callbacks(&locks));
	show(evthread_set_lock_callbacks(&locks));
	show(lines);
	locks.lock_api_version++;
	show(evthread_set_lock_callbacks(&locks));
	show(lines);
	show(evthread_set_condition_callbacks(&conditions));
	conditions.wait_condition = condition_wait;
	show(evthread_set_condition_callbacks(&conditions));
	show(evthread_set_condition_callbacks(&conditions));
	conditions.condition_api_version++;
	show(evthread_set_condition_callbacks(&conditions));
	show(lines);
	/* Others are there already; it says nothing of it. */
	show(evthread_use_pthreads());
	show(evthread_set_condition_callbacks(NULL));
	show(lines);
	show(evthread_set_lock_callbacks(NULL));
	show(lines);

	return 0;
}
