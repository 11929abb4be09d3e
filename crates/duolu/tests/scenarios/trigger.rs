//! Edge and one-shot. Where a backend has no edges, level is told instead, which is a superset.

use duolu_core::{EventId, EventSpec, Interest, RawFd, Ready, Refused, Timeout, Trigger};

const READ: Interest = Interest::READ;
const WRITE: Interest = Interest::WRITE;

fn spec(fd: RawFd, interest: Interest, trigger: Trigger) -> EventSpec {
    EventSpec { trigger, ..EventSpec::fd(fd, interest) }
}

/// Silence on backends with edges, the same again on those without.
fn once_only(s: &mut Stage, told: &[(EventId, Ready)]) {
    if s.features().edge {
        s.quiet();
    } else {
        assert_eq!(s.turn(), told);
    }
}

scenarios! {
    fn an_edge_is_told_once_and_again_on_new_bytes(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(spec(a, READ, Trigger::Edge));
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        once_only(s, &[(event, Ready::READ)]);
        s.write(b, b"y");
        assert_eq!(s.turn(), [(event, Ready::READ)], "though the first byte was never read");
    }

    fn an_edge_added_late_hears_of_what_is_there(s) {
        let (a, b) = s.world.stream_pair();
        s.write(b, b"x");
        let event = s.add_spec(spec(a, READ, Trigger::Edge));
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        once_only(s, &[(event, Ready::READ)]);
        s.del(event);
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ)], "adding asks anew");
    }

    /// Which is not pending until it is added again, and then hears of the same until it is read.
    fn an_edge_becomes_a_level(s) {
        let (a, b) = s.world.stream_pair();
        s.write(b, b"x");
        let event = s.add_spec(EventSpec { owned: true, ..spec(a, READ, Trigger::Edge) });
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        let was_edge = s.engine.watch_by_levels(event);
        assert_eq!((was_edge, s.engine.watch_by_levels(event)), (s.features().edge, false));
        if was_edge {
            s.quiet();
            s.add(event, Timeout::Keep);
        }
        for _ in 0..3 {
            assert_eq!(s.turn(), [(event, Ready::READ)]);
        }
        s.world.read(a, 10);
        s.quiet();
        s.write(b, b"y");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    fn an_owned_edge_added_again_hears_of_what_is_there(s) {
        let (a, b) = s.world.stream_pair();
        s.write(b, b"x");
        let event = s.add_spec(EventSpec { owned: true, ..spec(a, READ, Trigger::Edge) });
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        s.del(event);
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    fn two_edges_on_one_descriptor_both_hear_each_news(s) {
        let (a, b) = s.world.stream_pair();
        let one = s.add_spec(spec(a, READ, Trigger::Edge));
        let two = s.add_spec(spec(a, READ, Trigger::Edge));
        let both = [(one, Ready::READ), (two, Ready::READ)];
        s.write(b, b"x");
        assert_eq!(s.turn(), both);
        once_only(s, &both);
        s.write(b, b"y");
        assert_eq!(s.turn(), both);
    }

    /// A removal must not swallow the edge that the other one still waits for.
    fn removing_one_edge_keeps_the_others_news(s) {
        let (a, b) = s.world.stream_pair();
        let reader = s.add_spec(spec(a, READ, Trigger::Edge));
        let writer = s.add_spec(spec(a, WRITE, Trigger::Edge));
        assert_eq!(s.turn(), [(writer, Ready::WRITE)]);
        s.write(b, b"x");
        s.del(writer);
        assert_eq!(s.turn(), [(reader, Ready::READ)]);
    }

    fn a_write_edge_comes_when_there_is_room_again(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(spec(a, WRITE, Trigger::Edge));
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
        s.fill(a);
        s.settle();
        s.drain(b);
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
    }

    fn an_edge_hears_the_end(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(spec(a, READ, Trigger::Edge));
        s.quiet();
        s.world.close(b);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    fn one_shot_is_told_once_until_added_again(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(spec(a, READ, Trigger::OneShot));
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        assert!(!s.engine.is_pending(event));
        s.write(b, b"y");
        s.quiet();
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        s.quiet();
    }

    fn a_one_shot_does_not_disarm_its_neighbour(s) {
        let (a, b) = s.world.stream_pair();
        let reader = s.add_spec(spec(a, READ, Trigger::OneShot));
        let writer = s.add_spec(spec(a, WRITE, Trigger::OneShot));
        assert_eq!(s.turn(), [(writer, Ready::WRITE)]);
        s.quiet();
        s.write(b, b"x");
        assert_eq!(s.turn(), [(reader, Ready::READ)]);
        s.quiet();
        s.add(writer, Timeout::Keep);
        assert_eq!(s.turn(), [(writer, Ready::WRITE)]);
    }

    fn a_spent_one_shot_stays_spent_when_the_peer_goes(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(spec(a, READ, Trigger::OneShot));
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        s.world.close(b);
        s.quiet();
    }

    fn mixed_triggers_are_refused_and_the_first_goes_on(s) {
        if !s.features().edge {
            return; // edge is level here, which mixes with level
        }
        let (a, b) = s.world.stream_pair();
        let level = s.watch(a, READ);
        let edge = s.engine.create(spec(a, READ, Trigger::Edge)).expect("known");
        assert_eq!(s.engine.add(edge, Timeout::After(1)), Err(Refused::MixedTriggers));
        assert!(!s.engine.is_pending(edge));
        s.write(b, b"x");
        assert_eq!(s.turn(), [(level, Ready::READ)]);
        s.del(level);
        s.add(edge, Timeout::Keep);
        assert_eq!(s.turn(), [(edge, Ready::READ)]);
        s.quiet();
    }

    fn one_shot_and_level_do_not_mix_anywhere(s) {
        let (a, _b) = s.world.stream_pair();
        s.watch(a, READ);
        let one_shot = s.engine.create(spec(a, READ, Trigger::OneShot)).expect("known");
        assert_eq!(s.engine.add(one_shot, Timeout::Keep), Err(Refused::MixedTriggers));
    }

    fn a_descriptor_changes_its_trigger_when_it_is_free(s) {
        let (a, b) = s.world.stream_pair();
        s.write(b, b"x");
        for owned in [false, true] {
            for trigger in [Trigger::Edge, Trigger::Level, Trigger::OneShot, Trigger::Level] {
                let event = s.add_spec(EventSpec { owned, ..spec(a, READ, trigger) });
                assert_eq!(s.turn(), [(event, Ready::READ)], "{trigger:?}");
                match trigger {
                    Trigger::Edge => once_only(s, &[(event, Ready::READ)]),
                    Trigger::Level => assert_eq!(s.turn(), [(event, Ready::READ)]),
                    Trigger::OneShot => s.quiet(),
                }
                s.engine.del(event);
            }
        }
    }
}
