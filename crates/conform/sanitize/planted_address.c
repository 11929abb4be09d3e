/* A fault for AddressSanitizer to find inside the library: an event is used after its memory was given back. */
#include <event2/event.h>
#include <stdlib.h>

int main(void) {
  struct event_base *base = event_base_new();
  struct event *event = event_new(base, -1, 0, NULL, NULL);
  free(event);
  event_active(event, EV_TIMEOUT, 0);
  return 0;
}
