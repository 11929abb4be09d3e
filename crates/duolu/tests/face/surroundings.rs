//! The loop among others: another loop, the environment.

use crate::{counting, loop_on, pair};
use duolu::{BackendKind, EventLoop, Interest, Next};
use std::io::Write;
use std::time::Duration;

#[test]
fn a_loop_inside_a_loop() {
    for kind in [BackendKind::Epoll, BackendKind::IoUring] {
        let mut inner = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        inner.register(near, Interest::READ, counting).expect("registered");
        let descriptor = inner.descriptor().expect("embeddable");
        assert_eq!(inner.sleep(), None);
        let mut outer = EventLoop::new().expect("a loop");
        // SAFETY: `inner` outlives `outer`'s only turn.
        #[allow(unsafe_code)]
        let watch = unsafe {
            outer.register_raw(descriptor, Interest::READ, |ctx, _, _| {
                ctx.stop();
                Next::Keep
            })
        };
        watch.expect("registered");
        far.write_all(b"in").expect("written");
        outer.run().expect("a run");
        inner.run_nonblocking().expect("a turn");
        assert_eq!(inner.data(), b"in", "{kind}");
        inner.after(Duration::from_secs(9), |_| ());
        let sleep = inner.sleep().expect("a timer is armed");
        assert!(sleep > Duration::from_secs(8) && sleep <= Duration::from_secs(9));
    }
}

#[test]
fn an_unknown_backend_in_the_environment_is_an_error_that_lists_the_names() {
    let exe = std::env::current_exe().expect("this test");
    let run = |value: &str| {
        let output = std::process::Command::new(&exe)
            .args([
                "--exact",
                "--nocapture",
                "surroundings::the_loop_says_which_backend_the_environment_chose",
            ])
            .env("DUOLU_BACKEND", value)
            .output()
            .expect("runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(run("poll").contains("chose poll"));
    assert!(run("").contains("chose epoll"));
    let refused = run("kqueue");
    assert!(
        refused.contains("DUOLU_BACKEND=kqueue names no backend; use one of select, poll, epoll, io_uring"),
        "{refused}"
    );
}

#[test]
fn the_loop_says_which_backend_the_environment_chose() {
    match EventLoop::new() {
        Ok(mut event_loop) => println!("chose {}", event_loop.backend_name()),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn the_environment_may_ask_for_completions() {
    let exe = std::env::current_exe().expect("this test");
    let run = |value: &str, forbidden: &str| {
        let output = std::process::Command::new(&exe)
            .args(["--exact", "--nocapture", "surroundings::the_loop_says_how_streams_go"])
            .env("DUOLU_STREAMS", value)
            .env("DUOLU_BACKEND", forbidden)
            .output()
            .expect("runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for never in ["", "readiness"] {
        assert!(run(never, "").contains("completions: false, epoll, None"), "{}", run(never, ""));
    }
    let instead = run("completions", "poll");
    let why = "streams are not moved by completions: poll was preferred, and only io_uring can";
    assert!(instead.contains(&format!("completions: false, poll, Some({why:?})")), "{instead}");
    let refused = run("yes", "");
    assert!(refused.contains("DUOLU_STREAMS=yes is neither completions nor readiness"), "{refused}");
    if std::env::var_os("DUOLU_TEST_NO_URING").is_none_or(|value| value != "1") {
        let asked = run("completions", "");
        assert!(asked.contains("completions: true, io_uring, None"), "{asked}");
    }
}

#[test]
fn the_loop_says_how_streams_go() {
    match EventLoop::new() {
        Ok(mut event_loop) => {
            let (transfers, backend) = (event_loop.features().transfers, event_loop.backend_name());
            println!("completions: {transfers}, {backend}, {:?}", event_loop.stream_fallback());
        }
        Err(error) => println!("refused: {error}"),
    }
}
