use super::*;
use crate::interest::Ready;
use alloc::vec;
use alloc::vec::Vec;

const MS: u64 = 1_000_000;

/// A number below the one that is given, from a seed that is not 0 (xorshift64).
pub(super) fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * MS)
}

fn moved(bytes: usize, then: Then) -> Moved {
    Moved { bytes, then }
}

/// The hands have read these bytes, and the socket is empty.
fn read(stream: &mut Stream, bytes: &[u8], now: Instant) {
    assert!(stream.read_budget(now) >= bytes.len(), "no more than is allowed");
    stream.input_mut().append(bytes).unwrap();
    stream.handle_read(moved(bytes.len(), Then::Blocked), now);
}

fn end(stream: &mut Stream) {
    stream.handle_read(moved(0, Then::End), Instant::ZERO);
}

/// The hands write; the kernel takes up to `room`.
fn write(stream: &mut Stream, room: usize, now: Instant) {
    let asked = stream.write_budget(now).min(stream.output().len());
    let taken = asked.min(room);
    stream.output_mut().drain(taken).unwrap();
    stream.handle_write(moved(taken, if taken < asked { Then::Blocked } else { Then::More }), now);
    stream.settle(now);
}

fn events(stream: &mut Stream) -> Vec<StreamEvent> {
    stream.verify();
    core::iter::from_fn(|| stream.next_event()).collect()
}

fn actions(stream: &mut Stream) -> Vec<Action> {
    let mut all = Vec::new();
    while let Some(action) = stream.next_action() {
        all.push(action);
        if action == Action::Close {
            break;
        }
    }
    all
}

const RESET: Errno = Errno(104);
const PIPE: Errno = Errno(32);

#[test]
fn reads_are_told_once_and_the_end_comes_last() {
    let mut stream = Stream::new();
    assert_eq!((stream.wants(), stream.next_event()), (Interest::READ, None));
    read(&mut stream, b"abc", Instant::ZERO);
    assert_eq!(events(&mut stream), [StreamEvent::Read]);
    read(&mut stream, b"d", Instant::ZERO);
    end(&mut stream);
    assert_eq!(events(&mut stream), [StreamEvent::Read, StreamEvent::Eof]);
    assert_eq!(actions(&mut stream), [Action::ShutdownWrite, Action::Close]);
    assert_eq!(stream.input().len(), 4, "still there to be taken");
}

#[test]
fn below_the_low_mark_nothing_is_told_until_the_end() {
    let mut stream = Stream::new();
    stream.set_input_marks(4, 8);
    read(&mut stream, b"abc", Instant::ZERO);
    assert_eq!(events(&mut stream), []);
    end(&mut stream);
    assert_eq!(events(&mut stream), [StreamEvent::Read, StreamEvent::Eof]);
}

#[test]
fn at_the_high_mark_reading_rests_until_some_is_taken() {
    let mut stream = Stream::new();
    stream.set_input_marks(0, 8);
    assert_eq!(stream.read_budget(Instant::ZERO), 8);
    read(&mut stream, b"12345678", Instant::ZERO);
    stream.settle(Instant::ZERO);
    assert_eq!((stream.wants(), stream.read_budget(Instant::ZERO)), (Interest::NONE, 0));
    stream.input_mut().drain(3).unwrap();
    stream.settle(Instant::ZERO);
    assert_eq!((stream.wants(), stream.read_budget(Instant::ZERO)), (Interest::READ, 3));
}

#[test]
fn an_output_that_grows_keeps_reading_still() {
    let mut stream = Stream::new();
    stream.output_mut().append(&vec![0; 300 * 1024]).unwrap();
    write(&mut stream, 10, Instant::ZERO);
    assert_eq!(stream.wants(), Interest::WRITE, "more than 256 KiB wait");
    stream.handle_writable();
    write(&mut stream, 100 * 1024, Instant::ZERO);
    assert_eq!(stream.wants(), Interest::WRITE, "more than half of that");
    stream.handle_writable();
    write(&mut stream, 100 * 1024, Instant::ZERO);
    assert_eq!(stream.wants(), Interest::READ | Interest::WRITE);
}

#[test]
fn writing_is_asked_for_only_when_the_kernel_took_less() {
    let mut stream = Stream::new();
    stream.output_mut().append(b"abcdef").unwrap();
    assert_eq!((stream.wants(), stream.write_budget(Instant::ZERO) > 6), (Interest::READ, true));
    write(&mut stream, 4, Instant::ZERO);
    assert_eq!((stream.wants(), stream.write_budget(Instant::ZERO)), (Interest::READ | Interest::WRITE, 0));
    assert_eq!(events(&mut stream), []);
    stream.handle_writable();
    write(&mut stream, 4, Instant::ZERO);
    assert_eq!(stream.wants(), Interest::READ);
    assert_eq!(events(&mut stream), [StreamEvent::Written]);
}

#[test]
fn a_reset_ends_both_ways_with_one_event() {
    let mut stream = Stream::new();
    stream.output_mut().append(b"unsent").unwrap();
    stream.input_mut().append(b"x").unwrap();
    stream.handle_read(moved(1, Then::More), Instant::ZERO);
    stream.handle_read(moved(0, Then::Failed(RESET)), Instant::ZERO);
    assert!(!stream.is_writable() && stream.next_action().is_none(), "not before it is told");
    assert_eq!(events(&mut stream), [StreamEvent::Read, StreamEvent::Error(Direction::Read, RESET)]);
    assert_eq!(actions(&mut stream), [Action::Close]);
}

#[test]
fn a_failed_write_is_told_after_what_can_still_be_read() {
    for last in [Then::Blocked, Then::End, Then::Failed(RESET)] {
        let mut stream = Stream::new();
        stream.output_mut().append(b"unsent").unwrap();
        stream.handle_write(moved(0, Then::Failed(PIPE)), Instant::ZERO);
        assert!(stream.must_read() && stream.next_event().is_none() && stream.next_action().is_none());
        stream.input_mut().append(b"last").unwrap();
        stream.handle_read(moved(4, Then::More), Instant::ZERO);
        assert!(stream.must_read());
        stream.handle_read(moved(0, last), Instant::ZERO);
        assert!(!stream.must_read());
        // A peer that had said all and only takes no more has ended in good order before that.
        let end = (last == Then::End).then_some(StreamEvent::Eof);
        let all: Vec<_> = [Some(StreamEvent::Read), end, Some(StreamEvent::Error(Direction::Write, PIPE))]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(events(&mut stream), all);
        assert_eq!(actions(&mut stream), [Action::Close]);
    }
}

#[test]
fn a_failed_write_does_not_wait_for_ever() {
    let mut stream = Stream::new();
    stream.handle_write(moved(0, Then::Failed(PIPE)), Instant::ZERO);
    let mut reads = 0;
    while stream.must_read() {
        stream.handle_read(moved(0, Then::More), Instant::ZERO);
        reads += 1;
    }
    assert!(reads <= 16, "a peer that never stops");
    assert_eq!(events(&mut stream), [StreamEvent::Error(Direction::Write, PIPE)]);
    // Where reading rests nothing is waited for: nobody wants the bytes.
    let mut stream = Stream::new();
    stream.pause(Direction::Read, pause::USER);
    stream.handle_write(moved(0, Then::Failed(PIPE)), Instant::ZERO);
    assert_eq!(events(&mut stream), [StreamEvent::Error(Direction::Write, PIPE)]);
}

#[test]
fn half_open_goes_on_until_finished() {
    let mut stream = Stream::new();
    stream.allow_half_open(true);
    end(&mut stream);
    assert_eq!(events(&mut stream), [StreamEvent::Eof]);
    assert_eq!((actions(&mut stream), stream.wants()), (vec![], Interest::NONE));
    stream.output_mut().append(b"answer").unwrap();
    stream.finish();
    assert_eq!(actions(&mut stream), [], "not before it is sent");
    write(&mut stream, 100, Instant::ZERO);
    assert_eq!(events(&mut stream), [StreamEvent::Written]);
    assert_eq!(actions(&mut stream), [Action::ShutdownWrite, Action::Close]);
}

#[test]
fn finishing_leaves_the_other_way_open() {
    let mut stream = Stream::new();
    stream.output_mut().append(b"request").unwrap();
    stream.finish();
    assert!(!stream.is_writable());
    write(&mut stream, 100, Instant::ZERO);
    assert_eq!(events(&mut stream), [StreamEvent::Written]);
    assert_eq!((actions(&mut stream), stream.wants()), (vec![Action::ShutdownWrite], Interest::READ));
    read(&mut stream, b"reply", Instant::ZERO);
    end(&mut stream);
    assert_eq!(events(&mut stream), [StreamEvent::Read, StreamEvent::Eof]);
    assert_eq!(actions(&mut stream), [Action::Close]);
}

#[test]
fn closing_sends_the_rest_drops_what_comes_and_tells_nothing() {
    let mut stream = Stream::new();
    stream.pause(Direction::Read, pause::USER);
    stream.output_mut().append(b"the rest").unwrap();
    stream.close(100 * MS);
    stream.settle(at(0));
    write(&mut stream, 3, at(50));
    assert_eq!(
        (actions(&mut stream), stream.deadline()),
        (vec![], Some(at(150))),
        "counted from the last byte"
    );
    stream.handle_writable();
    write(&mut stream, 100, at(60));
    assert_eq!(actions(&mut stream), [Action::ShutdownWrite]);
    read(&mut stream, b"too late", at(70));
    let mut pool = Pool::new(4096, 1);
    stream.tidy(&mut pool);
    assert_eq!((stream.input().len(), stream.deadline()), (0, Some(at(160))), "reading does not put it off");
    end(&mut stream);
    assert_eq!((events(&mut stream), actions(&mut stream)), (vec![], vec![Action::Close]));
    // And a peer that never answers.
    let mut stream = Stream::new();
    stream.close(100 * MS);
    stream.settle(at(0));
    assert_eq!(actions(&mut stream), [Action::ShutdownWrite]);
    stream.handle_time(at(100));
    assert_eq!((events(&mut stream), actions(&mut stream)), (vec![], vec![Action::Close]));
}

#[test]
fn timeouts_count_only_while_something_is_waited_for() {
    let mut stream = Stream::new();
    stream.set_timeout(Direction::Read, Some(10 * MS));
    stream.set_timeout(Direction::Write, Some(20 * MS));
    stream.settle(at(0));
    assert_eq!(stream.deadline(), Some(at(10)), "nothing to write");
    read(&mut stream, b"x", at(7));
    stream.handle_time(at(10));
    assert_eq!((events(&mut stream), stream.deadline()), (vec![StreamEvent::Read], Some(at(17))));
    stream.pause(Direction::Read, pause::USER);
    stream.settle(at(12));
    assert_eq!(stream.deadline(), None);
    stream.resume(Direction::Read, pause::USER);
    stream.settle(at(30));
    assert_eq!(stream.deadline(), Some(at(40)), "it counts anew");
    stream.output_mut().append(b"slow").unwrap();
    write(&mut stream, 0, at(31));
    read(&mut stream, b"y", at(39));
    stream.handle_time(at(51));
    use StreamEvent::{Read, Timeout};
    let told = events(&mut stream);
    assert_eq!(told, [Read, Timeout(Direction::Read), Timeout(Direction::Write)]);
    assert_eq!(actions(&mut stream), [Action::Close]);
}

#[test]
fn a_timeout_of_one_way_is_not_forgiven_by_enabling_the_other() {
    let mut stream = Stream::new();
    for direction in [Direction::Read, Direction::Write] {
        stream.set_timeout(direction, Some(10 * MS));
    }
    stream.output_mut().append(b"never taken").unwrap();
    write(&mut stream, 0, at(0));
    stream.handle_time(at(10));
    use StreamEvent::Timeout;
    assert_eq!(events(&mut stream), [Timeout(Direction::Read), Timeout(Direction::Write)]);
    stream.resume(Direction::Write, pause::DISABLED);
    assert_eq!(actions(&mut stream), [Action::Close]);
}

#[test]
fn after_a_timeout_it_may_go_on_or_end_in_good_order() {
    let mut stream = Stream::new();
    stream.set_timeout(Direction::Read, Some(10 * MS));
    stream.settle(at(0));
    stream.handle_time(at(10));
    assert_eq!(events(&mut stream), [StreamEvent::Timeout(Direction::Read)]);
    stream.resume(Direction::Read, pause::DISABLED);
    stream.settle(at(10));
    assert_eq!((actions(&mut stream), stream.deadline()), (vec![], Some(at(20))));
    stream.handle_time(at(20));
    assert_eq!(events(&mut stream), [StreamEvent::Timeout(Direction::Read)]);
    stream.output_mut().append(b"408").unwrap();
    stream.finish();
    stream.settle(at(20));
    assert_eq!(actions(&mut stream), []);
    write(&mut stream, 3, at(21));
    assert_eq!((events(&mut stream), actions(&mut stream)), (vec![], vec![Action::ShutdownWrite]));
    assert_eq!(stream.wants(), Interest::READ, "waiting for the peer's end");
}

#[test]
fn a_rate_limit_lets_go_by_the_time() {
    let mut stream = Stream::new();
    stream.set_rate(Direction::Read, Some(Rate { bytes_per_second: 1000, burst: 5 }.into()));
    stream.settle(at(0));
    assert_eq!(stream.read_budget(at(0)), 5);
    read(&mut stream, b"12345", at(0));
    stream.settle(at(0));
    assert_eq!((stream.wants(), stream.deadline()), (Interest::NONE, Some(at(5))));
    stream.handle_time(at(5));
    assert_eq!((stream.wants(), stream.read_budget(at(5))), (Interest::READ, 5));
}

#[test]
fn a_limit_that_changes_while_dry_neither_forgives_nor_stops() {
    let mut stream = Stream::new();
    let slow = Rate { bytes_per_second: 10, burst: 5 };
    stream.set_rate(Direction::Read, Some(slow.into()));
    read(&mut stream, b"12345", at(0));
    stream.set_rate(Direction::Read, Some(slow.into()));
    stream.settle(at(0));
    assert_eq!((stream.read_budget(at(0)), stream.next_timer()), (0, Some(at(100))), "still dry");
    stream.set_rate(Direction::Read, Some(Rate { bytes_per_second: 1000, burst: 5 }.into()));
    stream.settle(at(0));
    assert_eq!(stream.next_timer(), Some(at(5)), "sooner than the timer that is set");
    stream.set_rate(Direction::Read, None);
    stream.settle(at(1));
    assert_eq!((stream.wants(), stream.rate_left(Direction::Read, at(1))), (Interest::READ, None));
    stream.set_rate(Direction::Read, Some(slow.into()));
    stream.charge(Direction::Read, 8);
    assert_eq!(stream.rate_left(Direction::Read, at(1)), Some(-3));
    stream.charge(Direction::Read, -4);
    assert_eq!(stream.rate_left(Direction::Read, at(1)), Some(1));
}

#[test]
fn a_call_moves_no_more_than_it_may() {
    let mut stream = Stream::new();
    stream.set_most_at_once(Direction::Read, 100);
    stream.set_most_at_once(Direction::Write, 7);
    stream.output_mut().append(&[0; 50]).unwrap();
    assert_eq!((stream.read_budget(at(0)), stream.write_budget(at(0))), (100, 7));
    stream.set_most_at_once(Direction::Read, 0);
    stream.set_most_at_once(Direction::Write, 0);
    assert_eq!((stream.read_budget(at(0)), stream.write_budget(at(0))), (32 * 1024, 50));
}

#[test]
fn a_limit_does_not_lose_what_a_failed_write_leaves_to_be_read() {
    let mut stream = Stream::new();
    stream.set_rate(Direction::Read, Some(Rate { bytes_per_second: 1, burst: 1 }.into()));
    read(&mut stream, b"x", at(0));
    stream.settle(at(0));
    assert_eq!((events(&mut stream), stream.wants()), (vec![StreamEvent::Read], Interest::NONE));
    stream.output_mut().append(b"unsent").unwrap();
    stream.handle_write(moved(0, Then::Failed(PIPE)), at(0));
    stream.settle(at(0));
    assert!(stream.must_read() && stream.read_budget(at(0)) > 1000);
    read(&mut stream, &[1; 1000], at(0));
    assert_eq!(events(&mut stream), [StreamEvent::Read, StreamEvent::Error(Direction::Write, PIPE)]);
}

#[test]
fn a_connection_stands_or_is_refused() {
    let mut stream = Stream::connecting();
    stream.set_timeout(Direction::Write, Some(10 * MS));
    stream.settle(at(0));
    assert_eq!((stream.wants(), stream.deadline()), (Interest::WRITE, Some(at(10))));
    stream.output_mut().append(b"early").unwrap();
    assert_eq!((stream.is_writable(), stream.write_budget(at(0))), (true, 0));
    stream.finish();
    stream.handle_connected(Ok(()));
    assert_eq!(events(&mut stream), [StreamEvent::Connected]);
    write(&mut stream, 100, at(1));
    assert_eq!(events(&mut stream), [StreamEvent::Written]);
    assert_eq!(actions(&mut stream), [Action::ShutdownWrite]);
    let mut stream = Stream::connecting();
    stream.handle_connected(Err(Errno(111)));
    assert_eq!(events(&mut stream), [StreamEvent::Error(Direction::Write, Errno(111))]);
    assert_eq!(actions(&mut stream), [Action::Close]);
    let mut stream = Stream::connecting();
    stream.set_timeout(Direction::Write, Some(10 * MS));
    stream.settle(at(0));
    stream.handle_time(at(10));
    assert_eq!(events(&mut stream), [StreamEvent::Timeout(Direction::Write)]);
    assert_eq!(actions(&mut stream), [Action::Close]);
}

#[test]
fn streams_that_fill_their_reads_get_longer_ones() {
    let mut stream = Stream::new();
    let now = Instant::ZERO;
    for expected in [32, 64, 64] {
        assert_eq!(stream.read_budget(now), expected * 1024);
        stream.handle_read(moved(expected * 1024, Then::More), now);
    }
    for expected in [64, 32, 32] {
        assert_eq!(stream.read_budget(now), expected * 1024);
        stream.handle_read(moved(10, Then::Blocked), now);
    }
}

#[test]
fn by_hand_only_what_makes_sense_is_told() {
    let mut stream = Stream::new();
    stream.trigger(Direction::Read, true);
    assert_eq!(events(&mut stream), [], "there is nothing to read");
    stream.trigger(Direction::Write, false);
    assert_eq!(events(&mut stream), [StreamEvent::Written]);
    stream.set_input_marks(10, 20);
    stream.set_output_marks(0, 20);
    read(&mut stream, b"below", Instant::ZERO);
    stream.output_mut().append(b"above").unwrap();
    for direction in [Direction::Read, Direction::Write] {
        stream.trigger(direction, false);
        assert_eq!(events(&mut stream), [], "the marks do not have it told");
    }
    stream.trigger(Direction::Read, true);
    stream.trigger(Direction::Write, true);
    assert_eq!(events(&mut stream), [StreamEvent::Read, StreamEvent::Written]);
    stream.handle_read(moved(0, Then::Failed(RESET)), Instant::ZERO);
    events(&mut stream);
    stream.trigger(Direction::Write, true);
    assert_eq!(events(&mut stream), [], "nothing after the end");
}

#[test]
fn an_idle_stream_is_small() {
    assert!(size_of::<Stream>() <= 240, "{} bytes", size_of::<Stream>());
}

#[test]
fn a_reset_is_all_that_is_done_and_tells_nothing() {
    let mut stream = Stream::new();
    read(&mut stream, b"untold", Instant::ZERO);
    stream.output_mut().append(b"unsent").unwrap();
    stream.reset();
    stream.settle(Instant::ZERO);
    assert_eq!((stream.write_budget(Instant::ZERO), stream.is_writable()), (0, false));
    assert_eq!(events(&mut stream), []);
    assert_eq!(stream.next_action(), Some(Action::Reset));
    let mut connecting = Stream::connecting();
    connecting.reset();
    assert_eq!((connecting.next_event(), connecting.next_action()), (None, Some(Action::Reset)));
    let mut told = Stream::new();
    end(&mut told);
    assert_eq!(events(&mut told), [StreamEvent::Eof]);
    told.reset();
    assert_eq!(
        told.next_action(),
        Some(Action::Reset),
        "and not the end, which would look like a whole answer"
    );
}

/// Hands that complete say WRITE when a send is decided: asked for always, so that a message changes nothing.
#[test]
fn carried_it_asks_for_both_as_long_as_it_asks_for_anything() {
    let mut stream = Stream::new();
    stream.set_carried();
    assert_eq!(stream.next_interest(), Some((Interest::NONE, Interest::READ | Interest::WRITE)));
    stream.output_mut().append(b"on its way").unwrap();
    stream.handle_write(moved(0, Then::Blocked), at(0));
    assert_eq!(stream.write_budget(at(0)), 0, "one send at a time");
    assert_eq!(stream.next_interest(), None);
    stream.handle_writable();
    write(&mut stream, 100, at(0));
    assert_eq!((events(&mut stream), stream.next_interest()), (vec![StreamEvent::Written], None));
    stream.pause(Direction::Read, pause::USER);
    assert_eq!(stream.wants(), Interest::NONE, "it does not keep the loop running");
    stream.output_mut().append(b"more").unwrap();
    stream.handle_write(moved(0, Then::Blocked), at(0));
    assert_eq!(stream.wants(), Interest::WRITE);
}

fn by_edges() -> Stream {
    let mut stream = Stream::new();
    stream.set_edges();
    stream
}

/// What the kernel told, and what the read that follows came to.
fn told_and_read(stream: &mut Stream, ready: Ready, outcome: Moved) {
    stream.handle_ready(ready);
    stream.input_mut().append(&vec![0; outcome.bytes]).unwrap();
    stream.handle_read(outcome, Instant::ZERO);
    stream.verify();
}

#[test]
fn an_edge_is_remembered_until_the_socket_is_empty() {
    let mut stream = by_edges();
    assert!(!stream.reads_on());
    told_and_read(&mut stream, Ready::READ, moved(9, Then::More));
    assert!(stream.reads_on(), "a read that was filled may have left something");
    told_and_read(&mut stream, Ready::READ, moved(9, Then::Blocked));
    assert!(!stream.reads_on(), "a short one has not");
    told_and_read(&mut stream, Ready::READ, moved(9, Then::More));
    told_and_read(&mut stream, Ready::READ, moved(0, Then::Blocked));
    assert!(!stream.reads_on());
}

#[test]
fn a_short_read_is_mistrusted_where_the_report_says_why() {
    for reason in [Ready::PEER_CLOSED, Ready::URGENT, Ready::HANGUP, Ready::ERROR, Ready::INVALID] {
        let mut stream = by_edges();
        told_and_read(&mut stream, Ready::READ | reason, moved(9, Then::Blocked));
        assert!(stream.reads_on(), "{reason:?}");
        told_and_read(&mut stream, Ready::READ, moved(9, Then::Blocked));
        assert!(stream.reads_on(), "{reason:?}: until nothing is there");
        told_and_read(&mut stream, Ready::READ, moved(0, Then::Blocked));
        assert!(!stream.reads_on(), "{reason:?}");
        told_and_read(&mut stream, Ready::READ, moved(9, Then::Blocked));
        assert!(!stream.reads_on(), "{reason:?} is over");
        told_and_read(&mut stream, Ready::READ | reason, moved(9, Then::Blocked));
        told_and_read(&mut stream, Ready::READ, moved(0, Then::End));
        assert!(!stream.reads_on(), "{reason:?}: or the end is met");
    }
}

#[test]
fn what_is_told_to_one_that_rests_counts_when_it_goes_on() {
    let mut stream = by_edges();
    stream.pause(Direction::Read, pause::USER);
    assert_eq!(stream.read_budget(Instant::ZERO), 0);
    stream.handle_ready(Ready::READ);
    assert!(!stream.reads_on());
    stream.resume(Direction::Read, pause::USER);
    assert!(stream.reads_on());
    stream.verify();
}

#[test]
fn by_edges_the_kernel_is_asked_for_what_a_short_read_cannot_tell() {
    let mut stream = by_edges();
    let beside = Interest::PEER_CLOSED | Interest::URGENT;
    assert_eq!(stream.next_interest(), Some((Interest::NONE, Interest::READ | beside)));
    assert_eq!(stream.next_interest(), None);
    stream.pause(Direction::Read, pause::USER);
    assert_eq!(stream.next_interest(), Some((Interest::READ | beside, Interest::NONE)));
}

#[test]
fn by_level_nothing_is_remembered() {
    let mut stream = Stream::new();
    told_and_read(&mut stream, Ready::READ | Ready::PEER_CLOSED, moved(9, Then::More));
    assert!(!stream.reads_on());
    assert_eq!(stream.wants(), Interest::READ);
}

#[test]
fn at_rest_is_only_who_has_nothing_to_do() {
    for mut stream in [Stream::new(), by_edges()] {
        assert!(!stream.is_at_rest(), "the kernel is to be asked");
        stream.next_interest();
        assert!(stream.is_at_rest());
        stream.verify();
        read(&mut stream, b"x", Instant::ZERO);
        assert!(!stream.is_at_rest(), "to be told");
        assert_eq!(events(&mut stream), [StreamEvent::Read]);
        assert!(!stream.is_at_rest(), "not taken");
        let (input, output) = stream.both();
        output.append_buffer(input).unwrap();
        assert!(!stream.is_at_rest(), "to be sent");
        write(&mut stream, 0, Instant::ZERO);
        assert!(!stream.is_at_rest(), "the kernel is to say when it takes more");
        stream.handle_writable();
        write(&mut stream, 1, Instant::ZERO);
        assert_eq!(events(&mut stream), [StreamEvent::Written]);
        assert!(stream.is_at_rest());
        stream.verify();
    }
    let disturbances: [fn(&mut Stream); 8] = [
        |stream| stream.finish(),
        |stream| stream.close(0),
        |stream| stream.reset(),
        |stream| stream.pause(Direction::Read, pause::USER),
        |stream| stream.set_timeout(Direction::Read, Some(MS)),
        |stream| stream.set_carried(),
        |stream| stream.handle_layers(LayerState::NONE),
        |stream| end(stream),
    ];
    for disturb in disturbances {
        let mut stream = Stream::new();
        stream.next_interest();
        disturb(&mut stream);
        assert!(!stream.is_at_rest());
    }
}
