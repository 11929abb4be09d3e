//! Waiting for many: select, poll, epoll. `kit` and `task` are what several labs need.

mod blocking;
mod callback;
mod ctl;
mod epoll_create;
mod epoll_inside;
mod et_uses;
mod event;
mod kit;
mod lt_et;
mod nonblock;
mod poll;
mod ptr;
mod ready_list;
mod select;
mod select_1024;
mod sparse;
mod task;

use super::experiment::Lab;

/// In the order of the notes.
pub const LABS: &[&Lab] = &[
    &blocking::LAB,
    &select::LAB,
    &select_1024::LAB,
    &sparse::LAB,
    &poll::LAB,
    &ready_list::LAB,
    &event::LAB,
    &epoll_create::LAB,
    &epoll_inside::LAB,
    &ctl::LAB,
    &ptr::LAB,
    &lt_et::LAB,
    &et_uses::LAB,
    &nonblock::LAB,
    &callback::LAB,
];
