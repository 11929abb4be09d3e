/* Has system calls be interrupted, and move less than was asked for, as signals and busy networks do but seldom. Built and
 * preloaded by main.rs; when the program ends it writes what it has done to the file that DUOLU_SHIM_COUNTS names: a line for
 * each function, with calls interrupted, calls shortened, and bytes moved.
 *
 * (a) What is interrupted has not happened: EINTR instead of the call, as when the signal comes first.
 * (b) A shortened call is made, with a smaller length. Level-triggered, nothing is missed by it.
 * (c) connect(2) and close(2) are left alone: interrupted, the one goes on and the other has happened.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { RECV, READV, SEND, SENDMSG, SPLICE, WAIT, ACCEPT, FUNCTIONS };
static const char *const names[] = { "recv", "readv", "send", "sendmsg", "splice", "wait", "accept" };
static long interrupted[FUNCTIONS], shortened[FUNCTIONS], bytes[FUNCTIONS];

#define COUNT(what, by) __atomic_fetch_add(&(what), (by), __ATOMIC_RELAXED)
#define NEXT(name) ({ static __typeof__(&name) next; if (!next) next = dlsym(RTLD_NEXT, #name); next; })

/* Each thread its own, from the same seed. */
static unsigned random_bits(void)
{
    static __thread unsigned state = 1;
    state = state * 1103515245u + 12345u;
    return state >> 16;
}

/* One call in 32. */
static int interrupts(int function)
{
    if (random_bits() & 31)
        return 0;
    COUNT(interrupted[function], 1);
    errno = EINTR;
    return 1;
}

/* One call in 16 moves a single byte, one up to 64, one up to a page. */
static size_t some(int function, size_t len)
{
    size_t most;
    switch (random_bits() & 15) {
    case 0: most = 1; break;
    case 1: most = 1 + (random_bits() & 63); break;
    case 2: most = 1 + (random_bits() & 4095); break;
    default: return len;
    }
    if (most >= len)
        return len;
    COUNT(shortened[function], 1);
    return most;
}

static ssize_t moved(int function, ssize_t count)
{
    if (count > 0)
        COUNT(bytes[function], count);
    return count;
}

ssize_t recv(int fd, void *into, size_t len, int flags)
{
    if (interrupts(RECV))
        return -1;
    return moved(RECV, NEXT(recv)(fd, into, some(RECV, len), flags));
}

ssize_t send(int fd, const void *from, size_t len, int flags)
{
    if (interrupts(SEND))
        return -1;
    return moved(SEND, NEXT(send)(fd, from, some(SEND, len), flags));
}

ssize_t readv(int fd, const struct iovec *pieces, int count)
{
    if (interrupts(READV))
        return -1;
    struct iovec first = { pieces[0].iov_base, count > 0 ? some(READV, pieces[0].iov_len) : 0 };
    if (count > 0 && first.iov_len < pieces[0].iov_len)
        return moved(READV, NEXT(readv)(fd, &first, 1));
    return moved(READV, NEXT(readv)(fd, pieces, count));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (interrupts(SENDMSG))
        return -1;
    if (message->msg_iovlen > 0 && !message->msg_control) {
        struct iovec first = message->msg_iov[0];
        struct msghdr less = *message;
        first.iov_len = some(SENDMSG, first.iov_len);
        if (first.iov_len < message->msg_iov[0].iov_len) {
            less.msg_iov = &first;
            less.msg_iovlen = 1;
            return moved(SENDMSG, NEXT(sendmsg)(fd, &less, flags));
        }
    }
    return moved(SENDMSG, NEXT(sendmsg)(fd, message, flags));
}

ssize_t splice(int from, off_t *at, int to, off_t *there, size_t len, unsigned flags)
{
    if (interrupts(SPLICE))
        return -1;
    return moved(SPLICE, NEXT(splice)(from, at, to, there, some(SPLICE, len), flags));
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return interrupts(ACCEPT) ? -1 : NEXT(accept4)(fd, address, len, flags);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    return interrupts(WAIT) ? -1 : NEXT(epoll_wait)(epoll, events, most, timeout);
}

int ppoll(struct pollfd *list, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    return interrupts(WAIT) ? -1 : NEXT(ppoll)(list, count, timeout, mask);
}

/* What libc had no function for once. */
long syscall(long number, ...)
{
    va_list rest;
    long a[6];
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if ((number == SYS_epoll_pwait2 || number == SYS_pselect6) && interrupts(WAIT))
        return -1;
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("DUOLU_SHIM_COUNTS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    for (int i = 0; i < FUNCTIONS; i++)
        fprintf(file, "%s %ld %ld %ld\n", names[i], interrupted[i], shortened[i], bytes[i]);
    fclose(file);
}
