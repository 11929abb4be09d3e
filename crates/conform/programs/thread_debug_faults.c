/* Lock debugging finds what is wrong: a lock let go of by a stranger, or by nobody who holds it. conform: methods=epoll */
#include "conform.h"
#include <pthread.h>

static struct evbuffer *buffer;

static void quiet(int severity, const char *message)
{
}

static void fatal(int code)
{
	say("fatal %x", (unsigned)code);
	_exit(7);
}

static void *unlocks(void *arg)
{
	evbuffer_unlock(buffer);
	return NULL;
}

static void stranger(void)
{
	pthread_t thread;

	evbuffer_lock(buffer);
	must(pthread_create(&thread, NULL, unlocks, NULL) == 0);
	pthread_join(thread, NULL);
}

static void nobody(void)
{
	evbuffer_lock(buffer);
	evbuffer_unlock(buffer);
	evbuffer_unlock(buffer);
}

static void as_it_should(void)
{
	evbuffer_lock(buffer);
	evbuffer_lock(buffer);
	must(evbuffer_add(buffer, "x", 1) == 0);
	evbuffer_unlock(buffer);
	evbuffer_unlock(buffer);
	evbuffer_free(buffer);
}

static void in_a_child(const char *name, void (*run)(void))
{
	int status;
	pid_t child = fork();

	must(child >= 0);
	if (child == 0) {
		alarm(10);
		run();
		_exit(0);
	}
	must(waitpid(child, &status, 0) == child);
	say("%s: %d", name, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

int main(void)
{
	event_set_log_callback(quiet);
	event_set_fatal_callback(fatal);
	evthread_enable_lock_debugging();
	must(evthread_use_pthreads() == 0);
	buffer = evbuffer_new();
	must(buffer && evbuffer_enable_locking(buffer, NULL) == 0);
	in_a_child("as it should", as_it_should);
	in_a_child("stranger", stranger);
	in_a_child("nobody", nobody);
	/* Without a callback of the program's. */
	event_set_fatal_callback(NULL);
	in_a_child("stranger, aborted", stranger);
	return 0;
}
