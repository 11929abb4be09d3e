/* The floor: the same ring written by hand on epoll(7), level-triggered, as tight as C allows.
 * Modes: persistent; rearm-oneshot (EPOLLONESHOT and MOD); rearm-del-add (what a loop that
 * removes and adds pays); readd (DEL and ADD of every descriptor, then one look); stream (TCP connections, each
 * message sent back). */
#include "subject.h"
#include <sys/epoll.h>

enum { ROOM = 128 };
static int epoll;
static struct epoll_event reports[ROOM];

static void control(int op, int at, uint32_t flags)
{
    struct epoll_event event = { .events = EPOLLIN | flags, .data.u32 = at };
    if (epoll_ctl(epoll, op, ring[at].reader, &event)) die("epoll_ctl");
}

static void persistent(long count)
{
    while (count > 0) {
        int ready = epoll_wait(epoll, reports, ROOM, -1);
        for (int i = 0; i < ready && count > 0; i++, count--)
            pass_on(reports[i].data.u32);
    }
}

static void rearm_oneshot(long count)
{
    while (count > 0) {
        int ready = epoll_wait(epoll, reports, ROOM, -1);
        for (int i = 0; i < ready; i++, count--) {
            pass_on(reports[i].data.u32);
            control(EPOLL_CTL_MOD, reports[i].data.u32, EPOLLONESHOT);
        }
    }
}

static void rearm_del_add(long count)
{
    while (count > 0) {
        int ready = epoll_wait(epoll, reports, ROOM, -1);
        for (int i = 0; i < ready && count > 0; i++, count--) {
            int at = reports[i].data.u32;
            control(EPOLL_CTL_DEL, at, 0);
            pass_on(at);
            control(EPOLL_CTL_ADD, at, 0);
        }
    }
}

static void readd(long count)
{
    while (count > 0) {
        for (int i = 0; i < pipes; i++, count--) {
            control(EPOLL_CTL_DEL, i, 0);
            control(EPOLL_CTL_ADD, i, 0);
        }
        epoll_wait(epoll, reports, ROOM, 0);
    }
}

static void stream(long count)
{
    static char input[64 * 1024];
    while (count > 0) {
        int ready = epoll_wait(epoll, reports, ROOM, -1);
        for (int i = 0; i < ready && count > 0; i++, count--) {
            ssize_t got = recv(reports[i].data.fd, input, sizeof input, 0);
            if (got <= 0 || send(reports[i].data.fd, input, got, MSG_NOSIGNAL) != got) die("an echo");
        }
    }
}

static void stream_subject(int pairs, int active, int bytes)
{
    make_pairs(pairs, active, bytes);
    for (int i = 0; i < 2 * pairs; i++) {
        int fd = i % 2 ? ring[i / 2].writer : ring[i / 2].reader;
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
    }
    converse(stream);
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc != 4 + !strcmp(argv[1], "stream")) {
        fprintf(stderr, "usage: raw_epoll persistent|rearm-oneshot|rearm-del-add|readd PIPES ACTIVE | stream PAIRS ACTIVE BYTES\n");
        return 2;
    }
    int oneshot = !strcmp(argv[1], "rearm-oneshot"), is_readd = !strcmp(argv[1], "readd");
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    if (!strcmp(argv[1], "stream")) return stream_subject(atoi(argv[2]), atoi(argv[3]), atoi(argv[4])), 0;
    make_ring(atoi(argv[2]), is_readd ? 0 : atoi(argv[3]));
    for (int i = 0; i < pipes; i++)
        control(EPOLL_CTL_ADD, i, oneshot ? EPOLLONESHOT : 0);
    converse(oneshot ? rearm_oneshot : is_readd ? readd
             : !strcmp(argv[1], "rearm-del-add") ? rearm_del_add : persistent);
    return 0;
}
