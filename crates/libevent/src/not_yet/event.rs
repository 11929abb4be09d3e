//! event2/event.h: see [`super`].

fails! { null;
    event_base_get_method
    event_base_get_running_event
    event_base_init_common_timeout
    event_base_new
    event_base_new_with_config
    event_config_new
    event_get_base
    event_get_callback
    event_get_callback_arg
    event_get_method
    event_get_supported_methods
    event_get_version
    event_init
    event_new
    event_self_cbarg
}

fails! { minus_one;
    event_add
    event_assign
    event_base_dispatch
    event_base_foreach_event
    event_base_get_features
    event_base_get_max_events
    event_base_get_npriorities
    event_base_get_num_events
    event_base_gettimeofday_cached
    event_base_got_break
    event_base_got_exit
    event_base_loop
    event_base_loopbreak
    event_base_loopcontinue
    event_base_loopexit
    event_base_once
    event_base_priority_init
    event_base_set
    event_base_update_cache_time
    event_config_avoid_method
    event_config_require_features
    event_config_set_flag
    event_config_set_max_dispatch_interval
    event_config_set_num_cpus_hint
    event_del
    event_del_block
    event_del_noblock
    event_dispatch
    event_finalize
    event_free_finalize
    event_get_events
    event_get_fd
    event_get_priority
    event_get_version_number
    event_gettime_monotonic
    event_initialized
    event_loop
    event_loopbreak
    event_loopexit
    event_once
    event_pending
    event_priority_init
    event_priority_set
    event_reinit
    event_remove_timer
}

fails! { zero;
    event_get_struct_event_size
}

fails! { nothing;
    event_active
    event_base_active_by_fd
    event_base_active_by_signal
    event_base_dump_events
    event_base_free
    event_base_free_nofinalize
    event_config_free
    event_debug_unassign
    event_enable_debug_mode
    event_free
    event_get_assignment
    event_set
    libevent_global_shutdown
}
