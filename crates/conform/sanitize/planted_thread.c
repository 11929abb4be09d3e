/* A fault for ThreadSanitizer to find inside the library: two threads use a base, and nobody has told the library of threads. */
#include <event2/event.h>
#include <pthread.h>
#include <stddef.h>

static void nothing(evutil_socket_t fd, short what, void *arg) {
  (void)fd, (void)what, (void)arg;
}

static void *add(void *event) {
  static const struct timeval later = { 1000, 0 };
  event_add(event, &later);
  return NULL;
}

int main(void) {
  struct event_base *base = event_base_new();
  struct event *one = event_new(base, -1, 0, nothing, NULL), *two = event_new(base, -1, 0, nothing, NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, add, one);
  add(two);
  pthread_join(thread, NULL);
  return 0;
}
