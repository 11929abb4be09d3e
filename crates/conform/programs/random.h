/* Random sequences by seed, and a trace of what they did: a hash of it per seed, or with argv[1] the trace of that seed. */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdarg.h>

static uint64_t random_state, trace_hash;
static int trace_shown;

/* xorshift64*: the same on every machine. */
static inline uint32_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 2685821657736338717u) >> 32);
}

static inline unsigned below(unsigned limit)
{
	return random_next() % limit;
}

static inline void trace(const char *format, ...)
{
	char line[256];
	va_list arguments;
	const char *at;

	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	for (at = line; *at; at++)
		trace_hash = (trace_hash ^ (unsigned char)*at) * 1099511628211u;
	if (trace_shown)
		say("  %s", line);
}

/* Runs every seed, or the one that argv names. */
static inline void seeds(int argc, char **argv, unsigned count, void (*run)(void))
{
	unsigned seed, first = 1;

	if (argc > 1) {
		first = (unsigned)atoi(argv[1]);
		count = 1;
		trace_shown = 1;
	}
	for (seed = first; seed < first + count; seed++) {
		random_state = seed * 0x9e3779b97f4a7c15u + 1;
		trace_hash = 14695981039346656037u;
		run();
		say("seed %u: %016llx", seed, (unsigned long long)trace_hash);
	}
}

#endif
