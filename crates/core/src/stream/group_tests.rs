use super::super::limit::{Rate, Ticks};
use super::super::{Moved, Stream, Then, pause};
use super::*;
use crate::interest::Interest;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;

const MS: u64 = 1_000_000;
const READ: Direction = Direction::Read;
const WRITE: Direction = Direction::Write;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * MS)
}

fn shared(bytes_per_second: u64, burst: u64) -> Rc<RefCell<Group>> {
    Rc::new(RefCell::new(Group::new(Some(Rate { bytes_per_second, burst }.into()), None)))
}

fn members(group: &Rc<RefCell<Group>>, count: u64) -> Vec<Member> {
    (0..count).map(|key| Member::new(Rc::clone(group), key)).collect()
}

/// The timer rings: who is let go.
fn ring(group: &Rc<RefCell<Group>>, now: Instant) -> Vec<u64> {
    let mut group = group.borrow_mut();
    group.timer_gone();
    group.handle_time(now);
    let woken = core::iter::from_fn(|| group.next_woken()).collect();
    group.verify();
    woken
}

#[test]
fn a_share_is_what_is_left_by_members_but_at_least_the_least() {
    let group = shared(100_000, 10_000);
    group.borrow_mut().set_min_share(1_500);
    let mut two = members(&group, 2);
    assert_eq!(two[0].allowed(READ, at(0)), 5_000);
    two[0].moved(READ, 4_000);
    assert_eq!((two[1].allowed(READ, at(0)), two[1].allowed(WRITE, at(0))), (3_000, u64::MAX));
    two[1].moved(READ, 2_000);
    assert_eq!(
        (two[0].allowed(READ, at(0)), two[1].allowed(READ, at(0))),
        (1_000, 1_000),
        "the rest of their shares"
    );
    two[1].moved(READ, 2_900);
    two[1].moved(WRITE, 1 << 40);
    assert_eq!(two[0].allowed(READ, at(0)), 1_000);
    assert_eq!((two[0].allowed(READ, at(1)), two[0].rests(READ)), (0, true), "1,200 are less than a share");
    let totals = Totals { read: 8_900, written: 1 << 40 };
    assert_eq!((group.borrow().totals(), group.borrow().members()), (totals, 2));
    group.borrow_mut().reset_totals();
    assert_eq!(group.borrow().totals(), Totals::default());
    group.borrow_mut().set_min_share(u64::MAX);
    assert_eq!(two[1].allowed(READ, at(9_000)), 0, "not past who queues");
    assert_eq!(ring(&group, at(9_000)), [0]);
    assert_eq!(two[0].allowed(READ, at(9_000)), 10_000, "never more than the burst");
}

#[test]
fn who_queues_is_let_go_in_order_and_nobody_goes_past() {
    let group = shared(100_000, 3_000);
    group.borrow_mut().set_min_share(1_000);
    let mut four = members(&group, 4);
    for one in &mut four[..3] {
        assert_eq!(one.allowed(READ, at(0)), 1_000);
        one.moved(READ, 1_000);
    }
    for one in &mut four {
        assert_eq!(one.allowed(READ, at(0)), 0);
    }
    assert_eq!(group.borrow_mut().next_timer(), Some(at(10)));
    assert_eq!(group.borrow_mut().next_timer(), None, "it is set");
    assert_eq!(ring(&group, at(9)), [], "too early");
    assert_eq!(group.borrow_mut().next_timer(), Some(at(10)));
    assert_eq!(ring(&group, at(20)), [0, 1]);
    assert_eq!((four[0].rests(READ), four[3].rests(READ)), (false, true));
    let mut late = Member::new(Rc::clone(&group), 9);
    assert_eq!(late.allowed(READ, at(20)), 0, "others queue");
    assert_eq!(four[0].allowed(READ, at(20)), 1_000);
    four[0].moved(READ, 1_000);
    assert_eq!(four[0].allowed(READ, at(20)), 0, "it has had its turn");
    // Member 1 wants nothing any more, or goes: what it leaves is for the next ones.
    four.swap_remove(1);
    assert_eq!(ring(&group, at(20)), [2]);
    assert_eq!(ring(&group, at(1_000)), [3, 9, 0]);
    group.borrow().verify();
    drop((four, late));
    assert_eq!((group.borrow().members(), group.borrow().deadline()), (0, None));
}

#[test]
fn a_share_for_each_instant_however_often_one_asks() {
    let group = shared(100_000, 10_000);
    let mut two = members(&group, 2);
    two[0].moved(READ, 0);
    assert_eq!(two[0].allowed(READ, at(0)), 5_000);
    for _ in 0..5 {
        assert!(two[0].allowed(READ, at(0)) > 0);
        two[0].moved(READ, 1_000);
    }
    assert_eq!(
        (two[0].allowed(READ, at(0)), two[1].allowed(READ, at(0))),
        (0, 0),
        "the second is behind the first"
    );
    assert_eq!((ring(&group, at(0)), two[0].allowed(READ, at(0))), (vec![0, 1], 2_500));
    two[0].foresee(READ, at(0));
    assert!(!two[0].rests(READ), "there is something left");
    two[1].moved(READ, 5_000);
    two[0].foresee(READ, at(0));
    assert!(two[0].rests(READ), "it would be asked in vain");
}

#[test]
fn one_whose_turn_was_taken_keeps_its_place() {
    let group = shared(100_000, 1_000);
    group.borrow_mut().set_min_share(1_000);
    let mut three = members(&group, 3);
    group.borrow_mut().take(READ, 1_000);
    for one in &mut three {
        assert_eq!(one.allowed(READ, at(0)), 0);
    }
    assert_eq!(ring(&group, at(10)), [0]);
    group.borrow_mut().take(READ, 1_000); // something else has moved
    assert_eq!((three[0].allowed(READ, at(10)), three[0].rests(READ)), (0, true));
    assert_eq!(ring(&group, at(20)), [0]);
    assert_eq!(three[0].allowed(READ, at(20)), 1_000);
    assert_eq!(ring(&group, at(20)), [1], "the burst is still there as long as nobody takes it");
}

#[test]
fn by_ticks_it_is_as_in_libevent() {
    let ticks = Ticks { bytes_per_tick: 100, burst: 500, tick_ns: 100 * MS };
    let group = Rc::new(RefCell::new(Group::new(Some(ticks.into()), None)));
    group.borrow_mut().set_min_share(64);
    let mut four = members(&group, 4);
    assert_eq!(four[0].allowed(READ, at(0)), 64, "100 / 4 is less");
    four[0].moved(READ, 64);
    assert_eq!(four[1].allowed(READ, at(0)), 64, "more than what is left");
    four[1].moved(READ, 64);
    assert_eq!((four[2].allowed(READ, at(0)), group.borrow_mut().left(READ, at(0))), (0, Some(-28)));
    assert_eq!(group.borrow_mut().next_timer(), Some(at(100)));
    assert_eq!(ring(&group, at(100)), [2]);
    group.borrow_mut().set_min_share(1_000);
    assert_eq!(four[2].allowed(READ, at(100)), 100, "the min-share is no more than a tick brings");
}

#[test]
fn what_is_charged_is_not_counted_as_moved() {
    let ticks = Ticks { bytes_per_tick: 100, burst: 500, tick_ns: 100 * MS };
    let group = Rc::new(RefCell::new(Group::new(Some(ticks.into()), None)));
    let mut member = Member::new(Rc::clone(&group), 7);
    assert_eq!(group.borrow_mut().left(Direction::Read, at(0)), Some(100));
    group.borrow_mut().charge(Direction::Read, 100);
    group.borrow_mut().charge(Direction::Write, 100);
    assert_eq!(member.allowed(Direction::Read, at(1)), 0, "it queues");
    assert_eq!(group.borrow().totals(), Totals::default());
    group.borrow_mut().charge(Direction::Read, -40);
    assert_eq!(group.borrow_mut().left(Direction::Read, at(1)), Some(40));
    assert_eq!(group.borrow_mut().left(Direction::Write, at(1)), None);
    group.borrow().verify();
}

#[test]
fn another_rate_while_it_is_dry() {
    let group = shared(100, 1_000);
    let mut two = members(&group, 2);
    for one in &mut two {
        assert!(one.allowed(READ, at(0)) > 0 || one.rests(READ));
        one.moved(READ, 1_000);
    }
    assert_eq!((two[0].allowed(READ, at(0)), two[1].allowed(READ, at(0))), (0, 0));
    assert_eq!(group.borrow_mut().next_timer(), Some(at(20_000)), "a debt of 1,000, then a share");
    group.borrow_mut().set_pace(READ, Some(Rate { bytes_per_second: 100_000, burst: 1_000 }.into()));
    assert_eq!(group.borrow_mut().next_timer(), Some(at(20)), "sooner than the one that is set");
    group.borrow_mut().set_pace(READ, None);
    assert_eq!((ring(&group, at(1)), two[0].allowed(READ, at(1))), (vec![0, 1], u64::MAX));
}

/// Takes all it may whenever it may; the stream does nothing else.
fn greedy(stream: &mut Stream, now: Instant) -> u64 {
    stream.settle(now);
    let bytes = stream.read_budget(now);
    if bytes > 0 {
        stream.input_mut().append(&vec![0; bytes]).unwrap();
        stream.handle_read(Moved { bytes, then: Then::More }, now);
        let len = stream.input().len();
        stream.input_mut().drain(len).unwrap();
    }
    stream.settle(now);
    while stream.next_event().is_some() {}
    stream.verify();
    bytes as u64
}

#[test]
fn a_thousand_members_share_fairly_and_nobody_starves() {
    const COUNT: usize = 1_000;
    const RATE: u64 = 1_000_000;
    const BURST: u64 = 100_000;
    for least in [64, MIN_SHARE, 20_000] {
        let group = shared(RATE, BURST);
        group.borrow_mut().set_min_share(least);
        let mut streams: Vec<Stream> = (0..COUNT).map(|_| Stream::new()).collect();
        for (key, stream) in streams.iter_mut().enumerate() {
            stream.set_member(Some(Member::new(Rc::clone(&group), key as u64)));
        }
        let mut got = vec![0; COUNT];
        let mut ready: VecDeque<usize> = (0..COUNT).collect();
        let mut now = at(0);
        while now < at(60_000) {
            // As a loop does: whoever is ready, one after the other, and when all rest the timer rings.
            while let Some(key) = ready.pop_front() {
                let bytes = greedy(&mut streams[key], now);
                got[key] += bytes;
                if !streams[key].is_paused(READ) {
                    ready.push_back(key);
                }
            }
            now = group.borrow_mut().next_timer().expect("somebody queues");
            let woken = ring(&group, now);
            assert!(!woken.is_empty() && woken.len() < COUNT, "{} at once", woken.len());
            ready.extend(woken.into_iter().map(|key| key as usize));
        }
        let seconds = now.as_nanos() / 1_000_000_000;
        let total: u64 = got.iter().sum();
        assert_eq!(total, group.borrow().totals().read);
        assert!(total <= RATE * (seconds + 1) + BURST && total + BURST >= RATE * seconds, "{total}");
        let (least_got, most_got) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        assert!(
            *least_got > 0 && most_got - least_got <= 2 * least.max(BURST / 10),
            "{least_got} to {most_got}"
        );
    }
}

#[test]
fn a_stream_rests_while_it_queues_and_leaves_at_any_time() {
    let group = shared(1_000, 10);
    let (mut one, mut two) = (Stream::new(), Stream::new());
    one.set_member(Some(Member::new(Rc::clone(&group), 1)));
    two.set_member(Some(Member::new(Rc::clone(&group), 2)));
    assert_eq!((greedy(&mut one, at(0)), greedy(&mut two, at(0))), (10, 0));
    assert_eq!(
        (one.wants(), two.wants()),
        (Interest::NONE, Interest::NONE),
        "who took it all queues at once"
    );
    assert!(two.is_paused(READ) && two.deadline().is_none());
    assert_eq!(ring(&group, at(10)), [1]);
    one.settle(at(10));
    assert_eq!((one.wants(), two.wants()), (Interest::READ, Interest::NONE));
    one.set_member(None);
    assert_eq!(ring(&group, at(10)), [2]);
    two.settle(at(10));
    assert_eq!(two.wants(), Interest::READ);
    assert_eq!((one.wants(), group.borrow().members()), (Interest::READ, 1));
    assert!(one.member().is_none() && greedy(&mut one, at(10)) > 10);
    drop(two);
    assert_eq!((group.borrow().members(), group.borrow().deadline()), (0, None));
    // Into another group, and the group's owner goes first.
    let other = shared(1_000, 10);
    one.set_member(Some(Member::new(Rc::clone(&group), 1)));
    one.set_member(Some(Member::new(Rc::clone(&other), 1)));
    assert_eq!((group.borrow().members(), other.borrow().members()), (0, 1));
    drop(other);
    assert_eq!((greedy(&mut one, at(20)), greedy(&mut one, at(20))), (10, 0));
    one.pause(READ, pause::USER);
}

#[test]
fn its_own_limit_and_the_group_both_hold() {
    let group = shared(1_000, 1_000);
    group.borrow_mut().set_min_share(10);
    let mut one = Stream::new();
    one.set_member(Some(Member::new(Rc::clone(&group), 1)));
    one.set_rate(READ, Some(Rate { bytes_per_second: 100, burst: 20 }.into()));
    assert_eq!((greedy(&mut one, at(0)), greedy(&mut one, at(0))), (20, 0));
    assert_eq!(
        (one.deadline(), group.borrow().deadline()),
        (Some(at(10)), None),
        "it does not queue in vain"
    );
    one.set_rate(READ, None);
    assert_eq!((greedy(&mut one, at(0)), greedy(&mut one, at(0))), (980, 0));
    assert_eq!((one.deadline(), group.borrow().deadline()), (None, Some(at(10))));
}

/// Random programs: what moves is never more than the rate allows, and whoever queues is let go in time.
#[test]
fn random_programs_keep_the_rate_and_starve_nobody() {
    for seed in 1..=200_u64 {
        let mut random = super::super::tests::random(seed);
        let (mut rate, burst, least) = (1 + random(100_000), 1 + random(5_000), 1 + random(3_000));
        let group = shared(rate, burst);
        group.borrow_mut().set_min_share(least);
        let mut everybody: Vec<Option<Member>> = (0..20).map(|_| None).collect();
        let (mut now, mut may, mut moved) = (Instant::ZERO, u128::from(burst) * 1_000_000_000, 0_u128);
        let mut waits: BTreeSet<usize> = BTreeSet::new();
        for _ in 0..400 {
            let key = random(20) as usize;
            match random(12) {
                0 => everybody[key] = Some(Member::new(Rc::clone(&group), key as u64)),
                1 => everybody[key] = None,
                2 => {
                    let ns = random(50 * MS);
                    may += u128::from(ns) * u128::from(rate);
                    now = now.saturating_add_nanos(ns);
                    group.borrow_mut().left(READ, now);
                }
                3 => {
                    rate = 1 + random(100_000);
                    group.borrow_mut().set_pace(READ, Some(Rate { bytes_per_second: rate, burst }.into()));
                }
                4 => {
                    for woken in ring(&group, now) {
                        assert!(waits.remove(&(woken as usize)), "seed {seed}: it did not queue");
                    }
                }
                _ => {
                    if let Some(member) = &mut everybody[key] {
                        let allowed = member.allowed(READ, now);
                        assert!(allowed <= burst && (allowed == 0) == member.rests(READ), "seed {seed}");
                        let bytes = if allowed == 0 { 0 } else { 1 + random(allowed) };
                        if bytes > 0 {
                            member.moved(READ, bytes);
                        }
                        moved += u128::from(bytes) * 1_000_000_000;
                    }
                }
            }
            let rests = |key: &usize| everybody[*key].as_ref().is_some_and(|member| member.rests(READ));
            waits = (0..20).filter(rests).collect();
            assert!(moved <= may, "seed {seed}: faster than the rate");
            group.borrow().verify();
        }
        // From here on nobody else comes: everyone who queues is let go, one round for each at most.
        for _ in 0..20 {
            let Some(deadline) = group.borrow().deadline() else { break };
            now = now.max(deadline);
            for woken in ring(&group, now) {
                let member = everybody[woken as usize].as_mut().expect("a member");
                let allowed = member.allowed(READ, now);
                assert!(allowed >= least.min(burst), "seed {seed}: it was its turn");
                member.moved(READ, allowed);
            }
        }
        assert_eq!(group.borrow().deadline(), None, "seed {seed}: somebody starves");
    }
}
