//! The next wall as `duolu why` foretells it is where connections then stop; and what is wrong with a server is named.

mod why_support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use why_support::*;

/// This process's own descriptors: the clients are here.
fn many_descriptors() {
    let own = getrlimit(Resource::Nofile);
    let wanted = 4096;
    assert!(
        own.maximum.is_none_or(|most| most >= wanted),
        "these tests need {wanted} descriptors: 'ulimit -Hn' says {own:?}"
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: own.maximum })
        .expect("within the hard limit");
}

/// Whether the server answers on this connection within a time.
fn is_answered(stream: &mut TcpStream, question: &[u8], answer: &[u8], within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).expect("a limit");
    let mut got = vec![0; answer.len()];
    stream.write_all(question).is_ok() && stream.read_exact(&mut got).is_ok() && got == answer
}

/// That so many connections are answered, and none of the others.
fn assert_served(streams: &mut [TcpStream], count: u64, question: &[u8], answer: &[u8]) {
    let (served, waiting) = streams.split_at_mut(count as usize);
    for (at, stream) in served.iter_mut().enumerate() {
        assert!(is_answered(stream, question, answer, PATIENCE), "connection {at} of {count} has no answer");
    }
    assert!(!waiting.is_empty());
    for stream in waiting.iter_mut().take(3) {
        assert!(
            !is_answered(stream, question, answer, Duration::from_millis(300)),
            "more than {count} are served"
        );
    }
}

#[test]
fn the_1017th_connection_is_foretold_and_is_the_last() {
    many_descriptors();
    let server = start(|port, _| {
        let mut command = Command::new("prlimit");
        command.args([
            "--nofile=1024:1024",
            env!("CARGO_BIN_EXE_duolu"),
            "serve",
            "echo",
            "-q",
            "--model",
            "epoll-lt",
        ]);
        command.args(["--port", &port.to_string()]);
        command
    });
    let mut streams = connect(server.port, 1000);
    streams.iter_mut().for_each(echo);
    let report = told(server.port);
    let (name, at) = next_wall(&report);
    assert_eq!(
        (name.as_str(), &report["connections"]),
        ("server descriptor limit", &Value::from(1000)),
        "{report:#}"
    );
    // Limit minus descriptors that are no connections: the kernel counts the same.
    let open = report["processes"][0]["descriptors"].as_u64().expect("counted");
    assert_eq!(at, 1024 - (open - 1000), "{report:#}");
    let evidence = report["next_wall"]["evidence"].as_str().expect("a sentence");
    assert!(evidence.contains("of 1,024 descriptors"), "{evidence}");
    assert!(
        report["next_wall"]["source"].as_str().is_some_and(|source| source.contains("/limits")),
        "{report:#}"
    );

    // And there it stops.
    streams.extend(connect(server.port, 1040 - 1000));
    assert_served(&mut streams, at, b"duolu\n", b"duolu\n");
    let after = told(server.port);
    assert_eq!((next_wall(&after), &after["connections"]), ((name, at), &Value::from(at)), "{after:#}");
    assert_eq!(after["listen"]["queue"].as_u64(), Some(1040 - at), "the rest waits: {after:#}");
    assert_eq!(warnings(&after), ["out-of-descriptors"], "{after:#}");
    let card = printed(&why(&[&format!(":{}", server.port)]));
    assert!(card.contains("Next wall: descriptors, at 1,0") && card.contains("← next"), "{card}");
}

#[test]
fn the_line_that_is_to_be_copied_moves_the_wall() {
    many_descriptors();
    // Python asks for no more descriptors than it is given.
    let server = start(|port, folder| {
        let script = folder.file("faulty.py", include_str!("why_support/faulty.py"));
        let mut command = Command::new("prlimit");
        command.args(["--nofile=64:256", "python3", &script, "level", &port.to_string()]);
        command
    });
    let mut streams = connect(server.port, 20);
    streams.iter_mut().for_each(echo);
    let report = told(server.port);
    let at = next_wall(&report).1;
    assert!((50..64).contains(&at), "{report:#}");
    let fix = report["next_wall"]["fix"].as_str().expect("a line");
    let line = fix.lines().next().and_then(|line| line.strip_prefix("now: ")).expect("what helps now");
    assert!(line.starts_with("prlimit --pid "), "no privilege is needed within the hard limit: {line}");
    let done = finish(Command::new("sh").args(["-c", line]));
    assert!(done.status.success(), "{line}: {done:?}");
    let moved = next_wall(&told(server.port)).1;
    // 192 more, less what it may have inherited with numbers from 64 on.
    assert!((at + 180..=at + 192).contains(&moved), "{line}: {at}, then {moved}");
    streams.extend(connect(server.port, 260 - 20));
    assert_served(&mut streams, moved, b"duolu\n", b"duolu\n");
}

#[test]
fn memcached_and_nginx_stop_at_their_own_limits_as_foretold() {
    many_descriptors();
    let memcached = start(|port, _| {
        let mut command = Command::new("memcached");
        command.args(["-l", "127.0.0.1", "-t", "2", "-c", "200", "-u", "nobody", "-p", &port.to_string()]);
        command
    });
    let at = next_wall(&told(memcached.port)).1;
    let mut streams = connect(memcached.port, 205);
    assert_served(&mut streams, at, b"version\r\n", b"VERSION");

    let nginx = start(|port, folder| {
        let at = folder.path();
        let conf = folder.file(
            "nginx.conf",
            &format!(
                "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
                 events {{ worker_connections 64; }}\n\
                 http {{ access_log off; client_header_timeout 600s; client_body_temp_path {at}/a; proxy_temp_path {at}/b;\n\
                 fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
                 server {{ listen 127.0.0.1:{port}; }} }}\n"
            ),
        );
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-p", at, "-c", &conf]);
        command
    });
    let foretold = next_wall(&told(nginx.port));
    assert_eq!(foretold, ("the server's own limit".to_owned(), 62));
    // Connections in the middle of a request: idle ones nginx closes, an eighth of them at a time, when places get rare.
    // So each has its first bytes read before the next one comes.
    let mut streams = Vec::new();
    for _ in 0..90 {
        let mut stream = connect(nginx.port, 1).remove(0);
        let _ = stream.write_all(b"GET / HT");
        streams.push(stream);
        std::thread::sleep(Duration::from_millis(10));
    }
    let report = told_until(nginx.port, |report| report["connections"].as_u64() >= Some(foretold.1));
    assert_eq!(report["connections"].as_u64(), Some(foretold.1), "{report:#}");
}

#[test]
fn a_loop_that_is_held_up_is_told_from_one_that_waits() {
    for (fault, sign) in [("sleep", "nanosleep"), ("compute", "its own code")] {
        let server = faulty(fault, None);
        let mut streams = connect(server.port, 3);
        streams[0].write_all(b"work\n").expect("written");
        wait_for("the server works", || told(server.port)["connections"].as_u64() >= Some(1));
        for stream in &mut streams[1..] {
            stream.write_all(b"and me?\n").expect("written");
        }
        let report = told_until(server.port, |report| warnings(report).contains(&"loop-blocked"));
        let warning = report["warnings"].as_array().unwrap().iter().find(|one| one["name"] == "loop-blocked");
        // The first request may have been accepted alone: then the others wait in the queue, not in the loop.
        match warning {
            Some(warning) => {
                assert!(warning["evidence"].as_str().is_some_and(|text| text.contains(sign)), "{warning}")
            }
            None => panic!("{fault}: {report:#}"),
        }
    }
    let fine = faulty("level", None);
    let mut streams = connect(fine.port, 3);
    streams.iter_mut().for_each(echo);
    let report = told(fine.port);
    assert!(warnings(&report).is_empty(), "{report:#}");
    assert_eq!(report["model"], "epoll-lt");
}

#[test]
fn data_that_epoll_will_not_tell_of_again_is_found() {
    for (fault, name) in [("edge", "edge-not-drained"), ("one-shot", "one-shot-not-armed")] {
        let server = faulty(fault, None);
        let mut streams = connect(server.port, 2);
        streams[0].write_all(b"more than four bytes").expect("written");
        let report = told_until(server.port, |report| warnings(report).contains(&name));
        assert!(warnings(&report).contains(&name), "{report:#}");
        assert!(!warnings(&report).contains(&"loop-blocked"), "{report:#}");
    }
}

#[test]
fn spinning_on_a_full_table_is_told() {
    let server = faulty("spin", Some(32));
    let _streams = connect(server.port, 40);
    let report = told_until(server.port, |report| warnings(report).contains(&"emfile-spin"));
    assert!(warnings(&report).contains(&"emfile-spin"), "{report:#}");
    let (name, at) = next_wall(&report);
    assert_eq!(
        (name.as_str(), Some(at)),
        ("server descriptor limit", report["connections"].as_u64()),
        "{report:#}"
    );
}

#[test]
fn a_full_accept_queue_is_the_wall() {
    let server = faulty("full-queue", None);
    // The kernel lets one more wait than the backlog of 8; further handshakes would be tried again and again.
    let _streams = connect(server.port, 9);
    let report = told(server.port);
    assert_eq!(
        (&report["listen"]["queue"], &report["listen"]["backlog"]),
        (&Value::from(9), &Value::from(8)),
        "{report:#}"
    );
    assert_eq!(next_wall(&report), ("accept queue".to_owned(), 0), "{report:#}");
    assert!(warnings(&report).contains(&"accept-queue-full"), "{report:#}");
}

/// Nagle's algorithm on the server's side, delayed acknowledgement on ours.
#[test]
fn forty_milliseconds_are_named() {
    let server = faulty("two-writes", None);
    let mut stream = connect(server.port, 1).remove(0);
    let (told, looked) = std::sync::mpsc::channel();
    let client = std::thread::spawn(move || {
        // A question at a time, as latency-bound clients do, until the other side has seen enough.
        let mut answer = [0; 2];
        while looked.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            stream.write_all(b"?").expect("written");
            stream.read_exact(&mut answer).expect("both halves");
        }
    });
    let report = told_until(server.port, |report| warnings(report).contains(&"delayed-ack"));
    told.send(()).expect("it waits");
    client.join().expect("no panic");
    assert!(warnings(&report).contains(&"delayed-ack"), "{report:#}");
}
