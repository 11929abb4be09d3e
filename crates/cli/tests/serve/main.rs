//! `duolu serve` as its users meet it: real processes, real sockets on the loopback, each test bounded in time.

mod clients;
mod ending;
mod errors;
mod exchange;
mod http;
mod lame_duck;
mod limits;
#[path = "../support/metric.rs"]
mod metric;
#[path = "../support/pattern.rs"]
mod pattern;
mod processes;
mod server;
mod silent;
mod surroundings;

/// One test for each model, so that a failure names it.
macro_rules! for_each_model {
    ($($check:ident),* $(,)?) => { $(
        mod $check {
            $crate::for_each_model!(@models super::$check:
                fork "fork", prefork "prefork", thread "thread", select "select", poll "poll", epoll_lt "epoll-lt",
                epoll_et "epoll-et", epoll_oneshot "epoll-oneshot", io_uring_poll "io_uring-poll",
                io_uring "io_uring");
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
