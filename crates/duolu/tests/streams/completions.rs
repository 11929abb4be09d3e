//! Streams by completions: what only they can get wrong. (What all streams must do, all scenarios play on them too.)

use crate::stage::pattern;
use duolu::{Config, Context, Direction, EventId, EventLoop, Stream, StreamEvent, StreamOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A loop whose streams go by completions, with a count of events; `None` where io_uring cannot be had.
fn completing() -> Option<EventLoop<usize>> {
    if std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1") {
        return None;
    }
    let mut event_loop = Config::new().stream_completions(true).build(0).expect("a loop");
    assert_eq!(event_loop.stream_fallback(), None, "DUOLU_TEST_NO_URING=1 leaves io_uring out");
    assert!(event_loop.features().transfers);
    Some(event_loop)
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    theirs.set_nonblocking(true).expect("a socket");
    (ours, theirs)
}

fn echo(ctx: &mut Context<usize>, stream: &mut Stream<'_>, _: StreamEvent) {
    *ctx.data() += 1;
    stream.echo();
}

/// What is there now.
fn receive(peer: &mut UnixStream, into: &mut Vec<u8>) {
    let mut bytes = [0; 65536];
    loop {
        match peer.read(&mut bytes) {
            Ok(0) => return,
            Ok(got) => into.extend_from_slice(&bytes[..got]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn turn(event_loop: &mut EventLoop<usize>) {
    event_loop.run_for(Duration::from_millis(5)).expect("a turn");
}

fn echoed(event_loop: &mut EventLoop<usize>, peer: &mut UnixStream, bytes: &[u8]) {
    let (mut sent, mut got) = (0, Vec::new());
    for _ in 0..4000 {
        match peer.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        turn(event_loop);
        receive(peer, &mut got);
        if got.len() == bytes.len() {
            break;
        }
    }
    assert!(got == bytes, "{} of {}", got.len(), bytes.len());
}

fn nothing_is_leaked(event_loop: &mut EventLoop<usize>) {
    turn(event_loop);
    turn(event_loop);
    let done = event_loop.transfers_done();
    assert!(done.buffers_free == done.buffers && done.sending == 0, "{done:?}");
}

#[test]
fn a_message_is_one_receive_and_one_send() {
    let Some(mut event_loop) = completing() else { return };
    let (ours, mut theirs) = pair();
    let id = event_loop.stream(ours, StreamOptions::new(), echo).expect("a stream");
    for _ in 0..10 {
        echoed(&mut event_loop, &mut theirs, b"a message");
    }
    let done = event_loop.transfers_done();
    assert_eq!((done.adopted, done.received, done.sent), (1, 10, 10), "{done:?}");
    assert_eq!((done.straight, done.no_buffers, done.cancelled), (0, 0, 0), "{done:?}");
    assert!(event_loop.remove(id));
    nothing_is_leaked(&mut event_loop);
    assert_eq!(event_loop.transfers_done().adopted, 0);
    let mut end = Vec::new();
    assert_eq!(theirs.read_to_end(&mut end).expect("the end"), 0, "no receive holds the socket");
}

/// A reader that takes less than comes has the rest wait in the socket, and not here.
#[test]
fn who_leaves_some_reads_for_himself() {
    let Some(mut event_loop) = completing() else { return };
    let (ours, mut theirs) = pair();
    let id = event_loop.stream(ours, StreamOptions::new(), echo).expect("a stream");
    echoed(&mut event_loop, &mut theirs, &pattern(8_000_000));
    let done = event_loop.transfers_done();
    assert!(done.straight > 20 && done.cancelled > 0, "{done:?}");
    // And comes back to completions.
    for _ in 0..200 {
        echoed(&mut event_loop, &mut theirs, b"a message");
    }
    let straight = event_loop.transfers_done().straight;
    echoed(&mut event_loop, &mut theirs, b"a message");
    assert_eq!(event_loop.transfers_done().straight, straight);
    event_loop.remove(id);
    nothing_is_leaked(&mut event_loop);
}

/// More than all buffers hold comes at once: those that found none are received for again.
#[test]
fn out_of_buffers_nothing_is_lost() {
    let Some(mut event_loop) = completing() else { return };
    const STREAMS: usize = 120;
    let message = pattern(100_000);
    let mut peers = Vec::new();
    for _ in 0..STREAMS {
        let (ours, theirs) = pair();
        event_loop.stream(ours, StreamOptions::new(), echo).expect("a stream");
        peers.push((theirs, 0, Vec::new()));
    }
    event_loop.run_nonblocking().expect("a turn");
    for _ in 0..4000 {
        for (peer, sent, got) in &mut peers {
            if let Ok(count) = peer.write(&message[*sent..]) {
                *sent += count;
            }
            receive(peer, got);
        }
        if peers.iter().all(|(_, _, got)| got.len() == message.len()) {
            break;
        }
        turn(&mut event_loop);
    }
    assert!(peers.iter().all(|(_, _, got)| *got == message));
    let done = event_loop.transfers_done();
    assert!(done.no_buffers > 0, "{done:?}");
    nothing_is_leaked(&mut event_loop);
}

/// What came before reading was suspended is there when it goes on.
#[test]
fn a_receive_taken_back_loses_nothing() {
    let Some(mut event_loop) = completing() else { return };
    let (ours, mut theirs) = pair();
    let id = event_loop.stream(ours, StreamOptions::new(), echo).expect("a stream");
    for round in 0..50 {
        theirs.write_all(b"before ").expect("room");
        if round % 2 == 0 {
            event_loop.run_nonblocking().expect("a turn");
        }
        event_loop.with_stream(id, |_, stream| stream.suspend(Direction::Read));
        theirs.write_all(b"meanwhile ").expect("room");
        if round % 3 == 0 {
            turn(&mut event_loop);
        }
        event_loop.with_stream(id, |_, stream| stream.unsuspend(Direction::Read));
        let mut got = Vec::new();
        for _ in 0..1000 {
            receive(&mut theirs, &mut got);
            if got.len() >= 17 {
                break;
            }
            turn(&mut event_loop);
        }
        assert_eq!(got, b"before meanwhile ");
    }
    assert!(event_loop.transfers_done().cancelled > 0);
    nothing_is_leaked(&mut event_loop);
}

#[test]
fn the_next_stream_of_a_number_gets_nothing_of_the_last() {
    let Some(mut event_loop) = completing() else { return };
    for round in 0..200 {
        let (ours, mut theirs) = pair();
        let id = event_loop.stream(ours, StreamOptions::new(), echo).expect("a stream");
        match round % 3 {
            0 => {}
            1 => event_loop.run_nonblocking().expect("a turn"),
            _ => echoed(&mut event_loop, &mut theirs, b"mine"),
        }
        theirs.write_all(b"not yours").expect("room");
        event_loop.with_stream(id, |_, stream| stream.write_all(b"not yours either").expect("open"));
        assert!(event_loop.remove(id));
        // The same number, as a rule.
        drop(theirs);
        let (ours, mut theirs) = pair();
        let id = event_loop.stream(ours, StreamOptions::new(), echo).expect("a stream");
        echoed(&mut event_loop, &mut theirs, b"mine");
        event_loop.remove(id);
    }
    nothing_is_leaked(&mut event_loop);
}

/// Opened anew with bytes on the way both ways.
#[test]
fn a_ring_opened_anew_loses_nothing() {
    let Some(mut event_loop) = completing() else { return };
    let (ours, mut theirs) = pair();
    event_loop.stream(ours, StreamOptions::new(), echo).expect("a stream");
    let (mut sent, mut got, all) = (0, Vec::new(), pattern(400_000));
    for round in 0..2000 {
        if let Ok(count) = theirs.write(&all[sent..all.len().min(sent + 1 + round * 13 % 5000)]) {
            sent += count;
        }
        match round % 3 {
            0 => turn(&mut event_loop),
            1 => event_loop.run_nonblocking().expect("a turn"),
            _ => event_loop.reinit().expect("a ring"),
        }
        receive(&mut theirs, &mut got);
        if got.len() == all.len() {
            break;
        }
    }
    assert!(got == all, "{} of {}", got.len(), all.len());
}

/// An outer loop that sleeps until the inner one's descriptor is readable.
#[test]
fn inside_another_loop_nothing_waits_for_the_next_turn() {
    let Some(mut inner) = completing() else { return };
    let (ours, mut theirs) = pair();
    let id = inner.stream(ours, StreamOptions::new(), echo).expect("a stream");
    let descriptor = inner.descriptor().expect("embeddable");
    let mut outer = EventLoop::new().expect("a loop");
    // SAFETY: `inner` outlives `outer`'s turns.
    #[allow(unsafe_code)]
    let watch = unsafe {
        outer.register_raw(descriptor, duolu::Interest::READ, |ctx, _, _| {
            ctx.stop();
            duolu::Next::Keep
        })
    };
    watch.expect("registered");
    let mut until = |inner: &mut EventLoop<usize>, theirs: &mut UnixStream, message: &[u8]| {
        let mut got = Vec::new();
        for _ in 0..200 {
            if inner.sleep() != Some(Duration::ZERO) {
                outer.run_for(Duration::from_secs(5)).expect("a turn");
            }
            inner.run_nonblocking().expect("a turn");
            receive(theirs, &mut got);
            if got.len() == message.len() {
                break;
            }
        }
        assert!(got == message, "{} of {}", got.len(), message.len());
    };
    for message in [&b"first"[..], b"second", &pattern(30_000)] {
        theirs.write_all(message).expect("room");
        until(&mut inner, &mut theirs, message);
    }
    inner.with_stream(id, |_, stream| stream.write_all(b"unasked").expect("open"));
    until(&mut inner, &mut theirs, b"unasked");
    assert!(inner.transfers_done().sent >= 3);
}

struct Random(u64);

impl Random {
    /// splitmix64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound as u64) as usize
    }
}

struct Player {
    id: EventId,
    peer: Option<UnixStream>,
    sent: usize,
    got: Vec<u8>,
    suspended: bool,
    pumped: bool,
}

/// Everything at random: messages of all lengths both ways, suspends, marks, cuts, removals with sends under way. What
/// comes back is always a beginning of what was sent, and all of it where nobody cut.
fn stress(seed: u64) {
    let Some(mut event_loop) = completing() else { return };
    let mut random = Random(seed);
    let bytes = pattern(3_000_000);
    let mut players: Vec<Player> = Vec::new();
    for step in 0..600 {
        if players.len() < 12 || random.below(20) == 0 {
            let (ours, theirs) = pair();
            let options = match random.below(4) {
                0 => StreamOptions::new().input_marks(0, 1 + random.below(5000)),
                1 => StreamOptions::new().output_marks(0, random.below(40_000)),
                _ => StreamOptions::new(),
            };
            let id = event_loop.stream(ours, options, echo).expect("a stream");
            let pumped = random.below(3) == 0;
            players.push(Player {
                id,
                peer: Some(theirs),
                sent: 0,
                got: Vec::new(),
                suspended: false,
                pumped,
            });
        }
        for _ in 0..6 {
            let at = random.below(players.len());
            let player = &mut players[at];
            let Some(peer) = &mut player.peer else { continue };
            match random.below(16) {
                0..=5 => {
                    let most = if player.pumped { 60_000 } else { 300 };
                    let up_to = bytes.len().min(player.sent + random.below(most));
                    if let Ok(count) = peer.write(&bytes[player.sent..up_to]) {
                        player.sent += count;
                    }
                }
                6..=9 => receive(peer, &mut player.got),
                10 => {
                    player.suspended = !player.suspended;
                    let suspended = player.suspended;
                    let way = if random.below(2) == 0 { Direction::Read } else { Direction::Write };
                    event_loop.with_stream(player.id, |_, stream| match suspended {
                        true => stream.suspend(way),
                        false => {
                            stream.unsuspend(Direction::Read);
                            stream.unsuspend(Direction::Write);
                        }
                    });
                }
                11 if random.below(4) == 0 => {
                    event_loop.remove(player.id);
                    player.peer = None;
                }
                12 if random.below(6) == 0 => player.peer = None,
                13 if random.below(6) == 0 => {
                    event_loop.with_stream(player.id, |_, stream| stream.close());
                }
                14 if random.below(60) == 0 => event_loop.reinit().expect("a ring"),
                _ => {}
            }
            let (got, sent) = (&player.got, player.sent);
            assert!(got.len() <= sent && *got == bytes[..got.len()], "seed {seed}, step {step}");
        }
        event_loop.run_for(Duration::from_micros(random.below(200) as u64)).expect("a turn");
        players.retain(|player| player.peer.is_some());
    }
    // Those that nobody has cut or closed get all of it.
    for player in &mut players {
        event_loop.with_stream(player.id, |_, stream| {
            stream.unsuspend(Direction::Read);
            stream.unsuspend(Direction::Write);
        });
    }
    for _ in 0..2000 {
        turn(&mut event_loop);
        let mut left = false;
        for player in &mut players {
            if let Some(peer) = &mut player.peer {
                receive(peer, &mut player.got);
            }
            let closing = event_loop.with_stream(player.id, |_, stream| !stream.is_writable());
            left |= player.got.len() < player.sent && closing == Some(false);
        }
        if !left {
            break;
        }
    }
    for player in &players {
        assert!(player.got[..] == bytes[..player.got.len()], "seed {seed}");
        let writable = event_loop.with_stream(player.id, |_, stream| stream.is_writable());
        assert!(player.got.len() == player.sent || writable != Some(true), "seed {seed}: {}", player.sent);
        event_loop.remove(player.id);
    }
    nothing_is_leaked(&mut event_loop);
    assert!(event_loop.transfers_done().sent > 0);
}

#[test]
fn everything_at_random() {
    let seeds = std::env::var("DUOLU_COMPLETION_SEEDS").map_or(12, |seeds| seeds.parse().expect("a number"));
    (0..seeds).for_each(stress);
}
