/* HTTP, DNS and RPC come later: until then they fail as their headers say, and say so once each. conform: alone=not-yet methods=epoll */
#include "conform.h"
#include <sys/queue.h>
#include <event2/dns.h>
#include <event2/dns_compat.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/rpc.h>

static int lines, answers;

static void count(int severity, const char *message)
{
	lines++;
	if (severity != EVENT_LOG_WARN || !strstr(message, "not"))
		say("log %d: %s", severity, message);
}

static void answered(int error, struct evutil_addrinfo *list, void *arg)
{
	answers++;
	if (error != EVUTIL_EAI_FAIL || list || arg != &answers)
		say("answer %d", error);
}

/* errno says why, each time; the log says which, once. */
#define fails(call, failure) do { \
	int before = lines; \
	errno = 0; \
	if ((call) != (failure)) say("%s is not %s", #call, #failure); \
	if (errno != ENOSYS) say("%s: errno %d", #call, errno); \
	if (lines != before + 1) say("%s: %d lines", #call, lines - before); \
	(void)(call); \
	if (lines != before + 1) say("%s: said again", #call); \
} while (0)

int main(void)
{
	struct event_base *base = a_base();
	struct evkeyvalq fields;
	struct evkeyval *field;
	char *address = (char *)1;
	uint16_t port = 7;
	int i, n = 0;

	event_set_log_callback(count);
	fails(evhttp_new(base), NULL);
	fails(evhttp_bind_socket(NULL, "127.0.0.1", 0), -1);
	fails(evhttp_bind_socket_with_handle(NULL, "127.0.0.1", 0), NULL);
	fails(evhttp_set_cb(NULL, "/", NULL, NULL), -2);
	fails(evhttp_del_cb(NULL, "/"), -1);
	fails(evhttp_connection_base_new(base, NULL, "127.0.0.1", 80), NULL);
	fails(evhttp_request_new(NULL, NULL), NULL);
	fails(evhttp_make_request(NULL, NULL, EVHTTP_REQ_GET, "/"), -1);
	fails(evhttp_request_is_owned(NULL), 0);
	fails(evhttp_request_get_response_code(NULL), 0);
	fails(evhttp_uri_parse("http://x/"), NULL);
	fails(evhttp_uri_get_port(NULL), -1);
	fails(evhttp_encode_uri("a b"), NULL);
	fails(evhttp_htmlescape("<"), NULL);
	memset(&fields, 0x55, sizeof fields);
	fails(evhttp_parse_query_str("a=b", &fields), -1);
	TAILQ_FOREACH(field, &fields, next)
		n++;
	if (n || !TAILQ_EMPTY(&fields))
		say("fields: %d", n);
	evhttp_connection_get_peer(NULL, &address, &port);
	if (address || port)
		say("a peer");
	evhttp_free(NULL);
	evhttp_uri_free(NULL);

	fails(evdns_base_new(base, 1), NULL);
	fails(evdns_base_count_nameservers(NULL), 0);
	fails(evdns_base_nameserver_ip_add(NULL, "127.0.0.1"), -1);
	fails(evdns_base_resolv_conf_parse(NULL, DNS_OPTIONS_ALL, "/etc/resolv.conf"), 1);
	fails(evdns_base_resolve_ipv4(NULL, "localhost", 0, NULL, NULL), NULL);
	fails(evdns_resolve_ipv4("localhost", 0, NULL, NULL), -1);
	fails(evdns_getaddrinfo(NULL, "localhost", "80", NULL, answered, &answers), NULL);
	if (answers != 2)
		say("%d answers", answers);
	for (i = -1; i < 80; i++)
		if (!*evdns_err_to_string(i))
			say("%d has no text", i);
	evdns_base_free(NULL, 1);

	fails(evrpc_init(NULL), NULL);
	fails(evrpc_pool_new(base), NULL);
	fails(evrpc_remove_hook(NULL, EVRPC_INPUT, NULL), 0);
	event_base_free(base);
	say("ok");
	return 0;
}
