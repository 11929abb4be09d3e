use super::super::limit::Rate;
use super::*;
use Side::{First, Second};
use alloc::vec::Vec;

const MS: u64 = 1_000_000;
const RESET: Errno = Errno(104);
const PIPE: Errno = Errno(32);

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * MS)
}

fn moved(bytes: usize, then: Then) -> Moved {
    Moved { bytes, then }
}

/// Both sides as they are outside: what they will send, what they got, how much they take at once.
#[derive(Default)]
struct Peer {
    sends: usize,
    ends: bool,
    breaks: bool,
    takes: usize,
    refuses: bool,
    got: usize,
    got_end: bool,
    got_reset: bool,
}

struct World {
    peers: [Peer; 2],
    steps: Vec<Step>,
}

impl World {
    fn new() -> Self {
        let peer = || Peer { takes: usize::MAX, ..Peer::default() };
        World { peers: [peer(), peer()], steps: Vec::new() }
    }

    fn take(&mut self, from: Side, limit: usize) -> Moved {
        let peer = &mut self.peers[from as usize];
        let bytes = peer.sends.min(limit);
        peer.sends -= bytes;
        let then = match () {
            () if bytes > 0 && bytes == limit => Then::More,
            () if bytes > 0 => Then::Blocked,
            () if peer.breaks => Then::Failed(RESET),
            () if peer.ends => Then::End,
            () => Then::Blocked,
        };
        moved(bytes, then)
    }

    /// Everything that can be done in a turn. True when it is over.
    fn turn(&mut self, relay: &mut Relay, now: Instant) -> bool {
        for side in [First, Second] {
            relay.handle_ready(side, relay.wants(side).as_ready());
        }
        relay.begin_turn(now);
        for _ in 0..1000 {
            let step = relay.next_step(now);
            relay.verify();
            if step != Step::Rest {
                self.steps.push(step);
            }
            match step {
                Step::Fill(from, limit, how) => {
                    let moved = self.take(from, limit);
                    relay.handle_filled(from, how, moved, now);
                }
                Step::Discard(from, limit) => {
                    let moved = self.take(from, limit);
                    relay.handle_filled(from, Carriage::Copied, moved, now);
                }
                Step::Drain(from) => {
                    let (held, to) = (relay.held(from), &mut self.peers[from.other() as usize]);
                    let bytes = if to.refuses { 0 } else { held.min(to.takes) };
                    to.got += bytes;
                    to.takes -= bytes;
                    let then = match () {
                        () if to.refuses => Then::Failed(PIPE),
                        () if bytes < held => Then::Blocked,
                        () => Then::More,
                    };
                    relay.handle_drained(from, moved(bytes, then), now);
                }
                Step::ShutdownWrite(side) => self.peers[side as usize].got_end = true,
                Step::Reset(side) => self.peers[side as usize].got_reset = true,
                Step::Rest | Step::Close => {
                    for side in [First, Second] {
                        relay.next_interest(side);
                    }
                    relay.verify();
                    return step == Step::Close;
                }
            }
        }
        panic!("it does not rest: {:?}", &self.steps[..20]);
    }
}

#[test]
fn each_way_ends_for_itself_behind_its_last_byte() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    world.peers[0] = Peer { sends: 100, ends: true, takes: usize::MAX, ..Peer::default() };
    assert!(!world.turn(&mut relay, at(0)));
    assert!(!world.turn(&mut relay, at(0)));
    assert_eq!((world.peers[1].got, world.peers[1].got_end, world.peers[0].got_end), (100, true, false));
    assert_eq!((relay.wants(First), relay.wants(Second)), (Interest::NONE, Interest::READ));
    (world.peers[1].sends, world.peers[1].ends) = (7, true);
    world.turn(&mut relay, at(0));
    assert!(world.turn(&mut relay, at(0)));
    assert_eq!((world.peers[0].got, world.peers[0].got_end), (7, true));
    assert_eq!((relay.outcome(), relay.given(First), relay.given(Second)), (Outcome::Finished, 100, 7));
    assert!(!world.steps.iter().any(|step| matches!(step, Step::Reset(_) | Step::Discard(..))));
}

#[test]
fn a_receiver_that_rests_is_felt_by_the_sender() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    (world.peers[0].sends, world.peers[1].takes) = (1 << 20, 1000);
    world.turn(&mut relay, at(0));
    assert_eq!((relay.wants(First), relay.wants(Second)), (Interest::NONE, Interest::READ | Interest::WRITE));
    assert!(relay.held(First) <= SPLICE_AT_ONCE && !relay.goes_on());
    while world.peers[1].got < 1 << 20 {
        world.peers[1].takes += 30_000;
        world.turn(&mut relay, at(0));
        assert!(relay.held(First) <= SPLICE_AT_ONCE);
    }
    assert_eq!((relay.wants(First), relay.wants(Second)), (Interest::READ, Interest::READ));
}

#[test]
fn one_that_brings_much_is_spliced_and_one_that_brings_little_copied() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    for _ in 0..5 {
        world.peers[0].sends = 64;
        world.turn(&mut relay, at(0));
    }
    assert!(world.steps.iter().all(|step| !matches!(step, Step::Fill(_, _, Carriage::Spliced))));
    world.peers[0].sends = 1_000_000;
    let mut turns = 0;
    while world.peers[0].sends > 0 {
        world.turn(&mut relay, at(0));
        assert!(world.peers[0].sends == 0 || relay.goes_on(), "others get their turn");
        turns += 1;
    }
    assert!((4..=6).contains(&turns), "{turns}");
    assert!(relay.spliced(First) > 950_000);
    let spliced = relay.spliced(First);
    for _ in 0..5 {
        world.peers[0].sends = 64;
        world.turn(&mut relay, at(0));
    }
    assert!(relay.spliced(First) <= spliced + 64);
    relay.handle_refused(First, Errno(22));
    world.peers[0].sends = 1_000_000;
    while world.peers[0].sends > 0 {
        world.turn(&mut relay, at(0));
    }
    assert!(relay.spliced(First) <= spliced + 64);
    assert_eq!((relay.refused(First), relay.refused(Second)), (Some(Errno(22)), None));
    assert_eq!(world.peers[1].got, 10 * 64 + 2_000_000);
}

#[test]
fn what_came_before_a_break_is_given_and_then_the_reset() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    world.peers[0] = Peer { sends: 50_000, breaks: true, takes: 0, ..Peer::default() };
    (world.peers[1].takes, world.peers[1].sends) = (1000, 500);
    while world.peers[1].got < 50_000 {
        assert!(!world.turn(&mut relay, at(0)), "not before the last byte");
        world.peers[1].takes += 1000;
    }
    while !world.turn(&mut relay, at(0)) {}
    assert_eq!(relay.outcome(), Outcome::Failed(First, Direction::Read, RESET));
    assert!(world.peers[1].got_reset && !world.peers[1].got_end && !world.peers[0].got_reset);
    assert_eq!((relay.given(First), relay.given(Second)), (50_000, 0));
}

#[test]
fn one_that_takes_no_more_may_still_speak() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    (world.peers[0].sends, world.peers[1].refuses) = (100_000, true);
    world.turn(&mut relay, at(0));
    assert_eq!(relay.wants(First), Interest::NONE, "nobody takes it");
    (world.peers[1].sends, world.peers[1].ends) = (5_000, true);
    world.turn(&mut relay, at(1));
    world.turn(&mut relay, at(1));
    assert_eq!((world.peers[0].got, world.peers[0].got_end), (5_000, true));
    // The first is still sending: what it got would be lost by closing now.
    assert_eq!((relay.wants(First), world.peers[0].got_reset), (Interest::READ, false));
    while world.peers[0].sends > 0 {
        assert!(!world.turn(&mut relay, at(2)));
    }
    assert_eq!(relay.next_timer(), Some(at(5_001)));
    world.peers[0].ends = true;
    world.turn(&mut relay, at(3));
    assert!(world.turn(&mut relay, at(3)));
    assert_eq!(relay.outcome(), Outcome::Failed(Second, Direction::Write, PIPE));
    assert_eq!((relay.given(First), relay.given(Second)), (0, 5_000));
}

#[test]
fn one_that_never_ends_is_not_waited_for() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    (world.peers[0].sends, world.peers[1].refuses, world.peers[1].ends) = (1, true, true);
    while relay.next_timer().is_none() {
        assert!(!world.turn(&mut relay, at(0)));
    }
    relay.timer_gone();
    relay.handle_time(at(5_000));
    assert!(world.turn(&mut relay, at(5_000)));
}

#[test]
fn idle_is_when_nothing_moves_either_way() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    relay.set_idle(Some(10 * MS));
    world.turn(&mut relay, at(0));
    assert_eq!(relay.next_timer(), Some(at(10)));
    world.peers[1].sends = 1;
    world.turn(&mut relay, at(6));
    relay.timer_gone();
    relay.handle_time(at(10));
    assert!(!world.turn(&mut relay, at(10)));
    assert_eq!(relay.next_timer(), Some(at(16)));
    relay.timer_gone();
    relay.handle_time(at(16));
    assert!(world.turn(&mut relay, at(16)));
    assert_eq!(relay.outcome(), Outcome::Idle);
}

/// It was not all, and so it does not look like it.
#[test]
fn idle_with_something_on_its_way_it_cuts_both() {
    for held in [false, true] {
        let (mut relay, mut world) = (Relay::new(), World::new());
        relay.set_idle(Some(10 * MS));
        world.peers[1].takes = if held { 70 } else { 100 };
        world.peers[0].sends = 100;
        world.turn(&mut relay, at(0));
        assert_eq!((relay.taken(First), relay.given(First)), (100, if held { 70 } else { 100 }));
        relay.handle_time(at(10));
        assert!(world.turn(&mut relay, at(10)));
        assert_eq!((world.peers[0].got_reset, world.peers[1].got_reset), (held, held));
        assert_eq!(relay.outcome(), Outcome::Idle);
    }
}

#[test]
fn its_rate_holds_and_resting_is_not_idle() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    relay.set_idle(Some(MS));
    relay.set_rate(Direction::Read, Some(Rate { bytes_per_second: 1_000, burst: 10 }.into()));
    (world.peers[0].sends, world.peers[1].sends) = (100, 100);
    world.turn(&mut relay, at(0));
    assert_eq!((world.peers[1].got, world.peers[0].got), (10, 100), "the other way has no limit");
    assert_eq!((relay.wants(First), relay.next_timer()), (Interest::NONE, Some(at(10))));
    for ms in [5, 10, 11, 20, 30, 40, 50, 60, 70, 80, 90] {
        relay.timer_gone();
        relay.handle_time(at(ms));
        assert!(!world.turn(&mut relay, at(ms)), "at {ms} ms");
        assert!(world.peers[1].got as u64 <= 10 + ms);
    }
    assert_eq!(world.peers[1].got, 100);
}

#[test]
fn what_was_taken_before_goes_first() {
    let (mut relay, mut world) = (Relay::new(), World::new());
    relay.preload(First, 30, true);
    relay.preload(Second, 5, false);
    world.turn(&mut relay, at(0));
    let given = [Step::Drain(First), Step::ShutdownWrite(Second), Step::Drain(Second)];
    assert_eq!(world.steps[..3], given);
    assert_eq!((world.peers[1].got, world.peers[0].got), (30, 5));
}

/// Random peers: nothing is lost as long as nobody breaks, what is on its way is bounded, and it comes to its end.
#[test]
fn random_peers() {
    for seed in 1..=500_u64 {
        let mut random = super::super::tests::random(seed);
        let (mut relay, mut world) = (Relay::new(), World::new());
        if random(3) == 0 {
            let burst = 1 + random(100_000);
            let rate = Rate { bytes_per_second: 1 + random(10_000_000), burst };
            relay.set_rate(Direction::Read, Some(rate.into()));
        }
        let mut sent = [0; 2];
        let mut broken = false;
        world.peers.iter_mut().for_each(|peer| peer.takes = 0);
        let mut over = false;
        for turn in 0..3_000 {
            for (peer, sent) in world.peers.iter_mut().zip(&mut sent) {
                match random(40) {
                    0 => peer.ends = true,
                    1 if random(200) == 0 => (peer.breaks, broken) = (true, true),
                    2 if random(200) == 0 => (peer.refuses, broken) = (true, true),
                    3..20 if !peer.ends && !peer.breaks => {
                        let most = 1 << random(20);
                        let bytes = random(most) as usize;
                        (peer.sends, *sent) = (peer.sends + bytes, *sent + bytes);
                    }
                    20..38 => {
                        let most = 1 << random(20);
                        peer.takes = peer.takes.saturating_add(random(most) as usize);
                    }
                    _ => {}
                }
                if turn > 1_500 {
                    (peer.ends, peer.takes) = (true, usize::MAX);
                }
            }
            let now = at(turn * 20);
            if relay.deadline().is_some_and(|deadline| deadline <= now) {
                relay.timer_gone();
                relay.handle_time(now);
            }
            over = world.turn(&mut relay, now);
            assert!(relay.held(First) <= SPLICE_AT_ONCE && relay.held(Second) <= SPLICE_AT_ONCE);
            if over {
                break;
            }
        }
        assert!(over || relay.deadline().is_some(), "seed {seed}: it did not come to its end: {relay:?}");
        let got = [world.peers[1].got, world.peers[0].got];
        assert_eq!([relay.given(First), relay.given(Second)], got.map(|bytes| bytes as u64));
        if over && !broken {
            assert_eq!((got, relay.outcome()), (sent, Outcome::Finished), "seed {seed}");
        }
        assert!(broken || relay.outcome() == Outcome::Finished);
        assert!(got[0] <= sent[0] && got[1] <= sent[1]);
    }
}
