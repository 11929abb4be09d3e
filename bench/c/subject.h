/* What every subject written in C shares: the conversation with the runner (see bench/src/subjects.rs), and a
 * ring of pipes with bytes going round in it. */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct pipe_ends { int reader, writer; };

static struct pipe_ends *ring;
static int pipes;

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The subject's work: take one byte out of this pipe and put it into the next. */
static inline void pass_on(int at)
{
    char byte;
    int next = at + 1 == pipes ? 0 : at + 1;
    if (read(ring[at].reader, &byte, 1) != 1) die("read");
    if (write(ring[next].writer, &byte, 1) != 1) die("write");
}

static inline void make_ring(int count, int active)
{
    pipes = count;
    ring = calloc(count, sizeof *ring);
    for (int i = 0; i < count; i++)
        if (pipe((int *)&ring[i])) die("pipe");
    for (int i = 0; i < active; i++)
        if (write(ring[i * (count / active)].writer, "x", 1) != 1) die("write");
}

/* For streams: socket pairs, both ends watched, a message going to and fro in each active pair. */
enum { MESSAGE_BYTES = 64 };

static inline void make_pairs(int count, int active)
{
    char message[MESSAGE_BYTES] = { 7 };
    pipes = count;
    ring = calloc(count, sizeof *ring);
    for (int i = 0; i < count; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, (int *)&ring[i])) die("socketpair");
        if (i < active && write(ring[i].reader, message, sizeof message) != sizeof message) die("write");
    }
}

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* One window for each count on standard input, answered with the nanoseconds it took. */
static inline void converse(void (*window)(long))
{
    long count;
    while (scanf("%ld", &count) == 1) {
        uint64_t before = now_ns();
        window(count);
        printf("%llu\n", (unsigned long long)(now_ns() - before));
        fflush(stdout);
    }
}

/* splitmix64, as in the Rust subject: the same deadlines for everyone. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
