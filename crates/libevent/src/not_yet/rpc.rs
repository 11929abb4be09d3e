//! event2/rpc.h: see [`super`].

fails! { null;
    evrpc_add_hook
    evrpc_get_reply
    evrpc_get_request
    evrpc_hook_get_connection
    evrpc_init
    evrpc_make_request_ctx
    evrpc_pool_new
    evrpc_request_get_pool
}

fails! { minus_one;
    evrpc_hook_find_meta
    evrpc_make_request
    evrpc_register_generic
    evrpc_register_rpc
    evrpc_resume_request
    evrpc_send_request_generic
    evrpc_unregister_rpc
}

fails! { nothing;
    evrpc_free
    evrpc_hook_add_meta
    evrpc_pool_add_connection
    evrpc_pool_free
    evrpc_pool_remove_connection
    evrpc_pool_set_timeout
    evrpc_request_done
    evrpc_request_set_cb
    evrpc_request_set_pool
}

// 1 is success, 0 is failure.
fails! { zero;
    evrpc_remove_hook
}
