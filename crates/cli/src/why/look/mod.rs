//! Looking at other processes, read-only: descriptors, epoll instances, rings, what threads are in.
//!
//! Traps:
//! (a) Everything may change or end between two reads. What has gone is left out, never guessed.
//! (b) Three kinds of permission (ptrace(2)): everybody may read status, stat, limits and the count of descriptors;
//!     who may *read* the process (its user) sees fd, fdinfo, maps, wchan; only who may *attach* to it sees syscall
//!     and mem. Yama's ptrace_scope takes the last from the process's own user.
//! (c) Reading an epoll's or a ring's fdinfo holds its lock while every entry is printed: once a run, not once a look.

pub mod epoll;
pub mod fds;
pub mod process;
pub mod ring;
pub mod threads;
pub mod wait;
