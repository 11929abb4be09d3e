//! The same C programs on C libevent and on ours, each with epoll, poll and select, and on ours with io_uring.

use duolu_conform::{Method, Program, compile, ours, run};

include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// Otherwise the others would be compared on epoll twice.
#[test]
fn bases_are_made_with_io_uring() {
    if Method::IoUring.is_left_out() {
        return eprintln!("DUOLU_TEST_NO_URING=1: no program runs on io_uring");
    }
    let mut variables = Method::IoUring.variables().to_vec();
    variables.push(("LD_LIBRARY_PATH", ours().folder.to_str()));
    let preload = std::env::var("DUOLU_LIBEVENT_PRELOAD").ok();
    variables.push(("LD_PRELOAD", preload.as_deref()));
    let outcome = run(&compile("tests/method.c", &["event"]), &variables, Program::of("").most);
    assert_eq!(outcome.stdout, "io_uring\n", "{}DUOLU_TEST_NO_URING=1 leaves io_uring out", outcome.stderr);
}
