//! event2/thread.h: see [`super`].

fails! { minus_one;
    evthread_make_base_notifiable
}
