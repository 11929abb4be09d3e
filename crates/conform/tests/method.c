/* Which method a base has. */
#include "conform.h"

int main(void)
{
	struct event_base *base = a_base();

	say("%s", event_base_get_method(base));
	event_base_free(base);
	return 0;
}
