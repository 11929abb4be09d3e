//! event2/util.h: see [`super`].

fails! { null;
    evutil_gai_strerror
    evutil_inet_ntop
    evutil_monotonic_timer_new
}

fails! { minus_one;
    evutil_ascii_strcasecmp
    evutil_ascii_strncasecmp
    evutil_closesocket
    evutil_configure_monotonic_time
    evutil_date_rfc1123
    evutil_getaddrinfo
    evutil_gettime_monotonic
    evutil_inet_pton
    evutil_inet_pton_scope
    evutil_make_listen_socket_ipv6only
    evutil_make_listen_socket_reuseable
    evutil_make_listen_socket_reuseable_port
    evutil_make_socket_closeonexec
    evutil_make_socket_nonblocking
    evutil_make_tcp_listen_socket_deferred
    evutil_parse_sockaddr_port
    evutil_secure_rng_init
    evutil_secure_rng_set_urandom_device_file
    evutil_sockaddr_cmp
    evutil_socketpair
    evutil_strtoll
    evutil_vsnprintf
}

fails! { nothing;
    evutil_freeaddrinfo
    evutil_monotonic_timer_free
    evutil_secure_rng_add_bytes
    evutil_secure_rng_get_bytes
}
