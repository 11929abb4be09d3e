/* The baseline: epoll(7) by hand, level-triggered. */
#include "echo.h"
#include <sys/epoll.h>

enum { ROOM = 1024 };
struct conn { int fd; struct rest rest; };
static int epoll;

static void control(int op, int fd, uint32_t events, void *data)
{
    struct epoll_event event = { .events = events, .data.ptr = data };
    if (epoll_ctl(epoll, op, fd, &event)) die("epoll_ctl");
}

static void admit_all(int listener)
{
    for (int fd; (fd = next_connection(listener)) >= 0;) {
        struct conn *conn = calloc(1, sizeof *conn);
        if (!conn) die("calloc");
        conn->fd = fd;
        control(EPOLL_CTL_ADD, fd, EPOLLIN, conn);
    }
}

static void serve(struct conn *conn)
{
    int was_blocked = conn->rest.bytes != NULL;
    enum outcome outcome = was_blocked ? send_rest(conn->fd, &conn->rest) : echo(conn->fd, &conn->rest);
    if (outcome == GONE) {
        close(conn->fd); /* which takes it out of the epoll instance */
        free(conn->rest.bytes);
        free(conn);
    } else if ((outcome == BLOCKED) != was_blocked) {
        control(EPOLL_CTL_MOD, conn->fd, outcome == BLOCKED ? EPOLLOUT : EPOLLIN, conn);
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event reports[ROOM];
    int listener = listen_here(argc, argv);
    if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    control(EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    say_ready();
    for (;;) {
        int count = epoll_wait(epoll, reports, ROOM, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (reports[i].data.ptr)
                serve(reports[i].data.ptr);
            else
                admit_all(listener);
        }
    }
}
