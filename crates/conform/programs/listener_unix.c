/* Peers of Unix sockets: with a name, without one, in the abstract. */
#include "conform.h"
#include <stddef.h>
#include <sys/un.h>

static int accepted;

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)sa;
	size_t named = length > (int)offsetof(struct sockaddr_un, sun_path) ? length - offsetof(struct sockaddr_un, sun_path) : 0;

	say("family unix %d, length %d, name %d: %.*s", sa->sa_family == AF_UNIX, length, (int)named, (int)(named ? named - !sun->sun_path[0] : 0),
	    named ? sun->sun_path + !sun->sun_path[0] : "");
	close(fd);
	if (++accepted == 3)
		event_base_loopbreak(evconnlistener_get_base(listener));
}

static int client(const struct sockaddr_un *to, const char *name, size_t length)
{
	struct sockaddr_un own;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memset(&own, 0, sizeof own);
	own.sun_family = AF_UNIX;
	if (length) {
		memcpy(own.sun_path, name, length);
		must(bind(fd, (struct sockaddr *)&own, offsetof(struct sockaddr_un, sun_path) + length) == 0);
	}
	must(connect(fd, (struct sockaddr *)to, sizeof *to) == 0);
	return fd;
}

int main(void)
{
	struct event_base *base = a_base();
	struct evconnlistener *listener;
	struct sockaddr_un sun;
	char folder[] = "/tmp/conform-XXXXXX", abstract[32];
	int fd[3], i;

	must(mkdtemp(folder) && chdir(folder) == 0);
	memset(&sun, 0, sizeof sun);
	sun.sun_family = AF_UNIX;
	strcpy(sun.sun_path, "door");
	listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, -1, (struct sockaddr *)&sun, sizeof sun);
	must(listener);
	memset(abstract, 0, sizeof abstract);
	snprintf(abstract + 1, sizeof abstract - 1, "conform-%07d", (int)getpid());
	fd[0] = client(&sun, NULL, 0);
	fd[1] = client(&sun, "own-name", 9);
	fd[2] = client(&sun, "\0", 1);
	event_base_dispatch(base);
	for (i = 0; i < 3; i++)
		close(fd[i]);
	evconnlistener_free(listener);
	unlink("own-name");
	unlink("door");
	must(chdir("/") == 0 && rmdir(folder) == 0);
	event_base_free(base);
	return 0;
}
