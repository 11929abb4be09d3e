/* io_uring by hand (Linux 6.1 and liburing 2.3): a multishot accept and receives into the ring's own table of files,
 * with a ring of buffers; what came in is sent from the buffer it came into.
 *
 * One send at a time for each connection, or parts of a long answer might overtake each other; the buffers that wait
 * meanwhile are a list. A connection with many of them is no longer received from until they are gone. */
#include "echo.h"
#include <liburing.h>

enum { FILES = 19900, ENTRIES = 4096, BUFFERS = 4096, BUFFER_BYTES = 16 * 1024, MANY = 8, NONE = 0xffff };
enum kind { ACCEPT, RECEIVE, SEND, CLOSE, CANCEL };

struct conn {
    uint16_t first, last; /* what is to be sent; the first is under way */
    uint16_t waiting;
    uint8_t armed, ended, starved;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char *memory;
static struct conn conns[FILES];
static struct { uint16_t next, len; } queued[BUFFERS];
static uint32_t starved[FILES], starved_count;

static struct io_uring_sqe *next_sqe(void)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&ring))) io_uring_submit(&ring);
    return sqe;
}

/* After the prep function, which clears it. */
static void tag(struct io_uring_sqe *sqe, enum kind kind, uint32_t at)
{
    sqe->user_data = (uint64_t)kind << 32 | at;
}

static void admit_from(int listener)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    tag(sqe, ACCEPT, listener);
}

static void receive(uint32_t at)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_recv_multishot(sqe, at, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    tag(sqe, RECEIVE, at);
    conns[at].armed = 1;
}

static void stop_receiving(uint32_t at)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_cancel64(sqe, (uint64_t)RECEIVE << 32 | at, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    tag(sqe, CANCEL, at);
}

static void send_first(uint32_t at)
{
    uint16_t buffer = conns[at].first;
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_send(sqe, at, memory + (size_t)buffer * BUFFER_BYTES, queued[buffer].len,
                       MSG_WAITALL | MSG_NOSIGNAL);
    sqe->flags |= IOSQE_FIXED_FILE;
    tag(sqe, SEND, at);
}

static void give_back(uint16_t buffer)
{
    io_uring_buf_ring_add(buffers, memory + (size_t)buffer * BUFFER_BYTES, BUFFER_BYTES, buffer,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(buffers, 1);
}

static void close_if_over(uint32_t at)
{
    struct conn *conn = &conns[at];
    if (!conn->ended || conn->armed || conn->waiting || conn->starved) return;
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_close_direct(sqe, at);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    tag(sqe, CLOSE, at);
    conn->ended = 0;
}

static void on_received(uint32_t at, struct io_uring_cqe *cqe)
{
    struct conn *conn = &conns[at];
    conn->armed = !!(cqe->flags & IORING_CQE_F_MORE);
    if (cqe->res > 0) {
        uint16_t buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        queued[buffer].next = NONE;
        queued[buffer].len = cqe->res;
        if (conn->waiting++)
            queued[conn->last].next = buffer;
        else
            conn->first = buffer;
        conn->last = buffer;
        if (conn->waiting == 1) send_first(at);
        if (conn->waiting == MANY && conn->armed) stop_receiving(at);
        if (!conn->armed && conn->waiting < MANY) receive(at);
    } else if (cqe->res == -ENOBUFS) {
        if (!conn->starved) starved[starved_count++] = at;
        conn->starved = 1;
    } else if (cqe->res != -ECANCELED) {
        conn->ended = 1;
        close_if_over(at);
    } else if (!conn->waiting) {
        receive(at);
    }
}

static void on_sent(uint32_t at, struct io_uring_cqe *cqe)
{
    struct conn *conn = &conns[at];
    uint16_t buffer = conn->first;
    if (cqe->res != queued[buffer].len) conn->ended = 1; /* the peer has reset it; the receive says so too */
    conn->first = queued[buffer].next;
    give_back(buffer);
    if (--conn->waiting)
        send_first(at);
    else if (!conn->armed && !conn->ended && !conn->starved)
        receive(at);
    close_if_over(at);
}

static void handle(struct io_uring_cqe *cqe)
{
    uint32_t at = (uint32_t)cqe->user_data;
    switch ((enum kind)(cqe->user_data >> 32 & 0xff)) {
    case ACCEPT:
        if (cqe->res >= 0) conns[cqe->res] = (struct conn){ 0 }, receive(cqe->res);
        if (!(cqe->flags & IORING_CQE_F_MORE)) admit_from(at);
        break;
    case RECEIVE: on_received(at, cqe); break;
    case SEND: on_sent(at, cqe); break;
    case CLOSE: case CANCEL: break;
    }
}

static void make_ring(void)
{
    struct io_uring_params params = { .cq_entries = 32768, .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL
                                      | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
    struct io_uring_buf_reg reg = { .ring_entries = BUFFERS };
    void *room;
    if ((errno = -io_uring_queue_init_params(ENTRIES, &ring, &params))) die("io_uring_queue_init_params");
    if ((errno = -io_uring_register_files_sparse(&ring, FILES))) die("io_uring_register_files_sparse");
    io_uring_register_ring_fd(&ring);
    if (posix_memalign(&room, 4096, BUFFERS * sizeof(struct io_uring_buf))) die("posix_memalign");
    if (!(memory = malloc((size_t)BUFFERS * BUFFER_BYTES))) die("malloc");
    reg.ring_addr = (uintptr_t)(buffers = room);
    if ((errno = -io_uring_register_buf_ring(&ring, &reg, 0))) die("io_uring_register_buf_ring");
    io_uring_buf_ring_init(buffers);
    for (int i = 0; i < BUFFERS; i++) give_back(i);
}

int main(int argc, char **argv)
{
    int listener = listen_here(argc, argv);
    make_ring();
    admit_from(listener);
    say_ready();
    for (;;) {
        int got = io_uring_submit_and_wait(&ring, 1);
        if (got < 0 && got != -EINTR) errno = -got, die("io_uring_submit_and_wait");
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        io_uring_for_each_cqe(&ring, head, cqe) handle(cqe), count++;
        io_uring_cq_advance(&ring, count);
        /* Sent buffers are back by now. (Only when deaf peers hold all of them does this go in circles.) */
        uint32_t again = starved_count;
        starved_count = 0;
        for (uint32_t i = 0; i < again; i++) {
            struct conn *conn = &conns[starved[i]];
            conn->starved = 0;
            if (conn->ended)
                close_if_over(starved[i]);
            else
                receive(starved[i]);
        }
    }
}
