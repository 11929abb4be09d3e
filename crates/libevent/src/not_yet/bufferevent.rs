//! event2/bufferevent.h: see [`super`].

fails! { null;
    bufferevent_filter_new
    bufferevent_get_base
    bufferevent_get_input
    bufferevent_get_output
    bufferevent_get_token_bucket_cfg
    bufferevent_get_underlying
    bufferevent_new
    bufferevent_pair_get_partner
    bufferevent_rate_limit_group_new
    bufferevent_socket_new
    ev_token_bucket_cfg_new
}

fails! { minus_one;
    bufferevent_add_to_rate_limit_group
    bufferevent_base_set
    bufferevent_decref
    bufferevent_decrement_read_limit
    bufferevent_decrement_write_limit
    bufferevent_disable
    bufferevent_enable
    bufferevent_flush
    bufferevent_get_enabled
    bufferevent_get_max_single_read
    bufferevent_get_max_single_write
    bufferevent_get_max_to_read
    bufferevent_get_max_to_write
    bufferevent_get_priority
    bufferevent_get_read_limit
    bufferevent_get_write_limit
    bufferevent_getfd
    bufferevent_getwatermark
    bufferevent_pair_new
    bufferevent_priority_set
    bufferevent_rate_limit_group_decrement_read
    bufferevent_rate_limit_group_decrement_write
    bufferevent_rate_limit_group_get_read_limit
    bufferevent_rate_limit_group_get_write_limit
    bufferevent_rate_limit_group_set_cfg
    bufferevent_rate_limit_group_set_min_share
    bufferevent_read_buffer
    bufferevent_remove_from_rate_limit_group
    bufferevent_set_max_single_read
    bufferevent_set_max_single_write
    bufferevent_set_rate_limit
    bufferevent_set_timeouts
    bufferevent_setfd
    bufferevent_socket_connect
    bufferevent_socket_connect_hostname
    bufferevent_socket_get_dns_error
    bufferevent_write
    bufferevent_write_buffer
}

fails! { zero;
    bufferevent_read
}

fails! { nothing;
    bufferevent_free
    bufferevent_getcb
    bufferevent_incref
    bufferevent_lock
    bufferevent_rate_limit_group_free
    bufferevent_rate_limit_group_get_totals
    bufferevent_rate_limit_group_reset_totals
    bufferevent_setcb
    bufferevent_settimeout
    bufferevent_setwatermark
    bufferevent_trigger
    bufferevent_trigger_event
    bufferevent_unlock
    ev_token_bucket_cfg_free
}
