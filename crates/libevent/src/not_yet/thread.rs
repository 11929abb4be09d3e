//! event2/thread.h: see [`super`].

fails! { minus_one;
    evthread_make_base_notifiable
    evthread_set_condition_callbacks
    evthread_set_lock_callbacks
    evthread_use_pthreads
}

fails! { nothing;
    evthread_enable_lock_debugging
    evthread_enable_lock_debuging
    evthread_set_id_callback
}
