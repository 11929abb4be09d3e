/* C libevent the way its book teaches: an evconnlistener, and a bufferevent for each connection that moves what
 * came in over to what goes out. Beyond 64 KiB unsent it stops reading, as the others do. */
#include "echo.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

static void on_read(struct bufferevent *conn, void *arg)
{
    struct evbuffer *out = bufferevent_get_output(conn);
    evbuffer_add_buffer(out, bufferevent_get_input(conn));
    if (evbuffer_get_length(out) > INPUT_BYTES) bufferevent_disable(conn, EV_READ);
    (void)arg;
}

static void on_written(struct bufferevent *conn, void *arg)
{
    if (!(bufferevent_get_enabled(conn) & EV_READ)) bufferevent_enable(conn, EV_READ);
    (void)arg;
}

static void on_event(struct bufferevent *conn, short what, void *arg)
{
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) bufferevent_free(conn);
    (void)arg;
}

static void on_accept(struct evconnlistener *door, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
    struct event_base *base = arg;
    struct bufferevent *conn = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!conn) die("bufferevent_socket_new");
    /* Its own default is 16 KiB a turn. */
    bufferevent_set_max_single_read(conn, INPUT_BYTES);
    bufferevent_set_max_single_write(conn, INPUT_BYTES);
    bufferevent_setcb(conn, on_read, on_written, on_event, NULL);
    bufferevent_enable(conn, EV_READ | EV_WRITE);
    (void)door, (void)from, (void)len;
}

int main(int argc, char **argv)
{
    struct event_config *config = event_config_new();
    int fd = listen_here(argc, argv);
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(config);
    if (!base) die("event_base_new_with_config");
    /* Backlog 0: it listens already. */
    if (!evconnlistener_new(base, on_accept, base, LEV_OPT_CLOSE_ON_EXEC, 0, fd)) die("evconnlistener_new");
    say_ready();
    return event_base_dispatch(base);
}
