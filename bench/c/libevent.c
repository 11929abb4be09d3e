/* The same on C libevent 2.1, its epoll method, raw events; streams are bufferevents.
 * Modes: persistent, rearm, readd, stream; timers, memory, stream-memory and stream-life need a number only. With
 * EVENT_EPOLL_USE_CHANGELIST in the environment libevent merges changes. */
#include "subject.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>

static struct event_base *base;
static struct event *events;
static long left;  /* callbacks to go in this window */

static inline void count_down(void)
{
    if (--left == 0) event_base_loopbreak(base);
}

static void on_persistent(evutil_socket_t fd, short what, void *at)
{
    pass_on((int)(intptr_t)at);
    count_down();
    (void)fd, (void)what;
}

static void on_rearm(evutil_socket_t fd, short what, void *at)
{
    pass_on((int)(intptr_t)at);
    event_add(&events[(intptr_t)at], NULL);
    count_down();
    (void)fd, (void)what;
}

static void ring_window(long count)
{
    left = count;
    event_base_dispatch(base);
}

static void readd(long count)
{
    while (count > 0) {
        for (int i = 0; i < pipes; i++, count--) {
            event_del(&events[i]);
            event_add(&events[i], NULL);
        }
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

static uint64_t *deadlines, *fired;
static long fired_count;

static void on_timer(evutil_socket_t fd, short what, void *at)
{
    fired[fired_count++] = (intptr_t)at;
    (void)fd, (void)what;
}

/* Create (armed for later), add again, and fire when all are overdue; per timer, in nanoseconds. */
static void timers(long count)
{
    uint64_t random = count;
    struct timeval now;
    events = calloc(count, sizeof *events);
    deadlines = calloc(count, sizeof *deadlines);
    fired = calloc(count, sizeof *fired);
    memset(fired, 1, count * sizeof *fired);
    fired_count = 0;
    for (long i = 0; i < count; i++)
        deadlines[i] = 500000 + next_random(&random) % 2000000;
    uint64_t start = now_ns();
    const struct timeval hour = { 3600, 0 };
    for (long i = 0; i < count; i++) {
        event_assign(&events[i], base, -1, 0, on_timer, (void *)(intptr_t)i);
        event_add(&events[i], &hour);
    }
    uint64_t created = now_ns();
    for (long i = 0; i < count; i++) event_del(&events[i]);
    uint64_t began_adding = now_ns();
    event_base_gettimeofday_cached(base, &now);
    for (long i = 0; i < count; i++) {
        struct timeval after = { deadlines[i] / 1000000, deadlines[i] % 1000000 };
        event_add(&events[i], &after);
    }
    uint64_t added = now_ns();
    while (now_ns() < added + 2600000000u) usleep(10000);
    uint64_t before = now_ns();
    event_base_dispatch(base);
    uint64_t done = now_ns();
    /* Order is not checked: each timeout counts from a clock reading of its own. */
    printf("%.1f %.1f %.1f %ld\n", (double)(created - start) / count, (double)(added - began_adding) / count,
           (double)(done - before) / count, fired_count);
    fflush(stdout);
    free(events), free(deadlines), free(fired);
}

/* Counted page by page; statm lags behind by up to 32 pages for each CPU. */
static long resident_kib(void)
{
    char line[128];
    long resident = -1;
    FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
    if (!rollup) die("/proc/self/smaps_rollup");
    while (resident < 0 && fgets(line, sizeof line, rollup)) sscanf(line, "Rss: %ld", &resident);
    fclose(rollup);
    if (resident < 0) die("Rss");
    return resident;
}

static void nothing(evutil_socket_t fd, short what, void *arg) { (void)fd, (void)what, (void)arg; }

/* Bytes from the allocator and resident, per idle event, each on a descriptor of its own. */
static void memory(long count)
{
    int ends[2];
    if (pipe(ends)) die("pipe");
    int *copies = calloc(count, sizeof *copies);
    for (long i = 0; i < count; i++)
        if ((copies[i] = dup(ends[0])) < 0) die("dup");
    size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd;
    long resident = resident_kib();
    for (long i = 0; i < count; i++) {
        struct event *event = event_new(base, copies[i], EV_READ | EV_PERSIST, nothing, NULL);
        if (!event || event_add(event, NULL)) die("event_add");
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
    printf("%.1f %.1f\n", (double)(mallinfo2().uordblks + mallinfo2().hblkhd - heap) / count,
           (resident_kib() - resident) * 1024.0 / count);
}

static void on_stream(struct bufferevent *conn, void *arg)
{
    evbuffer_add_buffer(bufferevent_get_output(conn), bufferevent_get_input(conn));
    count_down();
    (void)arg;
}

static struct bufferevent *new_stream(int fd)
{
    struct bufferevent *conn = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!conn) die("bufferevent_socket_new");
    bufferevent_setcb(conn, on_stream, NULL, NULL, NULL);
    if (bufferevent_enable(conn, EV_READ | EV_WRITE)) die("bufferevent_enable");
    return conn;
}

static void stream_subject(int pairs, int active, int bytes)
{
    make_pairs(pairs, active, bytes);
    for (int i = 0; i < pairs; i++) {
        new_stream(ring[i].reader);
        new_stream(ring[i].writer);
    }
    converse(ring_window);
}

/* Bytes from the allocator and resident, per idle stream. */
static void stream_memory(long count)
{
    make_pairs((count + 1) / 2, 0, 0);
    size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd;
    long resident = resident_kib();
    for (long i = 0; i < count; i++) new_stream(i % 2 ? ring[i / 2].writer : ring[i / 2].reader);
    event_base_loop(base, EVLOOP_NONBLOCK);
    printf("%.1f %.1f\n", (double)(mallinfo2().uordblks + mallinfo2().hblkhd - heap) / count,
           (resident_kib() - resident) * 1024.0 / count);
}

/* Making one, and freeing it (which closes its socket), in nanoseconds each. */
static void stream_life(long count)
{
    make_pairs((count + 1) / 2, 0, 0);
    struct bufferevent **made = calloc(count, sizeof *made);
    uint64_t start = now_ns();
    for (long i = 0; i < count; i++) made[i] = new_stream(i % 2 ? ring[i / 2].writer : ring[i / 2].reader);
    uint64_t then = now_ns();
    for (long i = 0; i < count; i++) bufferevent_free(made[i]);
    event_base_loop(base, EVLOOP_NONBLOCK); /* which frees them in the end */
    printf("%.1f %.1f\n", (double)(then - start) / count, (double)(now_ns() - then) / count);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: libevent persistent|rearm|readd PIPES ACTIVE | stream PAIRS ACTIVE BYTES | timers|memory|stream-memory|stream-life COUNT\n");
        return 2;
    }
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    if (!(base = event_base_new_with_config(config))) die("event_base_new");
    if (strcmp(event_base_get_method(base), "epoll") && strncmp(event_base_get_method(base), "epoll (", 7))
        return fprintf(stderr, "libevent chose %s\n", event_base_get_method(base)), 1;
    if (!strcmp(argv[1], "timers")) return timers(atol(argv[2])), 0;
    if (!strcmp(argv[1], "memory")) return memory(atol(argv[2])), 0;
    if (!strcmp(argv[1], "stream-memory")) return stream_memory(atol(argv[2])), 0;
    if (!strcmp(argv[1], "stream-life")) return stream_life(atol(argv[2])), 0;
    if (!strcmp(argv[1], "stream")) return stream_subject(atoi(argv[2]), atoi(argv[3]), argc > 4 ? atoi(argv[4]) : 64), 0;
    int is_readd = !strcmp(argv[1], "readd"), is_rearm = !strcmp(argv[1], "rearm");
    make_ring(atoi(argv[2]), is_readd ? 0 : atoi(argv[3]));
    events = calloc(pipes, sizeof *events);
    for (int i = 0; i < pipes; i++) {
        event_assign(&events[i], base, ring[i].reader, EV_READ | (is_rearm ? 0 : EV_PERSIST),
                     is_rearm ? on_rearm : on_persistent, (void *)(intptr_t)i);
        if (event_add(&events[i], NULL)) die("event_add");
    }
    converse(is_readd ? readd : ring_window);
    return 0;
}
