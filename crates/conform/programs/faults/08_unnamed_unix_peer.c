/* CVE-2026-63388: the address of an unnamed Unix peer is a family and nothing else. Who reads its path finds an end, whatever was
 * there before. conform: alone=C-libevent-hands-out-what-the-stack-held */
#include "conform.h"
#include <sys/un.h>

static int accepted;

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	const char *bytes = (const char *)sa;
	size_t i;

	must(length == sizeof(sa_family_t) && sa->sa_family == AF_UNIX);
	for (i = length; i < sizeof(struct sockaddr_storage); i++)
		if (bytes[i])
			say("byte %d is %d", (int)i, bytes[i]);
	/* For the next one to find. */
	memset((char *)sa, 'x', sizeof(struct sockaddr_storage));
	close(fd);
	if (++accepted == 3)
		event_base_loopbreak(evconnlistener_get_base(listener));
}

int main(void)
{
	struct event_base *base = a_base();
	struct evconnlistener *listener;
	struct sockaddr_un sun;
	int fd[3], i;

	memset(&sun, 0, sizeof sun);
	sun.sun_family = AF_UNIX;
	snprintf(sun.sun_path + 1, sizeof sun.sun_path - 1, "conform-unnamed-%d", (int)getpid());
	listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, -1, (struct sockaddr *)&sun, sizeof sun);
	must(listener);
	for (i = 0; i < 3; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		must(connect(fd[i], (struct sockaddr *)&sun, sizeof sun) == 0);
	}
	event_base_dispatch(base);
	for (i = 0; i < 3; i++)
		close(fd[i]);
	evconnlistener_free(listener);
	event_base_free(base);
	say("ok");
	return 0;
}
