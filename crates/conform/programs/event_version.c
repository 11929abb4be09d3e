/* What can be asked before anything runs: versions, methods, features.
 * conform: link=event_core,event_extra,event_pthreads methods=epoll,poll,select */
#include "conform.h"

int main(void)
{
	const char **methods = event_get_supported_methods();
	struct event_base *base = a_base();

	say("version %s %x", event_get_version(), (unsigned)event_get_version_number());
	say("header %x", (unsigned)LIBEVENT_VERSION_NUMBER);
	for (; *methods; methods++)
		say("supported %s", *methods);
	say("method %s", event_base_get_method(base));
	say("features %x", event_base_get_features(base));
	show(event_get_struct_event_size());
	event_base_free(base);
	return 0;
}
