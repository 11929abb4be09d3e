/* Failing the Nth allocation, for every N: the scenario is run until it passes without a failure. What it does must be NULL, -1 or
 * right; it never aborts, hangs or leaks.
 *
 * A scenario gives 0 if all was right, -1 if something was refused as documented (and it has put everything back), and says
 * what is wrong otherwise. Each runs in a child of its own, twice for every N: with one failure, and with all from the Nth on. */
#ifndef ALLOC_H
#define ALLOC_H

#include "conform.h"
#include <sys/mman.h>

struct scenario {
	const char *name;
	int (*run)(void);
};

/* Where the child is, for the parent to tell. */
static struct place { int n, rest, made; } *place;
static long live, allocations, fail_at;
static int fail_rest;

static int refused(void)
{
	allocations++;
	return fail_at && (fail_rest ? allocations >= fail_at : allocations == fail_at);
}

static void *own_malloc(size_t size)
{
	void *memory = refused() ? NULL : malloc(size);

	live += memory != NULL;
	return memory;
}

static void *own_realloc(void *old, size_t size)
{
	void *memory = refused() ? NULL : realloc(old, size);

	live += memory != NULL && old == NULL;
	return memory;
}

static void own_free(void *memory)
{
	live -= memory != NULL;
	free(memory);
}

static void silent(int severity, const char *message)
{
	if (severity == EVENT_LOG_ERR)
		say("log: %s", message);
}

/* For scenarios: what may be refused, and what must not. */
#define may(condition) do { if (!(condition)) { result = -1; goto out; } } while (0)
#define right(condition) do { if (!(condition)) { \
	say("%s:%d: not %s (n %d, rest %d, errno %d)", __FILE__, __LINE__, #condition, place->n, place->rest, errno); \
	_exit(98); } } while (0)

static int run_failing(const struct scenario *scenario, int n)
{
	int result;

	allocations = 0;
	fail_at = n;
	result = scenario->run();
	fail_at = 0;
	return result;
}

static int run_all(const struct scenario *scenario)
{
	long before;
	int result, n, more;

	/* What is made once and kept. */
	fail_at = 0;
	if (scenario->run() != 0) {
		say("%s: refused without a failure", scenario->name);
		return 1;
	}
	for (place->rest = 0; place->rest < 2; place->rest++) {
		for (n = 1;; n++) {
			place->n = n;
			fail_rest = place->rest;
			before = live;
			result = run_failing(scenario, n);
			place->made = allocations;
			/* A few pieces are kept for the next time: a leak is what grows each time. */
			for (more = 0; more < 4 && live > before; more++) {
				before = live;
				run_failing(scenario, n);
			}
			if (more == 4 && live > before) {
				say("%s: n %d, rest %d: %ld not freed", scenario->name, n, place->rest, live - before);
				return 1;
			}
			if (place->made < n)
				break;
		}
		if (result != 0) {
			say("%s: refused, and nothing had failed", scenario->name);
			return 1;
		}
		/* And it still works. */
		if (scenario->run() != 0) {
			say("%s: refused afterwards", scenario->name);
			return 1;
		}
	}
	return 0;
}

static int main_of(const struct scenario *scenarios, int argc, char **argv)
{
	int bad = 0, total = 0, status;

	signal(SIGPIPE, SIG_IGN);
	event_set_mem_functions(own_malloc, own_realloc, own_free);
	event_set_log_callback(silent);
	place = mmap(NULL, sizeof *place, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(place != MAP_FAILED);
	for (; scenarios->name; scenarios++) {
		pid_t child;

		if (argc > 1 && strcmp(argv[1], scenarios->name) != 0)
			continue;
		memset(place, 0, sizeof *place);
		child = fork();
		must(child >= 0);
		if (child == 0) {
			alarm(30);
			_exit(run_all(scenarios));
		}
		must(waitpid(child, &status, 0) == child);
		total += place->made;
		if (WIFSIGNALED(status))
			say("%s: signal %d at n %d, rest %d", scenarios->name, WTERMSIG(status), place->n, place->rest);
		if (status != 0)
			bad++;
		else if (argc > 1)
			say("%s: %d allocations", scenarios->name, place->made);
	}
	if (bad)
		say("%d scenarios are wrong", bad);
	else
		say("ok");
	return bad != 0;
}

#endif
