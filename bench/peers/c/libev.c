/* libev: one ev_io for each connection, on its epoll backend. */
#include "echo.h"
#include <ev.h>

struct conn { ev_io io; struct rest rest; };

static void on_ready(struct ev_loop *loop, ev_io *io, int revents)
{
    struct conn *conn = (struct conn *)io;
    int was_blocked = conn->rest.bytes != NULL;
    enum outcome outcome = was_blocked ? send_rest(io->fd, &conn->rest) : echo(io->fd, &conn->rest);
    if (outcome == GONE) {
        ev_io_stop(loop, io);
        close(io->fd);
        free(conn->rest.bytes);
        free(conn);
    } else if ((outcome == BLOCKED) != was_blocked) {
        ev_io_stop(loop, io);
        ev_io_set(io, io->fd, outcome == BLOCKED ? EV_WRITE : EV_READ);
        ev_io_start(loop, io);
    }
    (void)revents;
}

static void on_accept(struct ev_loop *loop, ev_io *door, int revents)
{
    for (int fd; (fd = next_connection(door->fd)) >= 0;) {
        struct conn *conn = calloc(1, sizeof *conn);
        if (!conn) die("calloc");
        ev_io_init(&conn->io, on_ready, fd, EV_READ);
        ev_io_start(loop, &conn->io);
    }
    (void)revents;
}

int main(int argc, char **argv)
{
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io door;
    if (!loop) die("ev_default_loop");
    ev_io_init(&door, on_accept, listen_here(argc, argv), EV_READ);
    ev_io_start(loop, &door);
    say_ready();
    return ev_run(loop, 0);
}
