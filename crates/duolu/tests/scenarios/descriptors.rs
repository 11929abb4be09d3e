//! Closed, duplicated and reused descriptors: no spin, never the wrong owner.

use crate::stage::MS;
use duolu_core::{EventSpec, Interest, Ready, Refused, Timeout, Trigger};

const READ: Interest = Interest::READ;
const WRITE: Interest = Interest::WRITE;

scenarios! {
    fn destroyed_then_closed_then_reused(s) {
        let (a, b) = s.world.stream_pair();
        let old = s.watch(a, READ);
        s.write(b, b"old");
        assert_eq!(s.turn(), [(old, Ready::READ)]);
        assert!(s.engine.destroy(old));
        s.world.close(a);
        let peer = s.open_as(a);
        let new = s.watch(a, READ);
        s.quiet();
        s.write(peer, b"new");
        assert_eq!(s.turn(), [(new, Ready::READ)]);
    }

    /// All between two polls: the brain sees a number that looks unchanged.
    fn removed_closed_reopened_and_added_in_one_turn(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.quiet();
        s.write(b, b"for the old one");
        s.del(event);
        s.world.close(a);
        let peer = s.open_as(a);
        s.add(event, Timeout::Keep);
        s.quiet();
        s.write(peer, b"new");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        s.drain(a);
        s.quiet();
    }

    fn the_same_with_a_duplicate_that_keeps_the_old_file_alive(s) {
        let (a, b) = s.world.stream_pair();
        let keeper = s.world.dup(a);
        let event = s.watch(a, READ);
        s.quiet();
        s.del(event);
        s.world.close(a);
        let peer = s.open_as(a);
        s.add(event, Timeout::Keep);
        s.write(b, b"for the duplicate");
        assert_eq!(s.settle(), [], "the new owner hears nothing of it");
        assert!(s.sleeps());
        s.write(peer, b"new");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        assert_eq!(s.drain(keeper), 17, "the duplicate's bytes are there");
    }

    fn removed_and_closed_while_a_duplicate_is_readable(s) {
        let (a, b) = s.world.stream_pair();
        let keeper = s.world.dup(a);
        let event = s.watch(a, READ);
        s.quiet();
        s.write(b, b"x");
        s.del(event);
        s.world.close(a);
        assert_eq!(s.settle(), []);
        assert!(s.sleeps(), "a registration nobody can remove must not wake the loop for ever");
        assert!(s.engine.counters().rebuilds <= 2);
        let other = s.watch(keeper, READ);
        assert_eq!(s.turn(), [(other, Ready::READ)]);
    }

    fn closed_behind_the_loops_back_with_a_duplicate_then_destroyed(s) {
        let (a, b) = s.world.stream_pair();
        let _keeper = s.world.dup(a);
        let event = s.watch(a, READ);
        let (c, d) = s.world.stream_pair();
        let bystander = s.watch(c, READ);
        s.quiet();
        s.world.close(a);
        s.write(b, b"x");
        for _ in 0..3 {
            s.turn_with(0, |_, _| {}); // some kernels go on telling of the duplicate, some say it is closed
        }
        assert!(s.engine.destroy(event));
        assert_eq!(s.settle(), []);
        assert!(s.sleeps());
        s.write(d, b"x");
        assert_eq!(s.turn(), [(bystander, Ready::READ)], "a rebuild loses nobody");
    }

    fn closed_while_watched_is_told_once_or_not_at_all(s) {
        let (a, _b) = s.world.stream_pair();
        let event = s.watch(a, READ | WRITE);
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
        s.world.close(a);
        let told: Vec<_> = (0..5).flat_map(|_| s.turn_with(0, |_, _| {})).collect();
        let invalid = told.iter().filter(|active| active.ready.intersects(Ready::INVALID)).count();
        assert!(invalid <= 1, "{told:?}");
        assert!(s.sleeps());
        assert!(s.engine.destroy(event));
        s.quiet();
    }

    fn a_descriptor_that_is_not_open(s) {
        let (a, _b) = s.world.stream_pair();
        s.world.close(a);
        let event = s.engine.create(EventSpec::fd(a, READ)).expect("known");
        match s.engine.add(event, Timeout::After(3_600_000 * MS)) {
            Err(Refused::Kernel(errno)) => {
                assert_eq!(errno.0, 9, "EBADF");
                assert!(!s.engine.is_pending(event), "as it was");
            }
            Ok(()) => {
                let told = s.turn_with(0, |_, _| {});
                assert_eq!((told.len(), told[0].ready), (1, Ready::READ | Ready::INVALID));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(s.settle(), []);
        let peer = s.open_as(a);
        s.engine.del(event);
        s.add(event, Timeout::Keep);
        s.write(peer, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)], "added anew it works");
    }

    /// An event left behind by a closed number must not cost the number's new owner its news.
    fn the_left_behind_does_not_hide_the_new_owner(s) {
        let (a, _b) = s.world.stream_pair();
        s.watch(a, READ);
        s.quiet();
        s.world.close(a);
        s.settle();
        let peer = s.open_as(a);
        let owner = s.watch_owned(a, READ);
        s.write(peer, b"x");
        assert!(s.turn().contains(&(owner, Ready::READ)));
    }

    /// The old file, alive in a duplicate, goes on reporting under the present token what nobody asks for any more.
    fn reopened_behind_the_loops_back_and_asked_for_something_else(s) {
        let (a, b) = s.world.stream_pair();
        let _keeper = s.world.dup(a);
        let event = s.watch(a, READ);
        s.quiet();
        s.write(b, b"x");
        s.world.close(a);
        let peer = s.open_as(a);
        s.fill(a);
        s.engine.set_interest(event, WRITE).expect("an event on a descriptor");
        assert_eq!(s.settle(), []);
        assert!(s.sleeps());
        s.drain(peer);
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
    }

    fn one_of_two_destroyed_keeps_the_descriptor_watched(s) {
        let (a, b) = s.world.stream_pair();
        let (one, two) = (s.watch(a, READ), s.watch(a, WRITE));
        assert!(s.engine.destroy(two));
        s.write(b, b"x");
        assert_eq!(s.turn(), [(one, Ready::READ)]);
    }

    fn a_duplicate_is_a_descriptor_of_its_own(s) {
        let (a, b) = s.world.stream_pair();
        let again = s.world.dup(a);
        let (one, two) = (s.watch(a, READ), s.watch(again, READ));
        s.write(b, b"x");
        assert_eq!(s.turn_sorted(), [(one, Ready::READ), (two, Ready::READ)]);
        assert!(s.engine.destroy(one));
        s.world.close(a);
        assert_eq!(s.turn(), [(two, Ready::READ)]);
    }

    fn reinit_keeps_everything_pending(s) {
        let ((a, b), (c, d)) = (s.world.stream_pair(), s.world.stream_pair());
        let file = s.world.regular_file();
        let level = s.watch(a, READ);
        let edge = s.add_spec(EventSpec { trigger: Trigger::Edge, ..EventSpec::fd(c, READ) });
        let removed = s.watch(file, READ);
        let timer = s.timer(Timeout::After(3_600_000 * MS));
        s.quiet_but(removed);
        s.del(removed);
        s.engine.reinit().expect("a new kernel side");
        s.quiet();
        assert_eq!(s.engine.pending_count(), 3);
        s.write(b, b"x");
        s.write(d, b"x");
        assert_eq!(s.turn_sorted(), [(level, Ready::READ), (edge, Ready::READ)]);
        s.add(timer, Timeout::After(0));
        assert!(s.turn().contains(&(timer, Ready::TIMEOUT)));
        s.add(removed, Timeout::Keep);
        assert!(s.turn().contains(&(removed, Ready::READ)));
    }

    fn a_spent_one_shot_stays_spent_through_reinit(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(EventSpec { trigger: Trigger::OneShot, ..EventSpec::fd(a, READ) });
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        s.engine.reinit().expect("a new kernel side");
        s.quiet();
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    /// The peer's end must come when the last descriptor is closed, whatever the kernel holds.
    fn destroyed_and_closed_lets_the_peer_see_the_end(s) {
        let (a, b) = s.world.stream_pair();
        let (event, peer) = (s.watch(a, READ), s.watch(b, READ));
        s.quiet();
        assert!(s.engine.destroy(event));
        s.world.close(a);
        assert_eq!(s.turn(), [(peer, Ready::READ)]);
        assert_eq!(s.world.read(b, 9), Some(vec![]));
    }
}

impl Stage {
    /// Nothing but that one is due.
    fn quiet_but(&mut self, id: duolu_core::EventId) {
        let told = self.turn_with(0, |_, _| {});
        assert!(told.iter().all(|active| active.id == id));
    }
}
