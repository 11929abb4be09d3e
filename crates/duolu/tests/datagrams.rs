//! Datagrams, written once against a `Stage` and played on UDP (IPv4 and IPv6) and Unix sockets on every backend, and on
//! simulated sockets on every imitation: `module::world::scenario`. DUOLU_TEST_NO_URING=1 leaves io_uring out where it cannot
//! be had.

#[path = "datagrams/stage.rs"]
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
        mod epoll_v6 { $(#[test] fn $name() { crate::stage::World::EPOLL_V6.play(super::$name) })* }
        mod select_unix { $(#[test] fn $name() { crate::stage::World::SELECT_UNIX.play(super::$name) })* }
        mod poll_unix { $(#[test] fn $name() { crate::stage::World::POLL_UNIX.play(super::$name) })* }
        mod epoll_unix { $(#[test] fn $name() { crate::stage::World::EPOLL_UNIX.play(super::$name) })* }
        mod io_uring_unix { $(#[test] fn $name() { crate::stage::World::IO_URING_UNIX.play(super::$name) })* }
    };
}

#[path = "datagrams/errors.rs"]
mod errors;
#[path = "datagrams/injected.rs"]
mod injected;
#[path = "datagrams/internet.rs"]
mod internet;
#[path = "datagrams/lossy.rs"]
mod lossy;
#[path = "datagrams/messages.rs"]
mod messages;
#[path = "datagrams/room.rs"]
mod room;
