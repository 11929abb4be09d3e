//! Bytes both ways at once, with readers that are slow or do not read: exact, and no more of them in the proxy than its
//! watermarks say.

use crate::kit::{COPIED, read_all, resident_bytes, stuff, through};
use crate::pattern::pattern;
use crate::server::eventually;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

crate::for_each_form!(both_ways_at_once_byte_for_byte, a_slow_reader_gets_everything);

fn both_ways_at_once_byte_for_byte(model: &str) {
    // The least that is allowed, where it matters.
    let small: &[&str] = &["--buffer", "1KiB"];
    let it = through(model, if model.ends_with(COPIED) { small } else { &[] });
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (client, upstream) = it.another();
            scope.spawn(move || {
                let (up, down) = (pattern(700_001 * number + 1, 1), pattern(900_007 - number, 2));
                std::thread::scope(|scope| {
                    for (stream, bytes) in [(&client, &up), (&upstream, &down)] {
                        scope.spawn(move || {
                            for piece in bytes.chunks(1 + 7919 * number) {
                                { stream }.write_all(piece).unwrap();
                            }
                            stream.shutdown(Shutdown::Write).unwrap();
                        });
                    }
                    let other = scope.spawn(|| read_all(&client));
                    assert!(read_all(&upstream).0 == up);
                    assert!(other.join().unwrap().0 == down);
                });
            });
        }
    });
}

fn a_slow_reader_gets_everything(model: &str) {
    let it = through(model, &[]);
    rustix::net::sockopt::set_socket_recv_buffer_size(&it.client, 16 * 1024).unwrap();
    let sent = pattern(6 << 20, 9);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&it.upstream).write_all(&sent).unwrap();
            it.upstream.shutdown(Shutdown::Write).unwrap();
        });
        let (mut got, mut piece) = (Vec::new(), vec![0; 50_000]);
        for round in 0.. {
            if round % 16 == 0 {
                std::thread::sleep(Duration::from_millis(10));
            }
            match (&it.client).read(&mut piece).unwrap() {
                0 => break,
                count => got.extend_from_slice(&piece[..count]),
            }
        }
        assert!(got == sent);
    });
}

/// Forty connections whose readers do not read: the proxy has no more of each than its watermark and one read, and what
/// it had taken comes out whole.
#[test]
fn readers_that_never_read_fill_the_watermarks_and_no_more() {
    const EACH: u64 = 2 * 64 * 1024;
    let it = through("epoll-lt", &[]);
    let sent = pattern(64 << 20, 3);
    let before = resident_bytes(it.proxy.pid());
    let pairs: Vec<_> = (0..40).map(|_| it.another()).collect();
    let taken: Vec<usize> = pairs.iter().map(|(client, _)| stuff(client, &sent)).collect();
    let grown = resident_bytes(it.proxy.pid()).saturating_sub(before);
    // Beside what waits: the loop's own blocks, and what connections cost anyway.
    let most = pairs.len() as u64 * EACH + (3 << 20);
    assert!(grown <= most, "it has grown by {grown} bytes, and {most} is the most");
    for ((client, upstream), taken) in pairs.iter().zip(&taken) {
        client.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(upstream).0 == sent[..*taken]);
    }
    drop(pairs);
    eventually("its memory is given back", || {
        let grown = resident_bytes(it.proxy.pid()).saturating_sub(before);
        (grown <= (2 << 20)).then_some(()) // half of which is the loop's own blocks
    });
}
