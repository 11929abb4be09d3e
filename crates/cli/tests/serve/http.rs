//! http over raw sockets, and over curl.

use crate::server::{Server, can_run, eventually};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::time::{Duration, Instant};

crate::for_each_model!(speaks_http, ends_a_bad_conversation_with_an_answer);

const ANSWER: &str = "HTTP/1.1 200 OK\r\nServer: duolu\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n\
                      hello from duolu\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";

/// Sends pieces with a pause between them, then half-closes; gives all that comes back.
fn talk(server: &Server, pieces: &[&str]) -> String {
    let mut stream = server.connect();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            std::thread::sleep(Duration::from_millis(15));
        }
        stream.write_all(piece.as_bytes()).unwrap();
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn speaks_http(model: &str) {
    let server = Server::start("http", model, &[]);
    assert_eq!(talk(&server, &[GET]), ANSWER);
    assert_eq!(talk(&server, &["GE", "T / HTTP/1.1\r\nHo", "st: here\r\n\r", "\n"]), ANSWER, "a split head");
    assert_eq!(talk(&server, &[&GET.repeat(3), GET]), ANSWER.repeat(4), "pipelined");
    assert_eq!(talk(&server, &[&GET.repeat(5000)]).len(), ANSWER.len() * 5000, "a long pipeline");
    let (head, _) = ANSWER.split_once("\r\n\r\n").unwrap();
    let bare = talk(&server, &["HEAD /any/path HTTP/1.1\r\nHost: here\r\n\r\n"]);
    assert_eq!(bare, format!("{head}\r\n\r\n"));
    let posted = talk(&server, &["POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nbo", "dy", GET]);
    assert!(posted.starts_with("HTTP/1.1 405 ") && posted.ends_with(ANSWER), "{posted}");
}

/// A connection that the server ends is closed by it, and its answer arrives even where more was sent than it read.
fn ends_a_bad_conversation_with_an_answer(model: &str) {
    let server = Server::start("http", model, &[]);
    let long = format!("GET / HTTP/1.1\r\nHost: here\r\nX: {}", "x".repeat(200_000));
    for (input, status) in [
        ("GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n", "200"),
        ("GET / HTTP/1.0\r\n\r\n", "200"),
        ("no http at all\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("PUT / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "411"),
        (&long, "431"),
    ] {
        let mut stream = server.connect();
        stream.write_all(input.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, then the end");
        let first = input.lines().next().unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{first}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{first}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{first}: {answer}");
    }
}

/// Ten seconds for a head, however slowly it trickles; and the connection that sends nothing may stay.
#[test]
fn a_head_that_never_ends_is_not_waited_for_for_ever() {
    std::thread::scope(|scope| {
        for model in ["thread", "epoll-lt", "epoll-et", "epoll-oneshot", "io_uring"]
            .into_iter()
            .filter(|it| can_run(it))
        {
            scope.spawn(move || {
                let server = Server::start("http", model, &[]);
                let (mut silent, mut slow) = (server.connect(), server.connect());
                let start = Instant::now();
                slow.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
                eventually("the slow one is closed", || {
                    std::thread::sleep(Duration::from_millis(200));
                    slow.write_all(b"x").err()
                });
                let took = start.elapsed();
                assert!(took > Duration::from_secs(9), "{model}: {took:?}");
                silent.write_all(GET.as_bytes()).unwrap();
                let mut answer = vec![0; ANSWER.len()];
                silent.read_exact(&mut answer).unwrap();
                assert_eq!(answer, ANSWER.as_bytes());
            });
        }
    });
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "15"]).args(arguments).output();
    let output = output.expect("curl is needed for this test: apt-get install curl");
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_is_happy() {
    for model in ["thread", "epoll-et", "io_uring"].into_iter().filter(|it| can_run(it)) {
        let server = Server::start("http", model, &[]);
        let url = format!("http://{}/", server.address);
        assert_eq!(curl(&[&url]), "hello from duolu\n");
        assert_eq!(curl(&["--http1.0", &url]), "hello from duolu\n");
        assert!(curl(&["--head", &url]).starts_with("HTTP/1.1 200 OK\r\n"));
        // Two requests, one connection.
        let reused = curl(&["-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", &url, &url]);
        assert_eq!(reused, "1 0 ");
        let body = "x".repeat(3_000_000);
        let posted =
            curl(&["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", &body[..100_000], &url]);
        assert_eq!(posted, "405");
        // A body this long makes curl ask first (Expect: 100-continue).
        let mut child = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "15",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--data-binary",
                "@-",
                &url,
            ])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), "405");
    }
}
