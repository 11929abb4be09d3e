//! What faces can choose: how due events are handed out, what is told to the kernel when, and waiting in halves.

use crate::backend::{Backend, Change, Clock, Errno, Features, RawFd, Report};
use crate::engine::Engine;
use crate::event::{EventId, EventSpec};
use crate::interest::{Interest, Ready, Trigger};
use crate::reactor::{Refused, Rules, Timeout};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

/// Hands that note what they are told and report what the test says.
#[derive(Default)]
struct Noting {
    changes: Vec<Change>,
    next: Vec<Report>,
    refuse: Option<Errno>,
    reinits: u32,
    holds_files: bool,
    let_go: Vec<RawFd>,
}

impl Backend for Noting {
    fn name(&self) -> &'static str {
        "noting"
    }
    fn features(&self) -> Features {
        Features { edge: true, peer_closed: true, ..Features::default() }
    }
    fn holds_files(&self) -> bool {
        self.holds_files
    }
    fn let_go(&mut self, fd: RawFd) {
        self.let_go.push(fd);
    }
    fn apply(&mut self, change: Change) -> Result<(), Errno> {
        self.changes.push(change);
        self.refuse.take().map_or(Ok(()), Err)
    }
    fn wait(&mut self, _: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno> {
        reports.append(&mut self.next);
        Ok(())
    }
    fn reinit(&mut self) -> Result<(), Errno> {
        self.reinits += 1;
        Ok(())
    }
    fn descriptor(&mut self) -> Option<RawFd> {
        None
    }
}

#[derive(Default)]
struct Hand(Cell<u64>);

impl Clock for Hand {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.get())
    }
}

type Loop = Engine<Noting, Hand>;

fn new_loop(priorities: u16) -> Loop {
    let mut engine = Engine::new(Box::new(Noting::default()), Hand::default(), priorities);
    engine.set_rules(Rules::LIBEVENT);
    engine
}

fn reader(fd: RawFd) -> EventSpec {
    EventSpec { persist: false, ..EventSpec::fd(fd, Interest::READ) }
}

fn added(engine: &mut Loop, spec: EventSpec) -> EventId {
    let id = engine.create(spec).unwrap();
    engine.add(id, Timeout::Keep).unwrap();
    engine.verify();
    id
}

fn changes(engine: &mut Loop) -> Vec<Change> {
    core::mem::take(&mut engine.backend().changes)
}

/// The kernel says that `fd` is readable, under the token it was last told.
fn readable(engine: &mut Loop, fd: RawFd) -> Report {
    let report = Report { ready: Ready::READ, token: engine.reactor().token(fd).unwrap() };
    engine.backend().next.push(report);
    report
}

fn handed_out(engine: &mut Loop) -> Vec<EventId> {
    let mut ids = Vec::new();
    while let Some(active) = engine.next_active() {
        engine.verify();
        ids.push(active.id);
    }
    ids
}

#[test]
fn a_queue_is_handed_out_until_it_is_empty() {
    let mut engine = new_loop(2);
    let [first, second, urgent] = [0, 1, 2].map(|n| {
        let priority = if n == 2 { 0 } else { 1 };
        engine.create(EventSpec { priority, ..EventSpec::new() }).unwrap()
    });
    engine.activate(first, Ready::USER);
    engine.poll(Some(0)).unwrap();
    assert_eq!(engine.next_active().unwrap().id, first);
    // What its callback makes due in the same queue comes in the same pass.
    engine.activate(second, Ready::USER);
    assert_eq!(handed_out(&mut engine), [second]);
    // What it makes due in a more urgent one ends the pass: the kernel is asked before that.
    let [first, second] =
        [0, 1].map(|_| engine.create(EventSpec { priority: 1, ..EventSpec::new() }).unwrap());
    engine.activate(first, Ready::USER);
    engine.poll(Some(0)).unwrap();
    assert_eq!(engine.next_active().unwrap().id, first);
    engine.activate(second, Ready::USER);
    engine.activate(urgent, Ready::USER);
    assert!(handed_out(&mut engine).is_empty());
    engine.poll(Some(0)).unwrap();
    assert_eq!(handed_out(&mut engine), [urgent]);
    engine.poll(Some(0)).unwrap();
    assert_eq!(handed_out(&mut engine), [second]);
    // Without the rule a pass is as long as the queue was.
    engine.set_rules(Rules::default());
    let [first, second] = [0, 1].map(|_| engine.create(EventSpec::new()).unwrap());
    engine.activate(first, Ready::USER);
    engine.poll(Some(0)).unwrap();
    assert_eq!(engine.next_active().unwrap().id, first);
    engine.activate(second, Ready::USER);
    assert!(engine.next_active().is_none());
}

#[test]
fn what_is_done_is_forgotten_before_its_callback() {
    let mut engine = new_loop(1);
    let once = added(&mut engine, reader(3));
    let again = added(&mut engine, EventSpec { persist: true, ..reader(4) });
    let timed = engine.create(EventSpec { persist: true, ..EventSpec::new() }).unwrap();
    engine.add(timed, Timeout::After(5)).unwrap();
    let idle = engine.create(EventSpec { persist: true, ..reader(5) }).unwrap();
    engine.activate(idle, Ready::USER);
    for fd in [3, 4] {
        readable(&mut engine, fd);
    }
    engine.clock().0.set(5);
    engine.poll(Some(0)).unwrap();
    let mut released = Vec::new();
    while let Some(active) = engine.next_active() {
        assert_eq!(active.released, !engine.exists(active.id));
        released.push((active.id, active.released));
        engine.verify();
    }
    released.sort();
    let mut expected = vec![(once, true), (again, false), (timed, false), (idle, true)];
    expected.sort();
    assert_eq!(released, expected);
}

#[test]
fn a_released_event_costs_a_change_at_the_next_wait_and_one_readded_costs_one_in_all() {
    let mut engine = new_loop(1);
    let id = added(&mut engine, reader(3));
    assert!(matches!(changes(&mut engine)[..], [Change::Add { .. }]));
    assert!(engine.release(id));
    engine.verify();
    assert_eq!((engine.exists(id), engine.release(id)), (false, false));
    assert_eq!(changes(&mut engine), []);
    engine.poll(Some(0)).unwrap();
    assert!(matches!(changes(&mut engine)[..], [Change::Remove { .. }]));
    // A thousand removals and additions between two waits are one change.
    let mut id = added(&mut engine, reader(3));
    let first = readable(&mut engine, 3).token;
    engine.backend().next.clear();
    changes(&mut engine);
    for _ in 0..1000 {
        engine.release(id);
        id = added(&mut engine, reader(3));
    }
    assert_eq!(changes(&mut engine), []);
    engine.poll(Some(0)).unwrap();
    let told = changes(&mut engine);
    // The number may mean another file by now: a new generation, so that reports for the old one are nobody's.
    assert!(matches!(told[..], [Change::Modify { token, .. }] if token != first), "{told:?}");
    engine.backend().next.push(Report { ready: Ready::READ, token: first });
    engine.poll(Some(0)).unwrap();
    assert_eq!((handed_out(&mut engine), engine.counters().stale_reports), (vec![], 1));
}

#[test]
fn a_changed_interest_is_part_of_the_one_change() {
    let mut engine = new_loop(1);
    let id = added(&mut engine, reader(3));
    engine.release(id);
    added(&mut engine, EventSpec { interest: Interest::WRITE, ..reader(3) });
    added(&mut engine, EventSpec { interest: Interest::READ, ..reader(3) });
    changes(&mut engine);
    engine.poll(Some(0)).unwrap();
    let both = Interest::READ.with(Interest::WRITE);
    assert!(matches!(changes(&mut engine)[..], [Change::Modify { watch, .. }] if watch.interest == both));
}

#[test]
fn an_edge_is_armed_again_by_being_added_again() {
    let mut engine = new_loop(1);
    let edge = EventSpec { trigger: Trigger::Edge, ..reader(3) };
    let id = added(&mut engine, edge);
    engine.release(id);
    added(&mut engine, edge);
    changes(&mut engine);
    engine.poll(Some(0)).unwrap();
    assert!(
        matches!(changes(&mut engine)[..], [Change::Modify { watch, .. }] if watch.trigger == Trigger::Edge)
    );
}

#[test]
fn a_first_addition_is_refused_at_once_and_a_later_one_at_the_wait() {
    const EBADF: Errno = Errno(9);
    let mut engine = new_loop(1);
    engine.backend().refuse = Some(EBADF);
    let id = engine.create(reader(3)).unwrap();
    assert_eq!(engine.add(id, Timeout::Keep), Err(Refused::Kernel(EBADF)));
    engine.release(id);
    engine.verify();
    let id = added(&mut engine, reader(3));
    engine.release(id);
    let id = added(&mut engine, reader(3));
    engine.backend().refuse = Some(EBADF);
    engine.poll(Some(0)).unwrap();
    let active = engine.next_active().unwrap();
    assert!(active.id == id && active.ready.contains(Ready::READ.with(Ready::INVALID)));
    engine.verify();
}

#[test]
fn others_use_the_engine_while_its_hands_wait() {
    let mut engine = new_loop(1);
    let gone = added(&mut engine, EventSpec { persist: true, ..reader(3) });
    added(&mut engine, EventSpec { persist: true, ..reader(5) });
    for _ in 0..5 {
        let told = [readable(&mut engine, 3), readable(&mut engine, 5)];
        engine.backend().next.clear();
        let (_, mut reports) = engine.begin_wait(None);
        let hands = engine.swap_backend(Box::new(Noting::default()));
        // Meanwhile: one is removed and added again, one comes, a timeout begins.
        engine.release(gone);
        let [again, new] = [3, 4].map(|fd| added(&mut engine, EventSpec { persist: true, ..reader(fd) }));
        engine.add(new, Timeout::After(7)).unwrap();
        let kept = core::mem::take(&mut engine.swap_backend(hands).changes);
        assert!(matches!(kept[..], [Change::Add { token, .. }] if token.fd() == 4));
        for change in kept {
            engine.apply_late(change);
        }
        reports.extend(told);
        engine.end_wait(reports, true);
        engine.verify();
        // Descriptor 3's report was for what it was before.
        assert_eq!(handed_out(&mut engine).len(), 1);
        // And no reason to believe that the kernel is haunted.
        assert_eq!((engine.counters().rebuilds, engine.backend().reinits), (0, 0));
        engine.release(again);
        engine.release(new);
        engine.poll(Some(0)).unwrap();
        added(&mut engine, EventSpec { persist: true, ..reader(3) });
    }
}

#[test]
fn a_timer_is_taken_and_a_queue_changed_while_pending() {
    let mut engine = new_loop(3);
    let id = engine.create(EventSpec { persist: true, priority: 2, ..reader(3) }).unwrap();
    engine.add(id, Timeout::After(5)).unwrap();
    assert!(engine.set_priority(id, 1) && !engine.set_priority(id, 3));
    assert!(engine.remove_timer(id));
    engine.verify();
    engine.clock().0.set(100);
    engine.poll(Some(0)).unwrap();
    assert_eq!(handed_out(&mut engine), []);
    assert!(engine.is_pending(id));
    // One that has run out and is not told yet is taken back as well.
    engine.add(id, Timeout::After(5)).unwrap();
    engine.clock().0.set(200);
    engine.poll(Some(0)).unwrap();
    assert!(engine.is_active(id) && !engine.set_priority(id, 2));
    assert!(!engine.set_priorities(9));
    engine.remove_timer(id);
    assert!(!engine.is_active(id));
    assert_eq!(engine.due(id), Ready::NONE);
    assert!(engine.set_priorities(9) && engine.set_priority(id, 8));
    engine.activate(id, Ready::USER);
    assert_eq!(engine.due(id), Ready::USER);
    engine.poll(Some(0)).unwrap();
    engine.verify();
    assert_eq!(handed_out(&mut engine), [id]);
    assert_eq!(engine.reactor().on_descriptor(3).collect::<Vec<_>>(), [id]);
    assert_eq!(engine.reactor().ids().collect::<Vec<_>>(), [id]);
}

/// Its slot and why, in one word; what waits once is lent.
fn word(index: usize, ready: Ready, brief: bool) -> Option<u64> {
    Some((index as u64) << 32 | u64::from(ready.bits()) << 1 | u64::from(brief))
}

fn next_known(engine: &mut Loop) -> Option<u64> {
    let (next, words) = engine.known_words();
    let word = words.first().copied().filter(|word| word & 1 == 0)?;
    engine.handed_out(next + 1);
    assert!(engine.is_next(next + 1));
    Some(word)
}

/// As the C face asks. The events are to be lent.
fn next_lent(engine: &mut Loop) -> Option<(usize, Ready)> {
    let next = match next_known(engine).or_else(|| engine.next_word()) {
        Some(word) => Some(((word >> 32) as usize, Ready::from_bits(word as u32 >> 1))),
        None => engine.next_lent(|index, ready| word(index, ready, true)),
    };
    engine.verify();
    next
}

#[test]
fn a_lent_event_that_is_added_again_costs_one_change_and_nothing_else() {
    let mut engine = new_loop(1);
    let ids = [3, 4].map(|fd| added(&mut engine, reader(fd)));
    for turn in 0..3 {
        let told = [3, 4].map(|fd| readable(&mut engine, fd).token);
        engine.poll(Some(0)).unwrap();
        changes(&mut engine);
        for (id, fd) in ids.into_iter().zip([3, 4]) {
            assert_eq!(next_lent(&mut engine), Some((id.index(), Ready::READ)), "turn {turn}");
            engine.lend(fd);
            engine.verify();
        }
        assert_eq!((next_lent(&mut engine), engine.next_active()), (None, None));
        // A straggler under the old token is nobody's.
        engine.backend().next.push(Report { ready: Ready::READ, token: told[0] });
        engine.poll(Some(0)).unwrap();
        let again = changes(&mut engine);
        assert!(matches!(again[..], [Change::Modify { .. }, Change::Modify { .. }]), "{again:?}");
        assert!(again.iter().all(|change| !told.contains(&change.token())));
        assert_eq!((next_lent(&mut engine), engine.counters().stale_reports), (None, turn + 1));
        engine.poll(Some(0)).unwrap();
        engine.verify();
    }
}

#[test]
fn a_lent_event_that_is_not_added_again_leaves() {
    let mut engine = new_loop(1);
    let id = added(&mut engine, reader(3));
    readable(&mut engine, 3);
    engine.poll(Some(0)).unwrap();
    assert_eq!(next_lent(&mut engine), Some((id.index(), Ready::READ)));
    engine.lend(3);
    // Its callback adds another event to the descriptor, of another trigger: it must be gone by then.
    engine.release(id);
    let other = added(&mut engine, EventSpec { trigger: Trigger::Edge, ..reader(3) });
    changes(&mut engine);
    engine.poll(Some(0)).unwrap();
    assert!(
        matches!(changes(&mut engine)[..], [Change::Modify { watch, .. }] if watch.trigger == Trigger::Edge)
    );
    readable(&mut engine, 3);
    engine.poll(Some(0)).unwrap();
    // An edge that waits once is not lent.
    assert_eq!(next_lent(&mut engine), None);
    assert_eq!(handed_out(&mut engine), [other]);
    engine.poll(Some(0)).unwrap();
    assert!(matches!(changes(&mut engine)[..], [Change::Remove { .. }]));
    engine.verify();
}

#[test]
fn what_is_brief_is_not_lent_beside_others() {
    let mut engine = new_loop(1);
    let pair = [4, 4].map(|fd| added(&mut engine, reader(fd)));
    engine.poll(Some(0)).unwrap();
    readable(&mut engine, 4);
    engine.poll(Some(0)).unwrap();
    assert_eq!(next_lent(&mut engine), None);
    assert_eq!(handed_out(&mut engine), [pair[1], pair[0]]);
    assert_eq!(engine.pending_count(), 0);
}

#[test]
fn the_timeout_of_what_is_lent_is_disarmed_and_armed_again_on_request() {
    let mut engine = new_loop(1);
    let id = engine.create(reader(3)).unwrap();
    engine.add(id, Timeout::After(50)).unwrap();
    let other = added(&mut engine, reader(4));
    for turn in 0..4 {
        engine.poll(Some(0)).unwrap();
        readable(&mut engine, 3);
        readable(&mut engine, 4);
        engine.clock().0.set(40 * (turn + 1)); // before 50 have gone by
        engine.poll(Some(0)).unwrap();
        engine.forget_now();
        assert_eq!(next_lent(&mut engine), Some((id.index(), Ready::READ)), "turn {turn}");
        assert_eq!(engine.reactor().deadline(id), None);
        engine.lend(3);
        engine.verify();
        // Added again with another time in turns 0 to 2, and without one in turn 3.
        if turn < 3 {
            engine.time_lent(id, Timeout::After(50)).unwrap();
        }
        engine.verify();
        assert_eq!(
            next_lent(&mut engine),
            Some((other.index(), Ready::READ)),
            "what came with it goes straight"
        );
        engine.lend(4);
        assert_eq!((next_lent(&mut engine), engine.next_active()), (None, None));
    }
    engine.clock().0.set(100_000);
    engine.poll(Some(0)).unwrap();
    assert_eq!(handed_out(&mut engine), [], "there was no timeout the last time");
    assert_eq!(engine.pending_count(), 2);
    engine.release(id);
    engine.poll(Some(0)).unwrap();
    engine.verify();
}

#[test]
fn a_timeout_that_runs_out_with_the_report_is_told_with_it() {
    for persist in [false, true] {
        let mut engine = new_loop(1);
        let id = engine.create(EventSpec { persist, ..reader(3) }).unwrap();
        engine.add(id, Timeout::After(50)).unwrap();
        engine.poll(Some(0)).unwrap();
        readable(&mut engine, 3);
        engine.clock().0.set(60);
        engine.poll(Some(0)).unwrap();
        assert_eq!(next_lent(&mut engine), None);
        let active = engine.next_active().unwrap();
        assert_eq!((active.ready, active.released), (Ready::READ | Ready::TIMEOUT, !persist));
        engine.verify();
    }
}

#[test]
fn a_periodic_event_goes_straight_and_its_timeout_starts_anew() {
    for common in [false, true] {
        let mut engine = new_loop(1);
        let timeout =
            if common { Timeout::Common(engine.timers().common(50).unwrap()) } else { Timeout::After(50) };
        let ids = [3, 4].map(|fd| {
            let id = engine.create(EventSpec { persist: true, ..reader(fd) }).unwrap();
            engine.add(id, timeout).unwrap();
            id
        });
        for turn in 1..5 {
            engine.poll(Some(0)).unwrap();
            readable(&mut engine, 3);
            readable(&mut engine, 4);
            engine.clock().0.set(40 * turn);
            engine.poll(Some(0)).unwrap();
            for id in ids {
                let (index, ready) = next_lent(&mut engine).expect("straight");
                assert_eq!((index, ready), (id.index(), Ready::READ));
                assert_eq!(engine.reactor().deadline(id), Some(Instant::from_nanos(40 * turn + 50)));
                engine.verify();
            }
            assert_eq!((next_lent(&mut engine), engine.next_active()), (None, None));
        }
        engine.clock().0.set(1_000);
        engine.poll(Some(0)).unwrap();
        assert_eq!(handed_out(&mut engine), ids);
    }
}

#[test]
fn hands_that_hold_files_let_go_of_what_is_left() {
    for holds_files in [true, false] {
        let backend = Noting { holds_files, ..Noting::default() };
        let mut engine = Engine::new(Box::new(backend), Hand::default(), 1);
        engine.set_rules(Rules::LIBEVENT);
        let left = |engine: &mut Loop, wanted: &[RawFd]| {
            let let_go = core::mem::take(&mut engine.backend().let_go);
            assert_eq!(let_go, if holds_files { wanted } else { &[] });
        };
        // The first of two leaves somebody behind.
        let [one, other] = [0, 1].map(|_| added(&mut engine, reader(5)));
        engine.release(one);
        left(&mut engine, &[]);
        engine.release(other);
        left(&mut engine, &[5]);
        // Of what never reached the kernel there is nothing to let go of.
        let never = engine.create(reader(6)).unwrap();
        engine.release(never);
        left(&mut engine, &[]);
        // Handed out for the last time: straight, by its timeout, lent.
        let timed = engine.create(reader(7)).unwrap();
        engine.add(timed, Timeout::After(10)).unwrap();
        engine.clock().0.set(20);
        engine.poll(Some(0)).unwrap();
        assert!(engine.next_active().unwrap().released);
        engine.let_go();
        left(&mut engine, &[7]);
        added(&mut engine, reader(8));
        engine.poll(Some(0)).unwrap();
        readable(&mut engine, 8);
        engine.poll(Some(0)).unwrap();
        assert!(next_lent(&mut engine).is_some());
        engine.lend(8);
        left(&mut engine, &[8]);
        engine.verify();
    }
}

#[test]
fn what_stays_is_known_before_its_turn_until_something_changes() {
    let mut engine = new_loop(1);
    let ids = [3, 4, 5].map(|fd| {
        let id = engine.create(EventSpec { persist: true, ..reader(fd) }).unwrap();
        engine.add(id, Timeout::Never).unwrap();
        id
    });
    let words = ids.map(|id| word(id.index(), Ready::READ, false));
    let turn = |engine: &mut Loop| {
        engine.poll(Some(0)).unwrap();
        for fd in [3, 4, 5] {
            readable(engine, fd);
        }
        engine.poll(Some(0)).unwrap();
        engine.verify();
    };
    turn(&mut engine);
    for id in ids {
        assert_eq!(engine.next_word(), None);
        let told = engine.next_lent(|index, ready| word(index, ready, false));
        assert_eq!(told, Some((id.index(), Ready::READ)));
    }
    for _ in 0..2 {
        turn(&mut engine);
        for word in words {
            assert_eq!(next_known(&mut engine), word);
            engine.verify();
        }
        assert_eq!((next_known(&mut engine), engine.next_word(), engine.next_active()), (None, None, None));
    }
    // The first's callback removes the second, and the third is told in another way.
    turn(&mut engine);
    assert_eq!(next_known(&mut engine), words[0]);
    engine.release(ids[1]);
    assert!(!engine.is_next(1));
    engine.verify();
    assert_eq!((next_known(&mut engine), engine.next_word()), (None, None));
    assert_eq!(engine.next_lent(|_, _| None), None);
    assert_eq!(handed_out(&mut engine), [ids[2]]);
    // What is told of another kind is asked for anew, and without a word always.
    let token = engine.reactor().token(3).unwrap();
    let ready = Ready::READ | Ready::WRITE;
    for _ in 0..2 {
        engine.backend().next.push(Report { ready, token });
        engine.poll(Some(0)).unwrap();
        assert_eq!(engine.next_word(), None);
        assert_eq!(engine.next_lent(|_, _| None), Some((ids[0].index(), Ready::READ)));
    }
    engine.verify();
}

#[test]
fn a_promise_made_without_a_word_is_none_to_who_wants_one() {
    let mut engine = new_loop(1);
    let id = engine.create(EventSpec { persist: true, ..reader(3) }).unwrap();
    engine.add(id, Timeout::Never).unwrap();
    // The table of words is longer than that.
    let other = engine.create(EventSpec { persist: true, ..reader(5) }).unwrap();
    engine.add(other, Timeout::Never).unwrap();
    engine.poll(Some(0)).unwrap();
    readable(&mut engine, 5);
    engine.poll(Some(0)).unwrap();
    assert!(engine.next_lent(|index, ready| word(index, ready, false)).is_some());
    let mut turn = |rules| {
        engine.set_rules(rules);
        for _ in 0..2 {
            engine.poll(Some(0)).unwrap();
            readable(&mut engine, 3);
            engine.poll(Some(0)).unwrap();
            if rules.lends {
                assert_eq!(engine.next_word(), None);
            } else {
                engine.next_plain();
            }
            handed_out(&mut engine);
            engine.verify();
        }
    };
    turn(Rules::LIBEVENT);
    turn(Rules { lends: false, ..Rules::LIBEVENT });
    turn(Rules::LIBEVENT);
}
