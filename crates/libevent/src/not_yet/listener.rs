//! event2/listener.h: see [`super`].

fails! { null;
    evconnlistener_get_base
    evconnlistener_new
    evconnlistener_new_bind
}

fails! { minus_one;
    evconnlistener_disable
    evconnlistener_enable
    evconnlistener_get_fd
}

fails! { nothing;
    evconnlistener_free
    evconnlistener_set_cb
    evconnlistener_set_error_cb
}
