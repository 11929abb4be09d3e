/* What stable Rust cannot define: functions with `...`. Each turns its arguments into a va_list and goes on in Rust.
 * Their names here are private; Rust exports the public ones and jumps. */
#include <stdarg.h>
#include <stddef.h>

struct evbuffer;

int duolu_vsnprintf(char *to, size_t room, const char *format, va_list arguments);
int duolu_add_vprintf(struct evbuffer *buffer, const char *format, va_list arguments);
void duolu_vwarn(int with_errno, const char *format, va_list arguments);

int duolu_snprintf(char *to, size_t room, const char *format, ...);
int duolu_add_printf(struct evbuffer *buffer, const char *format, ...);
void duolu_warn(const char *format, ...);
void duolu_warnx(const char *format, ...);

int duolu_snprintf(char *to, size_t room, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = duolu_vsnprintf(to, room, format, arguments);
	va_end(arguments);
	return length;
}

int duolu_add_printf(struct evbuffer *buffer, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = duolu_add_vprintf(buffer, format, arguments);
	va_end(arguments);
	return length;
}

void duolu_warn(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	duolu_vwarn(1, format, arguments);
	va_end(arguments);
}

void duolu_warnx(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	duolu_vwarn(0, format, arguments);
	va_end(arguments);
}
