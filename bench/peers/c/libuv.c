/* libuv: uv_tcp_t streams, uv_try_write first, uv_write for what is left. */
#include "echo.h"
#include <uv.h>

struct conn { uv_tcp_t tcp; uv_write_t write; char *rest; };

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf);

static void check(int status, const char *what)
{
    if (status < 0) fprintf(stderr, "%s: %s\n", what, uv_strerror(status)), exit(1);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    *buf = uv_buf_init(input, sizeof input); /* one for all: it is used up within on_read */
    (void)handle, (void)suggested;
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = (struct conn *)handle;
    free(conn->rest);
    free(conn);
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = (struct conn *)write->handle;
    free(conn->rest);
    conn->rest = NULL;
    if (uv_is_closing((uv_handle_t *)conn)) return;
    if (status < 0)
        uv_close((uv_handle_t *)conn, on_closed);
    else
        uv_read_start((uv_stream_t *)conn, on_alloc, on_read);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct conn *conn = (struct conn *)stream;
    if (got == 0) return; /* EAGAIN */
    uv_buf_t out = uv_buf_init(buf->base, got < 0 ? 0 : got);
    int sent = got < 0 ? got : uv_try_write(stream, &out, 1);
    if (sent == UV_EAGAIN) sent = 0;
    if (sent == got && got > 0) return;
    if (sent < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    if (!(conn->rest = malloc(got - sent))) die("malloc");
    memcpy(conn->rest, buf->base + sent, got - sent);
    out = uv_buf_init(conn->rest, got - sent);
    uv_read_stop(stream);
    check(uv_write(&conn->write, stream, &out, 1, on_written), "uv_write");
}

static void on_connection(uv_stream_t *door, int status)
{
    check(status, "on_connection");
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn) die("calloc");
    check(uv_tcp_init(door->loop, &conn->tcp), "uv_tcp_init");
    check(uv_accept(door, (uv_stream_t *)conn), "uv_accept");
    check(uv_read_start((uv_stream_t *)conn, on_alloc, on_read), "uv_read_start");
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t door;
    check(uv_tcp_init(loop, &door), "uv_tcp_init");
    check(uv_tcp_open(&door, listen_here(argc, argv)), "uv_tcp_open");
    check(uv_listen((uv_stream_t *)&door, BACKLOG, on_connection), "uv_listen");
    say_ready();
    return uv_run(loop, UV_RUN_DEFAULT);
}
