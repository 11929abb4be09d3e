/* What event_add and its like refuse, with errno, wrong events; and with what severity it is said. */
#include "conform.h"
#include <event2/event_struct.h>
#include "refused.h"

int main(void)
{
	struct event_base *base = a_base();
	struct timeval tv = ms(1);
	struct event ev, other;
	int fd[2];

	event_set_log_callback(logged);
	a_pair(fd);
	add(base, "signal and read", fd[0], EV_SIGNAL | EV_READ);
	add(base, "no descriptor", -1, EV_READ);
	add(base, "no descriptor", -1, 0);
	if (event_base_get_features(base) & EV_FEATURE_EARLY_CLOSE)
		add(base, "closed", fd[0], EV_CLOSED);
	add(base, "read and edges", fd[0], EV_READ | EV_ET);
	/* Edge-triggered and not, on one descriptor. */
	event_assign(&ev, base, fd[0], EV_READ | EV_PERSIST, told, NULL);
	event_add(&ev, NULL);
	add(base, "edges beside none", fd[0], EV_READ | EV_ET);
	event_del(&ev);
	/* A timeout that is refused leaves nothing behind; -1 of a descriptor is a mere timer. */
	event_assign(&ev, base, -1, EV_READ, told, NULL);
	show(event_add(&ev, &tv));
	show(event_base_dispatch(base));
	/* What is pending keeps its priority and its base. */
	event_assign(&other, base, fd[0], EV_READ, told, NULL);
	event_add(&other, NULL);
	show(event_base_set(base, &other));
	event_del(&other);
	show(event_base_set(base, &other));
	show(event_add(&other, NULL));
	event_del(&other);
	event_base_free(base);
	return 0;
}
