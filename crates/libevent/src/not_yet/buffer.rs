//! event2/buffer.h: see [`super`].

fails! { minus_one;
    evbuffer_defer_callbacks
}
