/* Every allocation fails in turn: buffers, tags, listeners, util.h. conform: alone=C-libevent-aborts methods=epoll seconds=60 */
#include "alloc.h"
#include <event2/buffer_compat.h>
#include <event2/tag.h>
#include <netinet/in.h>
#include <sys/resource.h>

static char large[200000];

/* 1: so it is. 0: it cannot be looked at for want of memory. */
static int holds(struct evbuffer *buffer, const char *bytes, size_t length)
{
	unsigned char *all = evbuffer_pullup(buffer, -1);

	right(evbuffer_get_length(buffer) == length);
	if (length && !all)
		return 0;
	right(!length || memcmp(all, bytes, length) == 0);
	return 1;
}

static int added(void)
{
	struct evbuffer *buffer = evbuffer_new();
	size_t length = 0, step;
	int result = 0;

	may(buffer);
	for (step = 1; length + step < sizeof large; step = step * 3 + 1) {
		if (evbuffer_add(buffer, large + length, step) != 0) {
			result = -1;
			break;
		}
		length += step;
	}
	/* What was refused is not there, the rest is. */
	right(evbuffer_get_length(buffer) == length);
	while (length > 0) {
		char bytes[1000];
		int n = evbuffer_remove(buffer, bytes, sizeof bytes);

		right(n > 0 && (size_t)n <= length);
		length -= n;
	}
out:
	if (buffer)
		evbuffer_free(buffer);
	return result;
}

static int prepended(void)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_iovec vec[3];
	int result = 0, n;

	may(buffer);
	may(evbuffer_add(buffer, "end", 3) == 0);
	may(evbuffer_prepend(buffer, large, 5000) == 0);
	right(evbuffer_get_length(buffer) == 5003);
	may(evbuffer_expand(buffer, 70000) == 0);
	n = evbuffer_reserve_space(buffer, 30000, vec, 3);
	may(n > 0);
	memset(vec[0].iov_base, 'x', 1);
	vec[0].iov_len = 1;
	right(evbuffer_commit_space(buffer, vec, 1) == 0);
	right(evbuffer_get_length(buffer) == 5004);
	may(evbuffer_pullup(buffer, -1) != NULL);
	right(memcmp(evbuffer_pullup(buffer, 5004) + 5000, "endx", 4) == 0);
out:
	if (buffer)
		evbuffer_free(buffer);
	return result;
}

static int cleaned;

static void clean(const void *data, size_t length, void *arg)
{
	cleaned++;
}

static int referenced(void)
{
	struct evbuffer *buffer = evbuffer_new(), *other = evbuffer_new();
	int result = 0, given = 0, i;

	cleaned = 0;
	may(buffer && other);
	for (i = 0; i < 10; i++) {
		may(evbuffer_add_reference(buffer, large, 1000, clean, NULL) == 0);
		given++;
	}
	may(evbuffer_add_buffer_reference(other, buffer) == 0);
	right(evbuffer_get_length(other) == 10000);
	evbuffer_free(buffer);
	buffer = NULL;
	right(evbuffer_drain(other, 9000) == 0);
out:
	if (buffer)
		evbuffer_free(buffer);
	if (other)
		evbuffer_free(other);
	/* Each exactly once, and what was refused stays the program's. */
	right(cleaned == given);
	return result;
}

static int moved(void)
{
	struct evbuffer *one = evbuffer_new(), *other = evbuffer_new();
	int result = 0, i;

	may(one && other);
	for (i = 0; i < 20; i++)
		may(evbuffer_add(one, large, 900) == 0);
	i = evbuffer_remove_buffer(one, other, 5500);
	right(i == -1 || i == 5500);
	if (i == -1) {
		right(evbuffer_get_length(one) + evbuffer_get_length(other) == 18000);
		result = -1;
		goto out;
	}
	may(evbuffer_prepend_buffer(one, other) == 0);
	may(evbuffer_add_buffer(other, one) == 0);
	right(evbuffer_get_length(other) == 18000);
out:
	if (one)
		evbuffer_free(one);
	if (other)
		evbuffer_free(other);
	return result;
}

static int files(void)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_file_segment *segment = NULL;
	FILE *file = tmpfile();
	int result = 0;

	must(file && fwrite(large, 1, 30000, file) == 30000 && fflush(file) == 0);
	may(buffer);
	segment = evbuffer_file_segment_new(fileno(file), 0, 30000, EVBUF_FS_DISABLE_MMAP | EVBUF_FS_DISABLE_SENDFILE);
	may(segment);
	may(evbuffer_add_file_segment(buffer, segment, 0, 10000) == 0);
	may(evbuffer_add_file_segment(buffer, segment, 10000, -1) == 0);
	may(holds(buffer, large, 30000));
out:
	if (segment)
		evbuffer_file_segment_free(segment);
	if (buffer)
		evbuffer_free(buffer);
	fclose(file);
	return result;
}

static int searched(void)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_ptr at;
	char *line = NULL;
	size_t length;
	int result = 0, i;

	may(buffer);
	for (i = 0; i < 50; i++)
		may(evbuffer_add_printf(buffer, "line %d of %d which is somewhat longer%s", i, 50, i % 2 ? "\r\n" : "\n") > 0);
	at = evbuffer_search(buffer, "line 49", 7, NULL);
	right(at.pos > 0);
	for (i = 0; i < 50; i++) {
		size_t before = evbuffer_get_length(buffer);

		line = evbuffer_readln(buffer, &length, EVBUFFER_EOL_CRLF);
		if (!line) {
			/* It is still there. */
			right(evbuffer_get_length(buffer) == before);
			result = -1;
			goto out;
		}
		right(strlen(line) == length && strncmp(line, "line ", 5) == 0);
		own_free(line);
	}
	right(evbuffer_get_length(buffer) == 0);
out:
	if (buffer)
		evbuffer_free(buffer);
	return result;
}

static int seen;

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	seen += info->n_added;
}

static int watched(void)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_cb_entry *one = NULL, *other = NULL;
	int result = 0;

	may(buffer);
	may(one = evbuffer_add_cb(buffer, changed, NULL));
	may(other = evbuffer_add_cb(buffer, changed, NULL));
	seen = 0;
	may(evbuffer_add(buffer, "abc", 3) == 0);
	right(seen == 6);
	right(evbuffer_remove_cb_entry(buffer, one) == 0);
	right(evbuffer_remove_cb(buffer, changed, NULL) == 0);
out:
	if (buffer)
		evbuffer_free(buffer);
	return result;
}

static int carried(void)
{
	struct evbuffer *out_of = evbuffer_new(), *into = evbuffer_new();
	int fd[2], result = 0, n, i;

	a_pair(fd);
	may(out_of && into);
	for (i = 0; i < 4; i++)
		may(evbuffer_add(out_of, large + 10000 * i, 10000) == 0);
	while (evbuffer_get_length(out_of)) {
		may(evbuffer_write(out_of, fd[0]) > 0);
		n = evbuffer_read(into, fd[1], -1);
		may(n > 0);
	}
	while (evbuffer_get_length(into) < 40000)
		may(evbuffer_read(into, fd[1], -1) > 0);
	may(holds(into, large, 40000));
out:
	if (out_of)
		evbuffer_free(out_of);
	if (into)
		evbuffer_free(into);
	close(fd[0]);
	close(fd[1]);
	return result;
}

static int peeked(void)
{
	struct evbuffer *buffer = evbuffer_new();
	struct evbuffer_iovec vec[4];
	struct evbuffer_ptr at;
	char bytes[6000];
	int result = 0;

	may(buffer);
	may(evbuffer_add_reference(buffer, large, 3000, NULL, NULL) == 0);
	may(evbuffer_add_reference(buffer, large, 3000, NULL, NULL) == 0);
	right(evbuffer_peek(buffer, -1, NULL, vec, 4) >= 1);
	right(evbuffer_copyout(buffer, bytes, 6000) == 6000);
	right(evbuffer_ptr_set(buffer, &at, 3500, EVBUFFER_PTR_SET) == 0);
	right(evbuffer_copyout_from(buffer, &at, bytes, 100) == 100);
	may(evbuffer_add_iovec(buffer, vec, 1) > 0);
out:
	if (buffer)
		evbuffer_free(buffer);
	return result;
}

static int locked(void)
{
	static int on;
	struct evbuffer *buffer;
	int result = 0;

	if (!on++)
		must(evthread_use_pthreads() == 0);
	buffer = evbuffer_new();
	may(buffer);
	may(evbuffer_enable_locking(buffer, NULL) == 0);
	evbuffer_lock(buffer);
	result = evbuffer_add(buffer, "x", 1);
	evbuffer_unlock(buffer);
out:
	if (buffer)
		evbuffer_free(buffer);
	return result;
}

static int put_off(void)
{
	struct event_base *base = event_base_new();
	struct evbuffer *buffer = evbuffer_new();
	int result = 0;

	may(base && buffer);
	may(evbuffer_defer_callbacks(buffer, base) == 0);
	may(evbuffer_add_cb(buffer, changed, NULL));
	seen = 0;
	may(evbuffer_add(buffer, "abc", 3) == 0);
	right(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
	may(seen == 3);
out:
	if (buffer)
		evbuffer_free(buffer);
	if (base)
		event_base_free(base);
	return result;
}

static int tagged(void)
{
	struct evbuffer *buffer = evbuffer_new(), *data = evbuffer_new(), *to = evbuffer_new();
	struct timeval tv = { 1, 2 };
	ev_uint32_t number, tag;
	char *text, bytes[20000];
	size_t before;
	int result = 0;

	may(buffer && data && to);
	may(evbuffer_add(data, large, 3000) == 0);
#define marshal(call) do { before = evbuffer_get_length(buffer); call; may(evbuffer_get_length(buffer) > before); } while (0)
	marshal(evtag_marshal_int(buffer, 1, 77));
	marshal(evtag_marshal_string(buffer, 2, "some text"));
	marshal(evtag_marshal(buffer, 3, large, 20000));
	marshal(evtag_marshal_timeval(buffer, 4, &tv));
	marshal(evtag_marshal_buffer(buffer, 5, data));
	may(evbuffer_get_length(data) == 0);
	right(evtag_unmarshal_int(buffer, 1, &number) > 0 && number == 77);
	may(evtag_unmarshal_string(buffer, 2, &text) == 0);
	right(strcmp(text, "some text") == 0);
	own_free(text);
	right(evtag_unmarshal_fixed(buffer, 3, bytes, 20000) == 0);
	right(evtag_unmarshal_timeval(buffer, 4, &tv) == 0 && tv.tv_usec == 2);
	may(evtag_unmarshal(buffer, &tag, to) == 3000);
	right(tag == 5);
	may(holds(to, large, 3000));
out:
	if (buffer)
		evbuffer_free(buffer);
	if (data)
		evbuffer_free(data);
	if (to)
		evbuffer_free(to);
	return result;
}

static int accepted;

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int length, void *arg)
{
	accepted++;
	close(fd);
}

static int listens_with(unsigned flags)
{
	struct event_base *base = event_base_new();
	struct evconnlistener *listener = NULL;
	struct sockaddr_in sin;
	socklen_t length = sizeof sin;
	int fd[3], i, n = 0, result = 0;

	may(base);
	memset(&sin, 0, sizeof sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = evconnlistener_new_bind(base, on_accept, NULL, flags | LEV_OPT_CLOSE_ON_FREE, 16, (struct sockaddr *)&sin, sizeof sin);
	may(listener);
	must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &length) == 0);
	for (; n < 3; n++) {
		fd[n] = socket(AF_INET, SOCK_STREAM, 0);
		must(connect(fd[n], (struct sockaddr *)&sin, sizeof sin) == 0);
	}
	accepted = 0;
	for (i = 0; i < 100 && accepted < 3; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(i * 10);
	}
	right(accepted == 3);
	right(evconnlistener_disable(listener) == 0);
	may(evconnlistener_enable(listener) == 0);
out:
	if (listener)
		evconnlistener_free(listener);
	if (base)
		event_base_free(base);
	while (n > 0)
		close(fd[--n]);
	return result;
}

static int listens(void)
{
	return listens_with(0);
}

static int listens_threadsafe(void)
{
	static int on;

	if (!on++)
		must(evthread_use_pthreads() == 0);
	return listens_with(LEV_OPT_THREADSAFE);
}

/* No descriptors and no memory: it pauses all the same, and goes on. */
static int listens_exhausted(void)
{
	struct event_base *base = event_base_new();
	struct evconnlistener *listener = NULL;
	struct sockaddr_in sin;
	struct rlimit limit, none;
	socklen_t length = sizeof sin;
	int fd = -1, i, result = 0;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	may(base);
	memset(&sin, 0, sizeof sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 16, (struct sockaddr *)&sin, sizeof sin);
	may(listener);
	must(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &length) == 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(fd, (struct sockaddr *)&sin, sizeof sin) == 0);
	none = limit;
	none.rlim_cur = 3;
	must(setrlimit(RLIMIT_NOFILE, &none) == 0);
	accepted = 0;
	event_base_loop(base, EVLOOP_ONCE);
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	right(accepted == 0);
	for (i = 0; i < 20 && accepted < 1; i++)
		event_base_loop(base, EVLOOP_ONCE);
	right(accepted == 1);
out:
	if (listener)
		evconnlistener_free(listener);
	if (base)
		event_base_free(base);
	if (fd >= 0)
		close(fd);
	return result;
}

static int util(void)
{
	struct evutil_monotonic_timer *timer = evutil_monotonic_timer_new();
	struct evutil_addrinfo hints, *list = NULL;
	struct sockaddr_storage ss;
	struct timeval tv;
	unsigned char bytes[64];
	unsigned index;
	int length = sizeof ss, result = 0, error;

	may(timer);
	right(evutil_configure_monotonic_time(timer, 0) == 0 && evutil_gettime_monotonic(timer, &tv) == 0);
	evutil_secure_rng_get_bytes(bytes, sizeof bytes);
	right(evutil_parse_sockaddr_port("[fe80::1%1]:80", (struct sockaddr *)&ss, &length) == 0);
	right(evutil_inet_pton_scope(AF_INET6, "fe80::1%1", bytes, &index) == 1);
	memset(&hints, 0, sizeof hints);
	hints.ai_flags = EVUTIL_AI_NUMERICHOST;
	error = evutil_getaddrinfo("127.0.0.1", "80", &hints, &list);
	right(error == 0 || error == EVUTIL_EAI_MEMORY);
	if (!error)
		evutil_freeaddrinfo(list);
out:
	evutil_monotonic_timer_free(timer);
	return result;
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "added", added }, { "prepended", prepended }, { "referenced", referenced }, { "moved", moved }, { "files", files },
		{ "searched", searched }, { "watched", watched }, { "carried", carried }, { "peeked", peeked }, { "locked", locked },
		{ "put off", put_off }, { "tagged", tagged }, { "listens", listens }, { "listens, threadsafe", listens_threadsafe },
		{ "listens, exhausted", listens_exhausted }, { "util", util }, { NULL, NULL } };
	size_t i;

	for (i = 0; i < sizeof large; i++)
		large[i] = 'a' + i % 26;
	return main_of(scenarios, argc, argv);
}
