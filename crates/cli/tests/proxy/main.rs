//! `duolu serve proxy` as its users meet it: real processes and sockets on the loopback, with real neighbours on both
//! sides, each test bounded in time.

#[path = "../serve/server.rs"]
#[allow(dead_code, reason = "each test program takes what it needs")]
mod server;
#[path = "../why_support/mod.rs"]
mod support;

mod bytes;
mod ending;
mod ends;
mod header;
mod joined;
mod kit;
mod limits;
#[path = "../support/metric.rs"]
mod metric;
#[path = "../support/pattern.rs"]
mod pattern;
mod peers;
mod tls;
mod traced;
mod upstreams;

/// One test for each model that streams stand on, so that a failure names it.
macro_rules! for_each_model {
    ($($check:ident),* $(,)?) => { $(
        mod $check {
            $crate::for_each_model!(@models super::$check: select "select", poll "poll", epoll_lt "epoll-lt",
                io_uring_poll "io_uring-poll");
        }
    )* };
    (@models $check:path: $($name:ident $model:literal),*) => { $(
        #[test]
        fn $name() {
            if $crate::server::can_run($model) {
                $check($model);
            }
        }
    )* };
}
pub(crate) use for_each_model;

/// The same in both forms: the two sockets joined, as nothing looks at the bytes, and on streams, through memory.
macro_rules! for_each_form {
    ($($check:ident),* $(,)?) => { $(
        mod $check {
            $crate::for_each_model!(@models super::$check: select "select", poll "poll", epoll_lt "epoll-lt",
                io_uring_poll "io_uring-poll", copied_select "select, copied", copied_poll "poll, copied",
                copied_epoll_lt "epoll-lt, copied", copied_io_uring_poll "io_uring-poll, copied");
        }
    )* };
}
pub(crate) use for_each_form;
