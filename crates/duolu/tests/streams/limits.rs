//! Limits: of one stream, of many together, of one call; whose turn it is, and what may be told when.

use crate::stage::{Socket, pattern};
use duolu::{
    BackendKind, Config, Direction, Error, EventId, Rate, RateGroup, StreamEvent, StreamOptions, Totals,
};
use std::cell::Cell;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

const READ: Direction = Direction::Read;
const WRITE: Direction = Direction::Write;

fn rate(bytes_per_second: u64, burst: u64) -> Option<Rate> {
    Some(Rate { bytes_per_second, burst })
}

/// Members that send back what they read.
fn echoing(s: &mut Stage, group: &RateGroup, count: usize) -> Vec<(EventId, Socket)> {
    let options = StreamOptions::new().group(group);
    (0..count)
        .map(|_| {
            s.stream(1, options.clone(), |_, stream, event| {
                if event == StreamEvent::Read {
                    assert!(stream.echo());
                }
            })
        })
        .collect()
}

scenarios! {
    fn a_group_holds_all_its_members_together(s) {
        for (read, write) in [(rate(100_000, 2_000), None), (None, rate(100_000, 2_000))] {
            let group = s.event_loop.rate_group(read, write);
            let mut members = echoing(s, &group, 4);
            assert_eq!((group.members(), group.rate(READ), group.rate(WRITE)), (4, read, write));
            let sent = pattern(3_000);
            let before = s.event_loop.now();
            for (_, peer) in &mut members {
                s.send_all(peer, &sent);
            }
            for (_, peer) in &mut members {
                assert_eq!(s.collect(peer, sent.len()), sent);
            }
            s.turn();
            let took_ns = s.event_loop.now().saturating_nanos_since(before);
            assert!(took_ns >= 99_000_000, "10,000 bytes at 100,000 a second in {took_ns} ns");
            assert_eq!(group.totals(), Totals { read: 12_000, written: 12_000 });
            group.reset_totals();
            drop(members);
            s.until("they go", |_| group.members() == 0);
            assert_eq!(group.totals(), Totals::default());
        }
    }

    /// Each has more to send than there is time for.
    fn a_crowd_shares_fairly(s) {
        const CROWD: usize = 30;
        let group = s.event_loop.rate_group(None, rate(300_000, 3_000));
        group.set_min_share(500);
        let (mut ids, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..CROWD {
            let (id, peer) = s.stream(1, StreamOptions::new().group(&group), |_, _, _| {});
            ids.push(id);
            peers.push((peer, 0));
        }
        for id in ids {
            s.event_loop.with_stream(id, |_, stream| stream.write_all(&pattern(100_000)).expect("it is open"));
        }
        s.until("a part of it", |_| group.totals().written >= 60_000);
        // What was on its way when the last turn ended comes without another one.
        for (peer, got) in &mut peers {
            let peer: &mut Socket = peer;
            while let Some(bytes) = peer.receive() {
                *got += bytes.len();
            }
        }
        let got: Vec<usize> = peers.iter().map(|(_, got)| *got).collect();
        let (least, most) = (got.iter().min().expect("some"), got.iter().max().expect("some"));
        assert!(*least > 0 && most - least <= 1_500, "{got:?}");
    }

    fn leaving_and_joining_while_it_is_dry(s) {
        let group = s.event_loop.rate_group(rate(1, 1), None);
        let mut members = echoing(s, &group, 2);
        let (other_id, mut other) = members.pop().expect("two");
        let (id, mut peer) = members.pop().expect("two");
        s.send_all(&mut peer, b"12345");
        assert_eq!(s.collect(&mut peer, 1), b"1");
        s.send_all(&mut other, b"67890");
        s.quiet();
        s.event_loop.with_stream(id, |_, stream| stream.leave());
        assert_eq!(s.collect(&mut peer, 4), b"2345");
        assert_eq!(group.members(), 1);
        let another = s.event_loop.rate_group(None, rate(1, 3));
        s.event_loop.with_stream(other_id, |_, stream| stream.join(&another)).expect("a stream").expect("the same loop");
        assert_eq!(s.collect(&mut other, 3), b"678");
        drop((group, another));
        s.event_loop.remove(other_id);
        assert_eq!(s.collect(&mut other, usize::MAX), b"");
    }

    fn another_rate_while_it_is_dry(s) {
        let group = s.event_loop.rate_group(rate(1, 10), None);
        let mut members = echoing(s, &group, 3);
        for (_, peer) in &mut members {
            s.send_all(peer, &pattern(1_000));
        }
        s.until("the burst", |_| group.totals().read == 10);
        (0..4).for_each(|_| s.turn());
        assert_eq!(group.totals().read, 10);
        group.set_rate(&mut s.event_loop, READ, rate(1_000_000, 100));
        s.until("more", |_| group.totals().read >= 500);
        group.set_rate(&mut s.event_loop, READ, rate(1, 1));
        group.set_rate(&mut s.event_loop, READ, None);
        for (_, peer) in &mut members {
            assert_eq!(s.collect(peer, 1_000), pattern(1_000));
        }
        assert_eq!(group.totals().read, 3_000);
    }

    /// Members go while they queue, from inside another's callback; those behind them come sooner.
    fn members_go_at_any_time(s) {
        let group = s.event_loop.rate_group(rate(20_000, 50), None);
        group.set_min_share(50);
        let doomed: Rc<Cell<Vec<EventId>>> = Rc::default();
        let mut peers = Vec::new();
        for at in 0..6 {
            let others = Rc::clone(&doomed);
            let (id, peer) = s.stream(at, StreamOptions::new().group(&group), move |ctx, stream, event| {
                if event == StreamEvent::Read {
                    stream.consume(usize::MAX);
                    if at % 2 == 0 {
                        others.take().into_iter().for_each(|id| assert!(ctx.remove(id)));
                    }
                }
            });
            peers.push((id, peer));
        }
        for (_, peer) in &mut peers {
            s.send_all(peer, &[7; 200]);
        }
        s.until("some", |_| group.totals().read >= 100);
        doomed.set(peers.iter().skip(1).step_by(2).map(|(id, _)| *id).collect());
        s.until("three are gone", |_| group.members() == 3);
        peers.iter_mut().step_by(2).for_each(|(_, peer)| peer.finish());
        s.until("all ends", |_| group.members() == 0);
        for at in (0..6).step_by(2) {
            assert_eq!(s.told(at).len(), 1, "{at}: {:?}", s.told(at));
        }
    }

    fn a_call_moves_no_more_than_it_may(s) {
        let options = StreamOptions::new().most_at_once(READ, 100).most_at_once(WRITE, 30);
        let most = Rc::new(Cell::new(0));
        let seen = Rc::clone(&most);
        let (id, mut peer) = s.stream(1, options, move |_, stream, event| {
            if event == StreamEvent::Read {
                seen.set(stream.input().len().max(seen.get()));
                assert!(stream.echo());
            }
        });
        s.send_all(&mut peer, &pattern(1_000));
        assert_eq!(s.collect(&mut peer, 1_000), pattern(1_000));
        assert_eq!(most.get(), 100);
        s.event_loop.with_stream(id, |_, stream| stream.set_most_at_once(READ, 0));
        s.send_all(&mut peer, &pattern(1_000));
        assert_eq!(s.collect(&mut peer, 1_000), pattern(1_000));
        assert!(most.get() > 100);
    }

    /// Deferred, always: what a stream has to be told is told by the loop, never inside the call that brings it about.
    fn nothing_is_told_inside_a_call(s) {
        let (one, mut to_one) = s.stream(1, StreamOptions::new(), |_, _, _| {});
        let (_two, mut to_two) = s.stream(2, StreamOptions::new(), move |ctx, _, event| {
            if event == StreamEvent::Read {
                let before = ctx.data().len();
                ctx.with_stream(one, |ctx, other| {
                    other.trigger(READ);
                    other.trigger(WRITE);
                    other.write_all(b"x").expect("it is open");
                    assert_eq!(ctx.data().len(), before);
                });
                assert_eq!(ctx.data().len(), before);
            }
        });
        s.send_all(&mut to_one, b"x");
        s.until("its own", |s| s.event_loop.data()[..] == [(1, StreamEvent::Read)]);
        s.send_all(&mut to_two, b"x");
        s.until("by hand", |s| s.event_loop.data().len() >= 4);
        let (read, written) = (StreamEvent::Read, StreamEvent::Written);
        assert_eq!(s.event_loop.data()[1..4], [(2, read), (1, read), (1, written)]);
    }

    fn by_hand_the_marks_hold_unless_they_are_to_be_ignored(s) {
        let options = StreamOptions::new().input_marks(10, 20).most_at_once(READ, 20);
        let (id, mut peer) = s.stream(1, options, |_, _, _| {});
        s.send_all(&mut peer, b"below");
        s.until("the bytes", |s| s.event_loop.with_stream(id, |_, stream| stream.input().len()) == Some(5));
        s.event_loop.with_stream(id, |_, stream| stream.trigger(READ));
        s.quiet();
        s.event_loop.with_stream(id, |_, stream| stream.trigger_anyway(READ));
        s.until("by hand", |s| s.event_loop.data()[..] == [(1, StreamEvent::Read)]);
    }
}

fn kinds() -> impl Iterator<Item = BackendKind> {
    let without = std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1");
    BackendKind::ALL.into_iter().filter(move |kind| *kind != BackendKind::IoUring || !without)
}

#[test]
fn another_loops_group_is_refused() {
    let mut one = Config::new().build(()).expect("a loop");
    let mut two = Config::new().build(()).expect("a loop");
    let group = one.rate_group(rate(1, 1), None);
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    let refused =
        two.stream(ours, StreamOptions::new().group(&group), |_: &mut _, _: &mut duolu::Stream<'_>, _| {});
    assert!(matches!(refused, Err(Error::Misuse(why)) if why.contains("each loop")));
    let id = two
        .stream(theirs, StreamOptions::new(), |_: &mut _, _: &mut duolu::Stream<'_>, _| {})
        .expect("a stream");
    assert!(two.with_stream(id, |_, stream| stream.join(&group).is_err()).expect("a stream"));
    assert_eq!(group.members(), 0);
}

#[test]
fn the_most_urgent_stream_is_told_first() {
    for kind in kinds() {
        let mut event_loop = Config::new().backend(kind).priorities(3).build(Vec::new()).expect("a loop");
        let mut peers = Vec::new();
        for priority in [2, 0, 1] {
            let (ours, theirs) = UnixStream::pair().expect("descriptors");
            let told = move |ctx: &mut duolu::Context<Vec<u8>>, _: &mut duolu::Stream<'_>, _| {
                ctx.data().push(priority)
            };
            event_loop.stream(ours, StreamOptions::new().priority(priority), told).expect("a stream");
            peers.push(theirs);
        }
        peers.iter_mut().for_each(|peer| peer.write_all(b"x").expect("room"));
        while event_loop.data().len() < 3 {
            event_loop.run_once().expect("a turn");
        }
        assert_eq!(event_loop.data()[..], [0, 1, 2], "{kind}");
    }
}
