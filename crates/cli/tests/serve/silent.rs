//! Services that do not answer: `discard` takes all there is, `chargen` speaks unasked.

use crate::server::{Server, can_run, eventually};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::Shutdown;

crate::for_each_model!(discard_takes_everything_and_says_nothing);

fn discard_takes_everything_and_says_nothing(model: &str) {
    let server = Server::start("discard", model, &["--admin", "0"]);
    let mut stream = server.connect();
    for _ in 0..32 {
        stream.write_all(&[7; 100_000]).expect("it is taken");
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).expect("an end"), 0);
    eventually("all of it is counted", || {
        let metrics = crate::surroundings::fetch(server.admin(), "/metrics").1;
        metrics.contains("\nduolu_received_bytes_total 3200000\n").then_some(())
    });
}

/// What a client reads is lines without end, each of which begins a character later; one that does not read at all holds
/// up nobody, and one that goes is forgotten.
#[test]
fn chargen_speaks_unasked_as_fast_as_it_is_heard() {
    for model in ["select", "poll", "epoll-lt", "io_uring-poll"].into_iter().filter(|model| can_run(model)) {
        let mut server = Server::start("chargen", model, &["--admin", "0", "--drain", "19s"]);
        let (deaf, mut client) = (server.connect(), server.connect());
        client.write_all(b"what I say is thrown away").unwrap();
        let mut text = vec![0; 3_000_000];
        client.read_exact(&mut text).expect("it goes on");
        for (number, line) in text.chunks_exact(74).enumerate() {
            let first = b' ' + (number % 95) as u8;
            assert_eq!((line[0], &line[72..]), (first, &b"\r\n"[..]), "{model}: line {number}");
            assert!(
                line[..72].windows(2).all(|two| two[1] == if two[0] == b'~' { b' ' } else { two[0] + 1 })
            );
        }
        drop(deaf);
        // At the end of the server the client gets whole lines and an end.
        server.signal(Signal::TERM);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("a good end");
        assert!((text.len() + rest.len()).is_multiple_of(74) && rest.ends_with(b"\r\n"), "{model}");
        drop(client);
        assert_eq!(server.exit_code(), Some(0), "{model}");
    }
}

#[test]
fn chargen_stands_on_streams_and_says_what_would_do() {
    let output = crate::server::duolu().args(["serve", "chargen", "--model", "thread"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("stands on streams") && text.contains("epoll-lt (the default)"), "{text}");
}
