/* Tells ThreadSanitizer what the kernel does and it does not know: whoever closes a descriptor has done so before whoever is
 * given the same number by accept, socket or the like. memcached keeps its connections by number, and relies on that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>

void __tsan_acquire(void *);
void __tsan_release(void *);

enum { MOST = 1 << 16 };
static char numbers[MOST];

static void given(int fd) {
  if (fd >= 0 && fd < MOST) __tsan_acquire(&numbers[fd]);
}

int close(int fd) {
  static int (*next)(int);
  if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "close");
  if (fd >= 0 && fd < MOST) __tsan_release(&numbers[fd]);
  return next(fd);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  static int (*next)(int, struct sockaddr *, socklen_t *, int);
  if (!next) next = (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
  int got = next(fd, address, length, flags);
  given(got);
  return got;
}

int accept(int fd, struct sockaddr *address, socklen_t *length) {
  static int (*next)(int, struct sockaddr *, socklen_t *);
  if (!next) next = (int (*)(int, struct sockaddr *, socklen_t *))dlsym(RTLD_NEXT, "accept");
  int got = next(fd, address, length);
  given(got);
  return got;
}
