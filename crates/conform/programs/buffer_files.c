/* Parts of files in evbuffers. conform: methods=epoll */
#include "conform.h"
#include <sys/mman.h>

static int cleaned;

static void clean(const struct evbuffer_file_segment *segment, int flags, void *arg)
{
	(void)segment;
	cleaned++;
	say("cleaned %s, flags %d", (char *)arg, flags);
}

static int a_file(void)
{
	char name[] = "/tmp/duolu-conform-XXXXXX", bytes[10000];
	int file = mkstemp(name);

	must(file >= 0 && unlink(name) == 0);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)('0' + i % 10);
	must(write(file, bytes, sizeof bytes) == sizeof bytes);
	return file;
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static unsigned long sum(const unsigned char *bytes, size_t length)
{
	unsigned long sum = length;

	while (length--)
		sum = sum * 31 + *bytes++;
	return sum;
}

static void contents(struct evbuffer *buffer)
{
	size_t length = evbuffer_get_length(buffer);

	say("%zu bytes, sum %lx", length, sum(evbuffer_pullup(buffer, -1), length));
}

/* All of it through a socket pair. */
static void send_all(struct evbuffer *buffer)
{
	struct evbuffer *got = evbuffer_new();
	int fd[2];

	a_pair(fd);
	while (evbuffer_get_length(buffer)) {
		must(evbuffer_write(buffer, fd[0]) > 0);
		while (evbuffer_read(got, fd[1], -1) > 0)
			;
	}
	contents(got);
	evbuffer_free(got);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	static const unsigned flags[] = { 0, EVBUF_FS_DISABLE_SENDFILE, EVBUF_FS_DISABLE_SENDFILE | EVBUF_FS_DISABLE_MMAP,
		EVBUF_FS_DISABLE_MMAP, EVBUF_FS_DISABLE_LOCKING };
	struct evbuffer *buffer = evbuffer_new(), *other = evbuffer_new();
	struct evbuffer_file_segment *segment;
	int file = a_file(), pipes[2], copy;

	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	for (int drains = 0; drains < 2; drains++) {
		for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
			say("drains %d, flags %u", drains, flags[i]);
			if (drains)
				show(evbuffer_set_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD));
			else
				show(evbuffer_clear_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD));
			segment = evbuffer_file_segment_new(file, 100, 9000, flags[i]);
			must(segment != NULL);
			evbuffer_file_segment_add_cleanup_cb(segment, clean, "segment");
			evbuffer_add(buffer, "before", 6);
			show(evbuffer_add_file_segment(buffer, segment, 5000, 10));
			evbuffer_add(buffer, "between", 7);
			show(evbuffer_add_file_segment(buffer, segment, 0, -1));
			show(evbuffer_add_file_segment(buffer, segment, 8000, -1));
			show(evbuffer_add_file_segment(buffer, segment, 9000, 0));
			show(evbuffer_get_length(buffer));
			evbuffer_file_segment_free(segment);
			show(cleaned);
			/* What is a file is not referred to by others. */
			show(evbuffer_add_buffer_reference(other, buffer));
			if (!drains) {
				evbuffer_prepend(buffer, "-", 1);
				show(evbuffer_search(buffer, "789b", 4, NULL).pos);
				show(evbuffer_remove_buffer(buffer, other, 3000));
				contents(other);
				evbuffer_drain(other, 100000);
			}
			send_all(buffer);
			show(cleaned);
			cleaned = 0;
		}
	}
	evbuffer_clear_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD);

	say("whole files");
	copy = dup(file);
	show(evbuffer_add_file(buffer, copy, 0, -1));
	contents(buffer);
	show(is_open(copy));
	evbuffer_drain(buffer, 9999);
	show(is_open(copy));
	evbuffer_drain(buffer, 1);
	show(is_open(copy));
	copy = dup(file);
	show(evbuffer_add_file(buffer, copy, 9000, 500));
	evbuffer_free(other);
	evbuffer_free(buffer);
	show(is_open(copy));

	say("refused");
	buffer = evbuffer_new();
	show(evbuffer_file_segment_new(file, -1, 10, 0) == NULL);
	show(evbuffer_file_segment_new(file, 10, -2, 0) == NULL);
	show(evbuffer_file_segment_new(file, INT64_MAX - 5, 10, 0) == NULL);
	show(evbuffer_file_segment_new(-1, 0, -1, 0) == NULL);
	show(evbuffer_file_segment_new(-1, 0, 10, EVBUF_FS_DISABLE_SENDFILE | EVBUF_FS_DISABLE_MMAP) == NULL);
	must(pipe(pipes) == 0);
	show(evbuffer_file_segment_new(pipes[0], 0, 10, EVBUF_FS_DISABLE_SENDFILE | EVBUF_FS_DISABLE_MMAP) == NULL);
	/* Shorter than that. */
	show(evbuffer_file_segment_new(file, 9000, 2000, EVBUF_FS_DISABLE_SENDFILE | EVBUF_FS_DISABLE_MMAP) == NULL);
	show(evbuffer_add_file(buffer, file, -5, 10));
	show(is_open(file));
	copy = dup(file);
	evbuffer_freeze(buffer, 0);
	show(evbuffer_add_file(buffer, copy, 0, 10));
	show(is_open(copy));
	evbuffer_unfreeze(buffer, 0);
	show(evbuffer_get_length(buffer));
	evbuffer_free(buffer);
	return 0;
}
