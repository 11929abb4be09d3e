/* C libevent, its struct event and nothing more; the epoll method it chooses by itself. */
#include "echo.h"
#include <event2/event.h>
#include <event2/event_struct.h>

struct conn { struct event event; struct rest rest; };
static struct event_base *base;

static void on_ready(evutil_socket_t fd, short what, void *arg);

static void watch(struct conn *conn, int fd, short what)
{
    event_assign(&conn->event, base, fd, what | EV_PERSIST, on_ready, conn);
    if (event_add(&conn->event, NULL)) die("event_add");
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct conn *conn = arg;
    int was_blocked = conn->rest.bytes != NULL;
    enum outcome outcome = was_blocked ? send_rest(fd, &conn->rest) : echo(fd, &conn->rest);
    if (outcome == GONE) {
        event_del(&conn->event);
        close(fd);
        free(conn->rest.bytes);
        free(conn);
    } else if ((outcome == BLOCKED) != was_blocked) {
        event_del(&conn->event);
        watch(conn, fd, outcome == BLOCKED ? EV_WRITE : EV_READ);
    }
    (void)what;
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
    for (int fd; (fd = next_connection(listener)) >= 0;) {
        struct conn *conn = calloc(1, sizeof *conn);
        if (!conn) die("calloc");
        watch(conn, fd, EV_READ);
    }
    (void)what, (void)arg;
}

int main(int argc, char **argv)
{
    struct event_config *config = event_config_new();
    struct event door;
    int listener = listen_here(argc, argv);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    if (!(base = event_base_new_with_config(config))) die("event_base_new_with_config");
    event_assign(&door, base, listener, EV_READ | EV_PERSIST, on_accept, NULL);
    if (event_add(&door, NULL)) die("event_add");
    say_ready();
    return event_base_dispatch(base);
}
