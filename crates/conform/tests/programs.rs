//! The same C programs on C libevent and on ours, each with epoll, poll and select.

include!(concat!(env!("OUT_DIR"), "/programs.rs"));
