/* What every echo server in C shares, so that they differ in their loop only: the listening socket, one input
 * buffer of 64 KiB for all connections, and what the peer's window did not take.
 *
 * Connections inherit TCP_NODELAY from the listening socket on Linux, which saves a call for each of them. While
 * a rest is unsent nothing is read: a peer that does not read fills its own buffers. */
#ifndef ECHO_H
#define ECHO_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT_BYTES = 64 * 1024, BACKLOG = 4096 };

struct rest { char *bytes; size_t sent, len; };

static char input[INPUT_BYTES] __attribute__((unused));

static inline void die(const char *what)
{
    perror(what);
    exit(1);
}

/* The non-blocking listening socket of the port in argv[1]. */
static inline int listen_here(int argc, char **argv)
{
    if (argc < 2 || atoi(argv[1]) <= 0) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        exit(2);
    }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) die("getrlimit");
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)) die("SO_REUSEADDR");
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) die("TCP_NODELAY");
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) die("bind");
    if (listen(fd, BACKLOG)) die("listen");
    return fd;
}

static inline void say_ready(void)
{
    puts("ready");
    fflush(stdout);
}

/* The next connection, or -1 when there is none just now. */
static inline int next_connection(int listener)
{
    int fd;
    do fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0 && errno != EAGAIN) die("accept4");
    return fd;
}

enum outcome { DONE, BLOCKED, GONE };

/* Reads once and sends it back. BLOCKED: `rest` holds what is left. */
static inline enum outcome echo(int fd, struct rest *rest)
{
    ssize_t got = read(fd, input, sizeof input);
    if (got < 0) return errno == EAGAIN || errno == EINTR ? DONE : GONE;
    if (got == 0) return GONE;
    ssize_t sent = write(fd, input, got);
    if (sent == got) return DONE;
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return GONE;
    if (sent < 0) sent = 0;
    *rest = (struct rest){ malloc(got - sent), 0, got - sent };
    if (!rest->bytes) die("malloc");
    memcpy(rest->bytes, input + sent, rest->len);
    return BLOCKED;
}

/* Sends more of the rest. */
static inline enum outcome send_rest(int fd, struct rest *rest)
{
    ssize_t sent = write(fd, rest->bytes + rest->sent, rest->len - rest->sent);
    if (sent < 0) return errno == EAGAIN || errno == EINTR ? BLOCKED : GONE;
    if ((rest->sent += sent) < rest->len) return BLOCKED;
    free(rest->bytes);
    *rest = (struct rest){ 0 };
    return DONE;
}
#endif
