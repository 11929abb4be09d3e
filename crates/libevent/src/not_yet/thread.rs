//! event2/thread.h: see [`super`].

fails! { minus_one;
}
