//! Two sockets joined: every byte, in order, both ways, and one end told.

use crate::stage::{Log, Socket, World, pattern};
use duolu::buffer::{Buffer, Eol, Pool};
use duolu::stream::Transport;
use duolu::{Context, Direction, Error, EventId, Rate, Side, SpliceEnd, SpliceOptions, Spliced};
use duolu::{StreamEvent, StreamOptions, Totals};
use duolu_core::stream::Moved;
use duolu_core::{Errno, RawFd};
use duolu_sys::calls::Epoll;
use duolu_sys::socket::{set_recv_buffer, set_send_buffer};
use std::cell::RefCell;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

type Told = Rc<RefCell<Vec<Spliced>>>;

fn tell(told: &Told) -> impl FnOnce(&mut Context<Log>, Spliced) + use<> {
    let told = Rc::clone(told);
    move |_, report| told.borrow_mut().push(report)
}

/// Two joined sockets and their peers.
struct Pair {
    id: EventId,
    first: Socket,
    second: Socket,
    told: Told,
}

fn joined(s: &mut Stage, options: SpliceOptions) -> Pair {
    let ((one, first), (two, second), told) = (s.pair(), s.pair(), Told::default());
    let id = s.event_loop.splice(one, two, options, tell(&told)).expect("two sockets");
    Pair { id, first, second, told }
}

impl Pair {
    fn end(&self, s: &mut Stage) -> Spliced {
        s.until("the end", |_| !self.told.borrow().is_empty());
        assert!(s.gone(self.id));
        (0..4).for_each(|_| s.turn());
        let told = self.told.borrow();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0]
    }

    /// Both peers send at once, take what comes, end, and meet the other's end.
    fn exchange(&mut self, s: &mut Stage, forward: &[u8], backward: &[u8]) {
        let (first, second) = (&mut self.first, &mut self.second);
        let (mut at, mut got) = ([0; 2], [Vec::new(), Vec::new()]);
        let (mut finished, mut ended) = ([false; 2], [false; 2]);
        s.until("both ways", |_| {
            for (way, peer) in [(0, &mut *first), (1, &mut *second)] {
                let bytes = [forward, backward][way];
                if at[way] < bytes.len() {
                    at[way] += peer.send(&bytes[at[way]..]);
                } else if !finished[way] {
                    peer.finish();
                    finished[way] = true;
                }
                while let Some(bytes) = if ended[way] { None } else { peer.receive() } {
                    ended[way] = bytes.is_empty();
                    got[way].extend(bytes);
                }
            }
            ended == [true; 2]
        });
        assert!(got[0] == backward && got[1] == forward, "{} and {} bytes", got[0].len(), got[1].len());
    }
}

/// One peer sends, the other takes, both at once: what is on its way is bounded.
fn pass(s: &mut Stage, from: &mut Socket, to: &mut Socket, bytes: &[u8]) {
    let (mut at, mut got) = (0, Vec::new());
    s.until("all of it", |_| {
        if at < bytes.len() {
            at += from.send(&bytes[at..]);
        }
        while let Some(part) = if got.len() < bytes.len() { to.receive() } else { None } {
            assert!(!part.is_empty(), "the end after {} bytes", got.len());
            got.extend(part);
        }
        got.len() == bytes.len()
    });
    assert!(got == bytes);
}

/// The kernel doubles it.
const SMALL: usize = 8 * 1024;

fn make_small(socket: &Socket) {
    match socket {
        Socket::Tcp(socket) => set_recv_buffer(socket, SMALL).and_then(|()| set_send_buffer(socket, SMALL)),
        Socket::Unix(socket) => set_recv_buffer(socket, SMALL).and_then(|()| set_send_buffer(socket, SMALL)),
        Socket::Sim(_) | Socket::Memory(_) => Ok(()),
    }
    .expect("a socket");
}

fn is_real(s: &Stage) -> bool {
    !matches!(s.world, World::Sim(_) | World::Memory)
}

/// Whether io_uring moves the bytes of streams by itself.
fn is_carried(s: &Stage) -> bool {
    matches!(s.world, World::TcpCompletions | World::UnixCompletions)
}

/// A stream that keeps what it reads.
fn silent(s: &mut Stage, mark: u32) -> (EventId, Socket) {
    s.stream(mark, StreamOptions::new().allow_half_open(), |_, _, _| {})
}

scenarios! {
    fn every_byte_both_ways_and_one_end(s) {
        for (forward, backward) in [(10, 0), (1, 500_000), (3_000_000, 1_000_000)] {
            let mut pair = joined(s, SpliceOptions::new());
            pair.exchange(s, &pattern(forward), &pattern(backward));
            let report = pair.end(s);
            let expected = (SpliceEnd::Finished, forward as u64, backward as u64);
            assert_eq!((report.end, report.forward, report.backward), expected);
            if is_real(s) && forward > 1_000_000 {
                assert!(report.unseen > 500_000 && report.refused.is_none(), "{report:?}");
            }
        }
    }

    fn a_message_and_its_answer(s) {
        let mut pair = joined(s, SpliceOptions::new());
        for bytes in [1, 64, 20_000, 3] {
            pass(s, &mut pair.first, &mut pair.second, &pattern(bytes));
            pass(s, &mut pair.second, &mut pair.first, &pattern(bytes));
        }
        assert!(pair.told.borrow().is_empty());
    }

    fn half_closed_it_goes_on_the_other_way(s) {
        let mut pair = joined(s, SpliceOptions::new());
        s.send_all(&mut pair.first, b"request");
        pair.first.finish();
        assert_eq!(s.collect(&mut pair.second, usize::MAX), b"request", "and the end behind it");
        (0..4).for_each(|_| s.turn());
        pass(s, &mut pair.second, &mut pair.first, &pattern(100_000));
        pair.second.finish();
        s.end_of(&mut pair.first);
        let report = pair.end(s);
        assert_eq!((report.end, report.forward, report.backward), (SpliceEnd::Finished, 7, 100_000));
    }

    fn small_buffers_and_a_reader_of_one_byte(s) {
        let ((one, mut first), (two, second), told) = (s.pair(), s.pair(), Told::default());
        [&one, &first, &two, &second].into_iter().for_each(make_small);
        s.event_loop.splice(one, two, SpliceOptions::new(), tell(&told)).expect("two sockets");
        let mut second = second;
        let sent = pattern(100_000);
        let (mut at, mut got, mut ended) = (0, Vec::new(), false);
        s.until("all of it", |_| {
            if at < sent.len() {
                at += first.send(&sent[at..]);
            } else if !ended {
                first.finish();
                ended = true;
            }
            for _ in 0..2_000 {
                match second.receive_up_to(if got.len() % 1_000 < 900 { 1 } else { 20_000 }) {
                    None => return false,
                    Some(Ok(bytes)) if bytes.is_empty() => return true,
                    Some(bytes) => got.extend(bytes.expect("no reset")),
                }
            }
            false
        });
        assert!(got == sent, "{} bytes", got.len());
        second.finish();
        s.until("the end", |_| !told.borrow().is_empty());
        assert_eq!(told.borrow()[0].forward, 100_000);
    }

    /// The sender feels a receiver that rests, and nothing is lost by it.
    fn a_receiver_that_rests_holds_the_sender(s) {
        let mut pair = joined(s, SpliceOptions::new());
        let sent = pattern(if is_real(s) { 30_000_000 } else { 200_000 });
        let (mut at, mut still) = (0, 0);
        s.until("it holds", |_| {
            let took = pair.first.send(&sent[at..]);
            (at, still) = (at + took, if took == 0 { still + 1 } else { 0 });
            still > 10
        });
        assert!(at < sent.len(), "the buffers of four sockets and a pipe hold less");
        let mut got = Vec::new();
        s.until("all of it", |_| {
            if at < sent.len() {
                at += pair.first.send(&sent[at..]);
            }
            while let Some(bytes) = pair.second.receive() {
                got.extend(bytes);
            }
            got.len() == sent.len()
        });
        assert!(got == sent);
    }

    fn a_side_that_breaks_is_told_and_the_other_is_cut(s) {
        if matches!(s.world, World::Unix(_) | World::UnixCompletions) {
            return; // there is no reset between Unix sockets
        }
        let pair = joined(s, SpliceOptions::new());
        let Pair { id, mut first, mut second, told } = pair;
        s.send_all(&mut first, b"the last");
        assert_eq!(s.collect(&mut second, 8), b"the last");
        first.reset();
        s.until("the end", |_| !told.borrow().is_empty());
        assert!(s.gone(id));
        let report = told.borrow()[0];
        assert!(matches!(report.end, SpliceEnd::Failed(Side::First, Direction::Read, Errno(104))), "{report:?}");
        assert_eq!((report.forward, report.backward), (8, 0));
        // A part is not taken for the whole.
        s.until("the cut", |_| second.receive_or_fail().is_some_and(|got| got.expect_err("no end").raw_os_error() == Some(104)));
    }

    fn silence_ends_it_where_it_is_to(s) {
        let mut pair = joined(s, SpliceOptions::new().idle_timeout(Duration::from_millis(300)));
        let began = s.event_loop.now();
        for _ in 0..3 {
            (0..4).for_each(|_| s.turn());
            s.send_all(&mut pair.second, b"x");
        }
        let report = pair.end(s);
        let took_ns = s.event_loop.now().saturating_nanos_since(began);
        assert!(report.end == SpliceEnd::Idle && took_ns >= 300_000_000, "{report:?}, {took_ns}");
        assert_eq!(report.backward, 3);
        s.until("closed", |_| pair.second.receive().is_some());
    }

    fn its_rate_and_its_groups_hold(s) {
        let group = s.event_loop.rate_group(None, Some(Rate { bytes_per_second: 100_000, burst: 1_000 }));
        let rate = Rate { bytes_per_second: 100_000, burst: 1_000 };
        let options = SpliceOptions::new().rate(Direction::Read, rate).group(&group);
        let mut pair = joined(s, options);
        let before = s.event_loop.now();
        pair.exchange(s, &pattern(6_000), &pattern(6_000));
        s.turn();
        let took_ns = s.event_loop.now().saturating_nanos_since(before);
        assert!(took_ns >= 49_000_000, "5,000 bytes at 100,000 a second in {took_ns} ns");
        assert_eq!(pair.end(s).end, SpliceEnd::Finished);
        assert_eq!((group.totals(), group.members()), (Totals { read: 6_000, written: 6_000 }, 0));
    }

    fn removed_it_tells_nothing_and_closes_both(s) {
        let mut pair = joined(s, SpliceOptions::new());
        s.send_all(&mut pair.first, b"x");
        s.collect(&mut pair.second, 1);
        let id = pair.id;
        s.event_loop.after(Duration::from_millis(1), move |ctx| assert!(ctx.remove(id)));
        s.end_of(&mut pair.first);
        s.end_of(&mut pair.second);
        assert!(s.gone(id) && pair.told.borrow().is_empty());
    }

    /// A header is looked at, and then nothing any more.
    fn streams_are_joined_after_their_first_bytes(s) {
        if is_carried(s) {
            return;
        }
        let told = Told::default();
        let (upstream, mut server) = silent(s, 2);
        s.event_loop.with_stream(upstream, |_, stream| stream.write_all(b"hello, server. ").expect("open"));
        let report = Rc::clone(&told);
        let options = StreamOptions::new().allow_half_open().read_timeout(Duration::from_secs(60));
        let (client_id, mut client) = s.stream(1, options, move |ctx, stream, event| {
            if event == StreamEvent::Read && let Some(line) = stream.read_line(Eol::CrLf) {
                assert_eq!(line, b"PROXY");
                stream.write_all(b"welcome. ").expect("open");
                stream.suspend(Direction::Read);
                ctx.splice_streams(stream.id(), upstream, SpliceOptions::new(), tell(&report));
            }
        });
        s.send_all(&mut client, b"PROXY\r\nand the rest");
        assert_eq!(s.collect(&mut server, 27), b"hello, server. and the rest");
        s.send_all(&mut server, b"the answer");
        assert_eq!(s.collect(&mut client, 19), b"welcome. the answer");
        let long = pattern(1_000_000);
        s.event_loop.data().clear();
        let mut pair = Pair { id: client_id, first: client, second: server, told };
        pair.exchange(s, &long, &long);
        let report = pair.end(s);
        // The streams have sent their greetings themselves.
        assert_eq!((report.end, report.forward, report.backward), (SpliceEnd::Finished, 1_000_012, 1_000_010));
        assert!(s.gone(upstream) && s.event_loop.data().is_empty(), "nothing is told any more");
    }

    /// An end that was met before is passed on behind what came before it; either id removes both.
    fn streams_that_were_ended_and_removed(s) {
        if is_carried(s) {
            return;
        }
        let told = Told::default();
        let ((one, mut first), (two, mut second)) = (silent(s, 1), silent(s, 2));
        s.send_all(&mut first, b"short");
        first.finish();
        s.until("its end", |s| s.told(1) == [StreamEvent::Eof]);
        s.event_loop.splice_streams(one, two, SpliceOptions::new(), tell(&told));
        assert_eq!(s.collect(&mut second, usize::MAX), b"short", "and its end");
        s.send_all(&mut second, b"answer");
        assert_eq!(s.collect(&mut first, 6), b"answer");
        s.event_loop.remove(two);
        s.end_of(&mut first);
        assert!(s.gone(one) && told.borrow().is_empty());
    }

    fn what_cannot_be_joined_stays_as_it_was(s) {
        let told = Told::default();
        let ((one, _first), (two, mut second)) = (silent(s, 1), silent(s, 2));
        if is_carried(s) {
            s.event_loop.splice_streams(one, two, SpliceOptions::new(), tell(&told));
            s.until("the refusal", |_| told.borrow().len() == 1);
            let end = told.borrow()[0].end;
            return assert!(matches!(end, SpliceEnd::NotJoined(why) if why.contains("io_uring")), "{end:?}");
        }
        let timer = s.event_loop.after(Duration::from_secs(60), |_| {});
        let (gone, _) = silent(s, 3);
        s.event_loop.remove(gone);
        let (finished, _third) = silent(s, 4);
        s.event_loop.with_stream(finished, |_, stream| stream.finish());
        for [first, second] in [[one, one], [one, timer], [gone, one], [one, finished]] {
            s.event_loop.splice_streams(first, second, SpliceOptions::new(), tell(&told));
        }
        s.until("the refusals", |_| told.borrow().len() == 4);
        let why: Vec<&str> = told.borrow().iter().map(|report| match report.end {
            SpliceEnd::NotJoined(why) => why,
            other => panic!("{other:?}"),
        }).collect();
        for (why, word) in why.iter().zip(["itself", "not a stream", "any more", "half-open"]) {
            assert!(why.contains(word), "{why}");
        }
        s.event_loop.with_stream(two, |_, stream| stream.write_all(b"as before").expect("open"));
        assert_eq!(s.collect(&mut second, 9), b"as before");
        assert!(s.event_loop.exists(timer) && !s.gone(one));
        s.event_loop.remove(timer);
    }

    /// What comes when it ends may do anything, and a panic leaves the loop as good as before.
    fn anything_may_be_done_at_the_end(s) {
        let told = Told::default();
        let report = Rc::clone(&told);
        let mut pairs = s.pairs();
        let ((one, mut first), (two, second)) = (s.pair(), s.pair());
        let peers: Rc<RefCell<Vec<Socket>>> = Rc::default();
        let made = Rc::clone(&peers);
        let ended = move |ctx: &mut Context<Log>, _: Spliced| {
            let ((one, first), (two, second)) = (pairs(), pairs());
            made.borrow_mut().extend([first, second]);
            ctx.splice(one, two, SpliceOptions::new(), tell(&report)).expect("two sockets");
            panic!("on purpose");
        };
        s.event_loop.splice(one, two, SpliceOptions::new(), ended).expect("two sockets");
        first.finish();
        drop(second);
        let mut caught = false;
        for _ in 0..20 {
            let turn = std::panic::AssertUnwindSafe(|| s.turn());
            caught |= std::panic::catch_unwind(turn).is_err();
        }
        assert!(caught);
        s.end_of(&mut first);
        let mut peers = peers.take();
        let (mut second, mut first) = (peers.pop().expect("two"), peers.pop().expect("two"));
        s.send_all(&mut first, b"as before");
        assert_eq!(s.collect(&mut second, 9), b"as before");
        drop((first, second));
        s.until("its end", |_| told.borrow().len() == 1);
    }
}

/// A socket that says that it can be spliced, and cannot.
struct Stubborn {
    socket: UnixStream,
    not_a_file: Epoll,
    /// It can while it is read from.
    reads: bool,
}

impl Transport for Stubborn {
    fn descriptor(&self) -> Option<RawFd> {
        self.socket.descriptor()
    }
    fn prepare(&mut self) -> std::io::Result<()> {
        self.socket.prepare()
    }
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        self.socket.read_into(input, pool, limit)
    }
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        self.socket.write_from(output, pool, limit)
    }
    fn shutdown_write(&mut self) {
        self.socket.shutdown_write();
    }
    fn splice_descriptor(&self) -> Option<RawFd> {
        Some(if self.reads { self.socket.as_raw_fd() } else { self.not_a_file.as_fd().as_raw_fd() })
    }
}

/// EINVAL, at once or only when the pipe is to be given to the other side: the bytes go through memory, and it is told.
#[test]
fn where_splicing_is_refused_it_copies() {
    for (first_reads, second_reads) in [(false, false), (true, false), (false, true)] {
        let mut event_loop = duolu::Config::new().build(Vec::new()).expect("a loop");
        let stubborn = |reads| {
            let (socket, peer) = UnixStream::pair().expect("descriptors");
            peer.set_nonblocking(true).expect("a socket");
            let not_a_file = Epoll::new().expect("an epoll");
            (Stubborn { socket, not_a_file, reads }, Socket::Unix(peer))
        };
        let ((one, first), (two, second), told) =
            (stubborn(first_reads), stubborn(second_reads), Told::default());
        let id = event_loop.splice(one, two, SpliceOptions::new(), tell(&told)).expect("two sockets");
        let mut stage = crate::stage::Stage::of(event_loop);
        let mut pair = Pair { id, first, second, told };
        let sent = pattern(2_000_000);
        pair.exchange(&mut stage, &sent, &sent);
        let report = pair.end(&mut stage);
        assert_eq!(
            (report.end, report.forward, report.backward),
            (SpliceEnd::Finished, 2_000_000, 2_000_000)
        );
        assert_eq!(report.refused, Some(Errno(22)), "{report:?}");
    }
}

#[test]
fn another_loops_group_and_what_is_no_socket_are_refused() {
    let mut one = duolu::Config::new().build(()).expect("a loop");
    let mut two = duolu::Config::new().build(()).expect("a loop");
    let group = one.rate_group(None, None);
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    let refused = two.splice(ours, theirs, SpliceOptions::new().group(&group), |_, _| {});
    assert!(matches!(refused, Err(Error::Misuse(why)) if why.contains("each loop")));
}
