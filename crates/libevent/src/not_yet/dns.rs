//! event2/dns.h: see [`super`].

fails! { null;
    evdns_add_server_port
    evdns_add_server_port_with_base
    evdns_base_new
    evdns_base_resolve_ipv4
    evdns_base_resolve_ipv6
    evdns_base_resolve_reverse
    evdns_base_resolve_reverse_ipv6
    evdns_err_to_string
    evdns_get_global_base
    evdns_getaddrinfo
}

fails! { minus_one;
    evdns_base_clear_nameservers_and_suspend
    evdns_base_count_nameservers
    evdns_base_get_nameserver_addr
    evdns_base_load_hosts
    evdns_base_nameserver_add
    evdns_base_nameserver_ip_add
    evdns_base_nameserver_sockaddr_add
    evdns_base_resolv_conf_parse
    evdns_base_resume
    evdns_base_set_option
    evdns_clear_nameservers_and_suspend
    evdns_count_nameservers
    evdns_init
    evdns_nameserver_add
    evdns_nameserver_ip_add
    evdns_resolv_conf_parse
    evdns_resolve_ipv4
    evdns_resolve_ipv6
    evdns_resolve_reverse
    evdns_resolve_reverse_ipv6
    evdns_resume
    evdns_server_request_add_a_reply
    evdns_server_request_add_aaaa_reply
    evdns_server_request_add_cname_reply
    evdns_server_request_add_ptr_reply
    evdns_server_request_add_reply
    evdns_server_request_drop
    evdns_server_request_get_requesting_addr
    evdns_server_request_respond
    evdns_set_option
}

fails! { nothing;
    evdns_base_clear_host_addresses
    evdns_base_free
    evdns_base_search_add
    evdns_base_search_clear
    evdns_base_search_ndots_set
    evdns_cancel_request
    evdns_close_server_port
    evdns_getaddrinfo_cancel
    evdns_search_add
    evdns_search_clear
    evdns_search_ndots_set
    evdns_server_request_set_flags
    evdns_set_log_fn
    evdns_set_random_bytes_fn
    evdns_set_transaction_id_fn
    evdns_shutdown
}
