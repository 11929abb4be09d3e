//! Ends in every order: each way ends by itself, resets go through, and nobody takes a part for the whole.

use crate::kit::{read_all, read_exactly, reset, through};
use crate::pattern::pattern;
use crate::server::eventually;
use std::io::Write;
use std::net::Shutdown;

crate::for_each_form!(
    the_client_may_end_first,
    the_upstream_may_end_first,
    both_may_end_at_once,
    an_end_without_a_byte_goes_through,
    a_reset_of_the_client_goes_through_after_its_bytes,
    a_reset_of_the_upstream_goes_through_after_its_bytes,
    an_upstream_that_answers_and_goes_is_heard_to_the_end,
);

const LONG: usize = 3 << 20;

fn the_client_may_end_first(model: &str) {
    let mut it = through(model, &[]);
    it.client.write_all(b"request").unwrap();
    it.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&it.upstream), (b"request".to_vec(), false));
    let answer = pattern(LONG, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&it.upstream).write_all(&answer).unwrap();
            it.upstream.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_all(&it.client) == (answer.clone(), false));
    });
    is_over(&it.proxy);
}

fn the_upstream_may_end_first(model: &str) {
    let it = through(model, &[]);
    (&it.upstream).write_all(b"220 ready").unwrap();
    it.upstream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&it.client), (b"220 ready".to_vec(), false));
    let sent = pattern(LONG, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&it.client).write_all(&sent).unwrap();
            it.client.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_all(&it.upstream) == (sent.clone(), false));
    });
    is_over(&it.proxy);
}

fn both_may_end_at_once(model: &str) {
    let it = through(model, &[]);
    let (up, down) = (pattern(LONG, 3), pattern(LONG, 4));
    std::thread::scope(|scope| {
        for (stream, bytes) in [(&it.client, &up), (&it.upstream, &down)] {
            scope.spawn(move || {
                { stream }.write_all(bytes).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
        }
        let client = scope.spawn(|| read_all(&it.client));
        assert!(read_all(&it.upstream) == (up.clone(), false));
        assert!(client.join().unwrap() == (down.clone(), false));
    });
    is_over(&it.proxy);
}

fn an_end_without_a_byte_goes_through(model: &str) {
    let it = through(model, &[]);
    it.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&it.upstream), (vec![], false));
    it.upstream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&it.client), (vec![], false));
    is_over(&it.proxy);
}

fn a_reset_of_the_client_goes_through_after_its_bytes(model: &str) {
    let mut it = through(model, &[]);
    it.client.write_all(b"half a requ").unwrap();
    read_exactly(&it.upstream, b"half a requ");
    reset(it.client);
    assert_eq!(read_all(&it.upstream), (vec![], true));
    is_over(&it.proxy);
}

fn a_reset_of_the_upstream_goes_through_after_its_bytes(model: &str) {
    let it = through(model, &[]);
    (&it.upstream).write_all(b"half an ans").unwrap();
    read_exactly(&it.client, b"half an ans");
    reset(it.upstream);
    assert_eq!(read_all(&it.client), (vec![], true));
    is_over(&it.proxy);
}

/// A server that has answered and closed, and resets what the client still sends: the client gets all of the answer and a
/// plain end, however slowly it reads.
fn an_upstream_that_answers_and_goes_is_heard_to_the_end(model: &str) {
    let it = through(model, &[]);
    let answer = pattern(50_000, 5);
    (&it.upstream).write_all(&answer).unwrap();
    drop(it.upstream); // an end, because it has nothing unread
    for _ in 0..20 {
        if (&it.client).write_all(b"nobody takes this").is_err() {
            break; // the proxy has ended it: after the answer, as is looked at now
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(read_all(&it.client) == (answer, false));
    drop(it.client);
    is_over(&it.proxy);
}

/// The proxy has nothing of the connection any more.
fn is_over(proxy: &crate::server::Server) {
    let sockets = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap().flatten();
        fds.filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .collect::<Vec<_>>()
    };
    // What it has for itself: the listener and its pipes, as many as a fresh one.
    let tables = || {
        let text = std::fs::read_to_string(format!("/proc/{}/net/tcp", proxy.pid())).unwrap();
        let inodes: Vec<String> = text
            .lines()
            .skip(1)
            .filter(|line| line.split_ascii_whitespace().nth(3) != Some("0A"))
            .filter_map(|line| line.split_ascii_whitespace().nth(9).map(|inode| format!("socket:[{inode}]")))
            .collect();
        sockets()
            .into_iter()
            .filter(|socket| inodes.iter().any(|inode| socket.as_os_str() == inode.as_str()))
            .count()
    };
    eventually("the proxy lets go of both sockets", || (tables() == 0).then_some(()));
}
