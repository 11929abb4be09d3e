//! Streams, written once against a `Stage` and played on TCP and Unix sockets on every backend, and on simulated sockets
//! on every imitation: `module::world::scenario`. DUOLU_TEST_NO_URING=1 leaves io_uring out where it cannot be had.

#[path = "streams/filters.rs"]
mod filters;
#[path = "streams/stage.rs"]
mod stage;

/// Defines scenarios and plays each in every world.
macro_rules! scenarios {
    ($($(#[$doc:meta])* fn $name:ident($stage:ident) $body:block)*) => {
        use crate::stage::Stage;
        $($(#[$doc])* fn $name($stage: &mut Stage) $body)*
        mod sim_epoll { $(#[test] fn $name() { crate::stage::World::SIM_EPOLL.play(super::$name) })* }
        mod sim_poll { $(#[test] fn $name() { crate::stage::World::SIM_POLL.play(super::$name) })* }
        mod sim_select { $(#[test] fn $name() { crate::stage::World::SIM_SELECT.play(super::$name) })* }
        mod sim_io_uring { $(#[test] fn $name() { crate::stage::World::SIM_IO_URING.play(super::$name) })* }
        mod select { $(#[test] fn $name() { crate::stage::World::SELECT.play(super::$name) })* }
        mod poll { $(#[test] fn $name() { crate::stage::World::POLL.play(super::$name) })* }
        mod epoll { $(#[test] fn $name() { crate::stage::World::EPOLL.play(super::$name) })* }
        mod io_uring { $(#[test] fn $name() { crate::stage::World::IO_URING.play(super::$name) })* }
        mod epoll_unix { $(#[test] fn $name() { crate::stage::World::EPOLL_UNIX.play(super::$name) })* }
        mod io_uring_unix { $(#[test] fn $name() { crate::stage::World::IO_URING_UNIX.play(super::$name) })* }
    };
}

#[path = "streams/connect.rs"]
mod connect;
#[path = "streams/cuts.rs"]
mod cuts;
#[path = "streams/ends.rs"]
mod ends;
#[path = "streams/flow.rs"]
mod flow;
#[path = "streams/inside.rs"]
mod inside;
#[path = "streams/layers.rs"]
mod layers;
#[path = "streams/limits.rs"]
mod limits;
