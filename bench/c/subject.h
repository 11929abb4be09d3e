/* What every subject written in C shares: the conversation with the runner (see bench/src/subjects.rs), and a
 * ring of pipes with bytes going round in it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/tcp.h>
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

/* For streams: TCP connections over the loopback device, both ends here and watched; a message of so many bytes goes to
 * and fro in each of the active ones. */
static inline void make_pairs(int count, int active, int bytes)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (void *)&address, len) || getsockname(listener, (void *)&address, &len)) die("bind");
    if (listen(listener, 1)) die("listen");
    char *message = calloc(bytes + 1, 1);
    pipes = count;
    ring = calloc(count, sizeof *ring);
    for (int i = 0; i < count; i++) {
        int one = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(one, (void *)&address, len)) die("connect");
        int two = accept(listener, NULL, NULL);
        for (int *fd = (int[]){ one, two, 0 }; *fd; fd++) {
            if (setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) die("TCP_NODELAY");
            if (fcntl(*fd, F_SETFL, O_NONBLOCK)) die("O_NONBLOCK");
        }
        ring[i] = (struct pipe_ends){ one, two };
        if (i < active && write(one, message, bytes) != bytes) die("write");
    }
    close(listener);
    free(message);
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
