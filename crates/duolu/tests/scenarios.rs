//! Scenarios: each is a few lines, written once against the engine, and played on the simulated imitations and
//! on every real backend, so that backends cannot drift apart.
//!
//! `stage` is what a scenario sees; `real` and `simulated` are the two sorts of world under it. Where
//! io_uring cannot be had, DUOLU_TEST_NO_URING=1 leaves it out.

#[path = "scenarios/stage.rs"]
mod stage;

#[path = "scenarios/real.rs"]
mod real;
#[path = "scenarios/simulated.rs"]
mod simulated;

/// Defines scenarios and plays each on every pair of hands: `module::hands::scenario`.
macro_rules! scenarios {
    ($($(#[$doc:meta])* fn $name:ident($stage:ident) $body:block)*) => {
        use crate::stage::Stage;
        $($(#[$doc])* fn $name($stage: &mut Stage) $body)*
        mod sim_epoll { $(#[test] fn $name() { crate::stage::Hands::SIM_EPOLL.play(super::$name) })* }
        mod sim_poll { $(#[test] fn $name() { crate::stage::Hands::SIM_POLL.play(super::$name) })* }
        mod sim_select { $(#[test] fn $name() { crate::stage::Hands::SIM_SELECT.play(super::$name) })* }
        mod sim_io_uring { $(#[test] fn $name() { crate::stage::Hands::SIM_IO_URING.play(super::$name) })* }
        mod select { $(#[test] fn $name() { crate::stage::Hands::SELECT.play(super::$name) })* }
        mod poll { $(#[test] fn $name() { crate::stage::Hands::POLL.play(super::$name) })* }
        mod epoll { $(#[test] fn $name() { crate::stage::Hands::EPOLL.play(super::$name) })* }
        mod io_uring { $(#[test] fn $name() { crate::stage::Hands::IO_URING.play(super::$name) })* }
    };
}

#[path = "scenarios/callbacks.rs"]
mod callbacks;
#[path = "scenarios/descriptors.rs"]
mod descriptors;
#[path = "scenarios/faults.rs"]
mod faults;
#[path = "scenarios/io.rs"]
mod io;
#[path = "scenarios/time.rs"]
mod time;
#[path = "scenarios/trigger.rs"]
mod trigger;
