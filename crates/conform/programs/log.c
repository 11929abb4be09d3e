/* Messages: their severity and words, the program's callback, the default on stderr, the fatal callback; and the two variadic
 * functions that event_rpcgen.py's code calls. conform: methods=epoll */
#include "conform.h"

void event_warn(const char *format, ...);
void event_warnx(const char *format, ...);

static void logged(int severity, const char *message)
{
	say("%s: %s", severity == EVENT_LOG_WARN ? "warn" : severity == EVENT_LOG_ERR ? "err" :
	    severity == EVENT_LOG_MSG ? "msg" : severity == EVENT_LOG_DEBUG ? "debug" : "?", message);
}

static void fatal(int code)
{
	say("fatal %d", code);
	_exit(33);
}

/* What a child says on stderr, and how it ends. */
static void child(const char *what, void (*body)(void))
{
	char text[512];
	int fd[2], status;
	ssize_t length, all = 0;
	pid_t pid;

	must(pipe(fd) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		dup2(fd[1], 2);
		body();
		_exit(0);
	}
	close(fd[1]);
	while ((length = read(fd[0], text + all, sizeof text - 1 - all)) > 0)
		all += length;
	text[all] = 0;
	close(fd[0]);
	must(waitpid(pid, &status, 0) == pid);
	say("%s: exit %d, signal %d, stderr \"%s\"", what, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
	    WIFSIGNALED(status) ? WTERMSIG(status) : 0, text);
}

static void by_default(void)
{
	event_set_log_callback(NULL);
	event_warnx("plain %d %s", 1, "text");
	errno = ENOENT;
	event_warn("with a reason %c", 'x');
}

static void twice(void)
{
	event_set_log_callback(NULL);
	event_enable_debug_mode();
	event_enable_debug_mode();
}

static void twice_with_callback(void)
{
	event_set_fatal_callback(fatal);
	event_set_log_callback(logged);
	event_enable_debug_mode();
	event_enable_debug_mode();
}

int main(void)
{
	char many[3000];

	event_set_log_callback(logged);
	event_warnx("%s", "");
	event_warnx("number %d, text %s, %5.2f, %zu", -5, "abc", 3.14159, (size_t)7);
	errno = EPIPE;
	event_warn("cannot %s", "write");
	show(errno == EPIPE);
	/* Long ones are cut. */
	memset(many, 'm', sizeof many - 1);
	many[sizeof many - 1] = 0;
	event_warnx("%s", many);
	errno = EPIPE;
	event_warn("%s", many);
	/* A percent sign of the text's own. */
	event_warnx("%s", "100%d");
	child("by default", by_default);
	child("fatal", twice);
	child("fatal with callback", twice_with_callback);
	event_enable_debug_logging(EVENT_DBG_NONE);
	event_set_log_callback(NULL);
	return 0;
}
