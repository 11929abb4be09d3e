/* Out of descriptors with an error callback: it is told, may disable, enable, free; and all is well afterwards. */
#include "conform.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>

static struct event_base *base;
static struct evconnlistener *listener;
static int hoard[1024], n_hoard, errors, accepted, frees;

static void free_hoard(void)
{
	while (n_hoard > 0)
		close(hoard[--n_hoard]);
}

static void again(evutil_socket_t fd, short events, void *arg)
{
	free_hoard();
	show(evconnlistener_enable(listener));
}

static void on_error(struct evconnlistener *of, void *arg)
{
	struct timeval tv = ms(10);

	say("error %d: EMFILE %d, argument %d", ++errors, errno == EMFILE, arg == &accepted);
	if (frees) {
		evconnlistener_free(of);
		free_hoard();
		event_base_loopbreak(base);
		return;
	}
	show(evconnlistener_disable(of));
	event_base_once(base, -1, EV_TIMEOUT, again, NULL, &tv);
}

static void on_accept(struct evconnlistener *of, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	say("accepted %d", ++accepted);
	close(fd);
	event_base_loopbreak(base);
}

int main(void)
{
	struct rlimit limit = { 64, 64 };
	struct sockaddr_in sin;
	socklen_t length = sizeof sin;
	int client, i;

	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	base = a_base();
	for (i = 0; i < 2; i++) {
		errors = accepted = 0;
		frees = i;
		memset(&sin, 0, sizeof sin);
		sin.sin_family = AF_INET;
		sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		listener = evconnlistener_new_bind(base, on_accept, &accepted, LEV_OPT_CLOSE_ON_FREE, 16, (struct sockaddr *)&sin, sizeof sin);
		must(listener);
		evconnlistener_set_error_cb(listener, on_error);
		must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &length) == 0);
		client = socket(AF_INET, SOCK_STREAM, 0);
		must(connect(client, (struct sockaddr *)&sin, sizeof sin) == 0);
		while ((hoard[n_hoard] = dup(0)) >= 0)
			n_hoard++;
		event_base_dispatch(base);
		show(errors);
		show(accepted);
		free_hoard();
		close(client);
		if (!frees)
			evconnlistener_free(listener);
	}
	event_base_free(base);
	return 0;
}
