//! `--json-stream`: an object a line, and how it ends.

use crate::kit::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::Shutdown;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Ended with the test, whatever becomes of it.
struct Streaming(Child);

impl Drop for Streaming {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Streaming {
    fn start(args: &str) -> (Self, BufReader<ChildStdout>) {
        let mut child =
            command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("duolu runs");
        let stdout = child.stdout.take().expect("piped");
        (Streaming(child), BufReader::new(stdout))
    }

    fn code(&mut self) -> Option<i32> {
        until("the end", || self.0.try_wait().expect("ours")).code()
    }
}

fn next(lines: &mut impl BufRead) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn it_follows_what_happens_and_knows_for_how_long() {
    let stage = Stage::new();
    let (client, server) = stage.pair();
    let (mut streaming, mut lines) =
        Streaming::start(&format!(":{} --json-stream --interval 50ms", stage.port));
    assert_eq!(count(&next(&mut lines), "ESTABLISHED"), 2);
    client.shutdown(Shutdown::Write).expect("shutdown");
    let changed =
        until("the half close", || Some(next(&mut lines)).filter(|json| count(json, "CLOSE-WAIT") == 1));
    let at = |json: &Value| json["taken_at_ms"].as_u64().expect("a time");
    let age = |json: &Value| socket(json, server.local_addr().unwrap())["age_ms"].as_u64().expect("an age");
    let later =
        until("half a second", || Some(next(&mut lines)).filter(|json| at(json) >= at(&changed) + 500));
    let (watched, grown) = (at(&later) - at(&changed), age(&later) - age(&changed));
    assert!(grown + 30 >= watched && grown <= watched + 30, "{grown} in {watched}");
    drop(lines);
    assert_eq!(streaming.code(), Some(0), "the reader has gone");
}

#[test]
fn it_ends_as_soon_as_the_reader_leaves_or_the_count_is_reached_or_a_signal_comes() {
    let stage = Stage::new();
    let port = stage.port;
    let (mut streaming, mut lines) = Streaming::start(&format!(":{port} --json-stream --interval 1h"));
    next(&mut lines);
    drop(lines);
    assert_eq!(streaming.code(), Some(0));

    let (mut streaming, lines) =
        Streaming::start(&format!(":{port} --json-stream --interval 10ms --count 3"));
    assert_eq!(lines.lines().count(), 3);
    assert_eq!(streaming.code(), Some(0));

    let (mut streaming, mut lines) = Streaming::start(&format!(":{port} --json-stream --interval 1h"));
    next(&mut lines);
    let kill =
        Command::new("kill").args(["-INT", &streaming.0.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    assert_eq!(streaming.code(), Some(130));
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("text");
    assert!(rest.is_empty(), "no half line: {rest}");
}

#[test]
fn a_port_that_is_not_there_yet_is_waited_for() {
    let listener = fresh_listener("127.0.0.1");
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (_streaming, mut lines) = Streaming::start(&format!(":{port} --json-stream --interval 20ms"));
    assert_eq!(count(&next(&mut lines), "LISTEN"), 0);
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("bind again");
    until("the listener", || (count(&next(&mut lines), "LISTEN") == 1).then_some(()));
}
