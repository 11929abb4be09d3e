//! What a person sees who asks for something that cannot be, and the words of a server that runs.

use crate::server::{Server, duolu};
use std::io::{Read, Write};

/// Exit code and stderr of `duolu serve ...`, which must end by itself.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let output = duolu().arg("serve").args(arguments).output().unwrap();
    assert!(output.stdout.is_empty(), "{arguments:?}: nothing on stdout");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_port_in_use_names_who_and_what_to_do() {
    let first = Server::start("echo", "epoll-lt", &[]);
    let address = first.address.to_string();
    let (code, text) = refused(&["http", &address, "--model", "thread"]);
    assert_eq!(code, Some(3));
    assert!(text.contains(&address) && text.contains(&format!("duolu (pid {})", first.pid())), "{text}");
    assert!(text.contains("--port"), "{text}");
}

#[test]
fn usage_errors_say_what_would_do() {
    for (arguments, words) in [
        (&["ecko"][..], &["'ecko'", "'echo'"][..]),
        (&["echo", "--model", "epol-et"], &["'epol-et'", "'epoll-et'"]),
        (&["echo", "nowhere!"], &["'nowhere!'", "127.0.0.1:8080"]),
        (&["echo", ":70000"], &["':70000'", "65535"]),
        (&["echo", ":1", "--port", "2"], &["ADDR", "--port"]),
        (&["echo", "--model", "fork", "--workers", "2"], &["--workers", "fork", "prefork"]),
        (&["echo", "--model", "thread", "--accept", "shared"], &["--accept", "event-driven"]),
        (&["echo", "--model", "poll", "--accept", "exclusive"], &["EPOLLEXCLUSIVE", "poll", "reuseport"]),
        (&["echo", "--drain", "soon"], &["'soon'", "500ms"]),
        (&["echo", "--workers", "0"], &["1..=1024"]),
    ] {
        let (code, text) = refused(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?} should mention {word}: {text}");
        }
    }
}

#[test]
fn an_address_of_another_machine_is_told_apart() {
    let (code, text) = refused(&["echo", "192.0.2.1:0"]);
    assert_eq!(code, Some(3));
    assert!(text.contains("no address of this machine"), "{text}");
}

/// `duolu serve echo 2>&1 | head -1`: nobody hears the warnings any more, and that is no reason to end.
#[test]
fn a_server_outlives_whoever_reads_its_stderr() {
    let deaf = |arguments: &[&str]| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 2>/dev/full"]).arg(duolu().get_program()).args(arguments);
        command
    };
    for model in ["thread", "epoll-et"] {
        let mut server = Server::spawn(&mut deaf(&["serve", "echo", "0", "--model", model]));
        let mut stream = server.connect();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        server.signal(rustix::process::Signal::TERM); // the open connection is worth a line, too
        drop(stream);
        assert_eq!(server.exit_code(), Some(0), "{model}");
    }
    let status = deaf(&["serve", "echo", "192.0.2.1:0"]).status().unwrap();
    assert_eq!(status.code(), Some(3), "the reason is lost, the exit code is not");
}

#[test]
fn help_begins_with_two_examples_and_names_every_model() {
    let output = duolu().args(["serve", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("Examples:\n  duolu serve "), "{text}");
    assert_eq!(text.lines().skip(1).take_while(|line| line.starts_with("  duolu serve ")).count(), 2);
    for word in [
        "fork",
        "prefork",
        "thread",
        "select",
        "poll",
        "epoll-lt",
        "epoll-oneshot",
        "io_uring-poll",
        "io_uring",
    ] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn a_ready_server_says_so_in_one_line_and_quietly_not_at_all() {
    let mut server = Server::start("echo", "epoll-et", &[]);
    server.signal(rustix::process::Signal::TERM);
    server.wait();
    let pid = server.pid();
    let line =
        format!("duolu serve: echo on {}, model epoll-et, 1 worker, pid {pid}, at most ", server.address);
    let text = server.stderr();
    assert!(
        text.starts_with(&line) && text.ends_with(" descriptors\n") && text.lines().count() == 1,
        "{text}"
    );
    assert_eq!(server.ready["schema"], 1);
    assert_eq!(server.ready["ready"], true);
    assert_eq!(server.ready["service"], "echo");
    assert_eq!(server.ready["port"], server.address.port());
    assert_eq!(server.ready["pid"], pid);
    assert_eq!(server.ready["backend"], "epoll");
    assert!(server.ready["fallback"].is_null());

    let mut quiet = Server::start("http", "prefork", &["--quiet", "--workers", "2"]);
    quiet.signal(rustix::process::Signal::TERM);
    quiet.wait();
    assert_eq!(quiet.stderr(), "");
}
