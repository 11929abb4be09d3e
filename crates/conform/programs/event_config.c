/* Configurations: methods avoided and required features, flags, the environment. conform: methods=epoll,poll,select */
#include "conform.h"

static void made(const char *what, struct event_config *config)
{
	struct event_base *base = event_base_new_with_config(config);

	if (!base) {
		say("%s: none", what);
		return;
	}
	say("%s: %s, features %x", what, event_base_get_method(base), (unsigned)event_base_get_features(base));
	event_base_free(base);
}

static void quiet(int severity, const char *message)
{
	(void)severity, (void)message;
}

int main(void)
{
	static const char *const methods[] = { "epoll", "poll", "select" };
	struct event_config *config;
	struct timeval tv = { 1, 0 };
	unsigned i;

	alarm(20);
	event_set_log_callback(quiet);
	for (i = 0; i < 3; i++) {
		config = event_config_new();
		show(event_config_avoid_method(config, methods[i]));
		made(methods[i], config);
		event_config_free(config);
	}
	config = event_config_new();
	for (i = 0; i < 3; i++) {
		event_config_avoid_method(config, methods[i]);
		made("one less", config);
	}
	event_config_free(config);

	for (i = 0; i < 16; i++) {
		config = event_config_new();
		show(event_config_require_features(config, i));
		made("required", config);
		event_config_free(config);
	}

	config = event_config_new();
	show(event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK));
	show(event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST));
	show(event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER));
	show(event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME));
	show(event_config_set_flag(config, EVENT_BASE_FLAG_STARTUP_IOCP));
	show(event_config_set_num_cpus_hint(config, 4));
	show(event_config_set_max_dispatch_interval(config, &tv, 5, 0));
	show(event_config_set_max_dispatch_interval(config, NULL, -1, 1));
	made("flags", config);
	event_config_free(config);

	/* The environment forbids one more. */
	setenv("EVENT_NOEPOLL", "1", 1);
	config = event_config_new();
	made("environment", config);
	event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
	made("environment ignored", config);
	event_config_free(config);
	setenv("EVENT_NOPOLL", "1", 1);
	setenv("EVENT_SHOW_METHOD", "1", 1);
	made("environment", NULL);
	setenv("EVENT_NOSELECT", "1", 1);
	show(event_base_new() == NULL);
	return 0;
}
