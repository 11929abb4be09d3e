/* getaddrinfo without a network, and its kin. conform: methods=epoll */
#include "conform.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

static void ask(const char *node, const char *service, int flags, int family, int socktype)
{
	struct evutil_addrinfo hints, *list = NULL, *at;
	int error;

	memset(&hints, 0, sizeof hints);
	hints.ai_flags = flags;
	hints.ai_family = family;
	hints.ai_socktype = socktype;
	error = evutil_getaddrinfo(node, service, &hints, &list);
	say("%s %s flags %x family %d type %d: %d", node ? node : "-", service ? service : "-", flags, family, socktype, error);
	if (error)
		return;
	for (at = list; at; at = at->ai_next) {
		char text[64];
		struct sockaddr_in *sin = (struct sockaddr_in *)at->ai_addr;
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)at->ai_addr;

		say("  family %d type %d protocol %d: %s %d%s%s", at->ai_family, at->ai_socktype, at->ai_protocol,
		    at->ai_family == AF_INET ? evutil_inet_ntop(AF_INET, &sin->sin_addr, text, sizeof text)
			: evutil_inet_ntop(AF_INET6, &sin6->sin6_addr, text, sizeof text),
		    ntohs(sin->sin_port), at->ai_canonname ? " " : "", at->ai_canonname ? at->ai_canonname : "");
	}
	evutil_freeaddrinfo(list);
}

int main(void)
{
	struct evutil_addrinfo *list = NULL;
	static const int errors[] = { EVUTIL_EAI_ADDRFAMILY, EVUTIL_EAI_AGAIN, EVUTIL_EAI_BADFLAGS, EVUTIL_EAI_FAIL, EVUTIL_EAI_FAMILY,
		EVUTIL_EAI_MEMORY, EVUTIL_EAI_NODATA, EVUTIL_EAI_NONAME, EVUTIL_EAI_SERVICE, EVUTIL_EAI_SOCKTYPE, EVUTIL_EAI_SYSTEM,
		EVUTIL_EAI_CANCEL, 0, 12345 };
	size_t i;

	ask("1.2.3.4", "80", 0, AF_UNSPEC, SOCK_STREAM);
	ask("1.2.3.4", "80", 0, AF_UNSPEC, 0);
	ask("1.2.3.4", NULL, EVUTIL_AI_NUMERICHOST | EVUTIL_AI_CANONNAME, AF_INET, SOCK_DGRAM);
	ask("::1", "443", EVUTIL_AI_NUMERICHOST | EVUTIL_AI_NUMERICSERV, AF_INET6, SOCK_STREAM);
	ask("::1", "443", 0, AF_INET, SOCK_STREAM);
	ask(NULL, "80", EVUTIL_AI_PASSIVE, AF_UNSPEC, SOCK_STREAM);
	ask(NULL, "80", 0, AF_UNSPEC, SOCK_STREAM);
	ask(NULL, NULL, 0, AF_UNSPEC, SOCK_STREAM);
	ask("1.2.3.4", "no-such-service", 0, AF_UNSPEC, SOCK_STREAM);
	ask("1.2.3.4", "ssh", EVUTIL_AI_NUMERICSERV, AF_UNSPEC, SOCK_STREAM);
	ask("www.example.com", "80", EVUTIL_AI_NUMERICHOST, AF_UNSPEC, SOCK_STREAM);
	ask("1.2.3.4", "80", 0, 77, SOCK_STREAM);
	ask("127.0.0.1", "80", EVUTIL_AI_V4MAPPED, AF_INET6, SOCK_STREAM);
	show(evutil_getaddrinfo("1.2.3.4", "1", NULL, &list));
	show(list->ai_family == AF_INET && list->ai_next && list->ai_next->ai_next);
	evutil_freeaddrinfo(list);
	for (i = 0; i < sizeof errors / sizeof *errors; i++) {
		const char *text = evutil_gai_strerror(errors[i]);

		say("%d has a text: %d", errors[i], text && *text);
	}
	return 0;
}
