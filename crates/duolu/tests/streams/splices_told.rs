//! Two sockets joined: what a program is told meanwhile, what it costs in pipes, and silence with something on its way.

use crate::stage::{Socket, World, pattern};
use duolu::buffer::Eol;
use duolu::{EventId, SpliceEnd, SpliceOptions, Spliced, StreamEvent, StreamOptions};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// Sums of what was told of either side.
type Sums = Rc<Cell<[u64; 2]>>;

fn counted(options: SpliceOptions, sums: &Sums) -> SpliceOptions {
    let sums = Rc::clone(sums);
    options.on_progress(move |side, bytes| {
        assert!(bytes > 0);
        let mut now = sums.get();
        now[side as usize] += bytes;
        sums.set(now);
    })
}

scenarios! {
    /// Long before the end, exactly what came, and both ways for themselves.
    fn what_comes_is_told_as_it_goes_on(s) {
        let ((one, mut first), (two, mut second), sums) = (s.pair(), s.pair(), Sums::default());
        let options = counted(SpliceOptions::new(), &sums);
        let id = s.event_loop.splice(one, two, options, |_, _| {}).expect("two sockets");
        let bytes = pattern(400_000);
        let (mut sent, mut got) = (0, 0);
        s.until("all of it", |_| {
            if sent < bytes.len() {
                sent += first.send(&bytes[sent..]);
            }
            while got < bytes.len() && let Some(some) = second.receive() {
                got += some.len();
                assert!(sums.get()[0] >= got as u64, "{:?} told when {got} had come out", sums.get());
            }
            got == bytes.len()
        });
        assert_eq!(sums.get(), [400_000, 0]);
        s.send_all(&mut second, b"answer");
        assert_eq!(s.collect(&mut first, 6), b"answer");
        assert_eq!((sums.get(), s.gone(id)), ([400_000, 6], false));
        drop((first, second));
        s.until("its end", |s| s.gone(id));
        assert_eq!(sums.get(), [400_000, 6], "the ends are no bytes");
    }

    /// What lay unread counts, what the program has read or written itself does not.
    fn what_lay_in_the_inputs_of_streams_is_told_first(s) {
        if matches!(s.world, World::TcpCompletions | World::UnixCompletions) {
            return;
        }
        let sums = Sums::default();
        let options = || StreamOptions::new().allow_half_open();
        let (upstream, mut server) = s.stream(2, options(), |_, _, _| {});
        s.event_loop.with_stream(upstream, |_, stream| stream.write_all(b"greeting. ").expect("open"));
        let to_count = Rc::clone(&sums);
        let (_, mut client) = s.stream(1, options(), move |ctx, stream, event| {
            if event == StreamEvent::Read && stream.read_line(Eol::CrLf).is_some() {
                let options = counted(SpliceOptions::new(), &to_count);
                ctx.splice_streams(stream.id(), upstream, options, |_, _| {});
            }
        });
        s.send_all(&mut client, b"PROXY\r\nand the rest");
        assert_eq!(s.collect(&mut server, 22), b"greeting. and the rest");
        assert_eq!(sums.get(), [12, 0]);
        s.send_all(&mut client, b"more");
        s.collect(&mut server, 4);
        assert_eq!(sums.get(), [16, 0]);
    }

    /// An end that came with the last bytes is no news to who is told of news only. TCP streams are watched by edges where those
    /// are exact, joined sockets never.
    fn streams_that_are_joined_leave_nothing_behind(s) {
        if matches!(s.world, World::TcpCompletions | World::UnixCompletions) {
            return;
        }
        let options = || StreamOptions::new().allow_half_open();
        let ((one, mut first), (two, mut second)) =
            (s.stream(1, options(), |_, _, _| {}), s.stream(2, options(), |_, _, _| {}));
        s.turn();
        s.event_loop.splice_streams(one, two, SpliceOptions::new(), |_, _| {});
        s.send_all(&mut first, b"joined");
        assert_eq!(s.collect(&mut second, 6), b"joined");
        (0..2).for_each(|_| s.turn());
        let bytes = pattern(500);
        assert_eq!(first.send(&bytes), 500);
        first.finish();
        assert!(s.collect(&mut second, usize::MAX) == bytes, "and the end");
        assert_eq!(second.send(&bytes), 500);
        second.finish();
        assert!(s.collect(&mut first, usize::MAX) == bytes, "and the end");
        s.until("it is over", |s| s.gone(one) && s.gone(two));
    }

    /// A receiver that takes nothing for as long as the idle timeout is cut: what it got was not all.
    fn idle_with_something_on_its_way_it_cuts_both(s) {
        if matches!(s.world, World::Unix(_) | World::UnixCompletions) {
            return; // there is no reset between Unix sockets
        }
        let ends: Rc<RefCell<Vec<Spliced>>> = Rc::default();
        let ((one, mut first), (two, mut second)) = (s.pair(), s.pair());
        let told = Rc::clone(&ends);
        let options = SpliceOptions::new().idle_timeout(Duration::from_millis(200));
        let ended = move |_: &mut _, end| told.borrow_mut().push(end);
        s.event_loop.splice(one, two, options, ended).expect("two sockets");
        let bytes = pattern(30_000_000);
        let mut sent = 0;
        s.until("the end", |_| {
            if ends.borrow().is_empty() {
                sent += first.try_send(&bytes[sent..]);
            }
            !ends.borrow().is_empty()
        });
        assert_eq!(ends.borrow()[0].end, SpliceEnd::Idle);
        let mut got = 0;
        s.until("the cut", |_| loop {
            match second.receive_or_fail() {
                None => return false,
                Some(Ok(some)) => {
                    assert!(!some.is_empty(), "{got} of {sent} bytes, and an end as if that were all");
                    got += some.len();
                }
                Some(Err(error)) => return error.raw_os_error() == Some(104),
            }
        });
        assert!(got < sent);
        s.until("the cut", |_| first.receive_or_fail().is_some_and(|got| got.is_err()));
    }
}

/// Relays whose receivers take nothing, and as much sent through each as its sender gets rid of.
fn joined_and_stuffed(
    stage: &mut Stage,
    count: usize,
    ends: &Rc<Cell<usize>>,
) -> Vec<(EventId, Socket, Socket, usize)> {
    let mut pairs = Vec::new();
    for _ in 0..count {
        let ((one, mut first), (two, second)) = (stage.pair(), stage.pair());
        let ended = Rc::clone(ends);
        let told = move |_: &mut _, end: Spliced| {
            assert_eq!(end.end, SpliceEnd::Finished);
            ended.set(ended.get() + 1);
        };
        let id = stage.event_loop.splice(one, two, SpliceOptions::new(), told).expect("two sockets");
        let (bytes, mut sent, mut still) = (pattern(8_000_000), 0, 0);
        stage.until("it holds", |_| {
            let took = first.send(&bytes[sent..]);
            (sent, still) = (sent + took, if took == 0 { still + 1 } else { 0 });
            still > 3
        });
        pairs.push((id, first, second, sent));
    }
    pairs
}

/// Pipes that this process has open, half of its descriptors for them.
fn pipes() -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").expect("our descriptors").flatten();
    let links = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count() / 2
}

/// Not a test of its own: what runs in a process where nobody else makes pipes.
#[test]
#[ignore = "run by receivers_that_rest_hold_so_many_pipes_and_no_more, alone"]
fn receivers_that_rest() {
    const MOST: usize = 3;
    let ends = Rc::new(Cell::new(0));
    let mut event_loop = duolu::Config::new().build(Vec::new()).expect("a loop");
    event_loop.limit_splice_pipes(MOST);
    let mut stage = Stage::of(event_loop);
    let before = pipes();
    let mut pairs = joined_and_stuffed(&mut stage, 8, &ends);
    assert_eq!(pipes() - before, MOST, "eight rest, three with a pipe");
    // One is removed: its pipe is closed, and another one may have it.
    let (id, ..) = pairs.remove(0);
    assert!(stage.event_loop.remove(id));
    assert_eq!(pipes() - before, MOST - 1);
    pairs.extend(joined_and_stuffed(&mut stage, 1, &ends));
    assert_eq!(pipes() - before, MOST);
    for (id, mut first, mut second, sent) in pairs {
        first.finish();
        assert!(stage.collect(&mut second, usize::MAX) == pattern(sent), "with a pipe or without");
        second.finish();
        stage.until("its end", |s| s.gone(id));
    }
    assert_eq!(ends.get(), 8);
    assert!(pipes() - before <= MOST, "kept for the next");
    drop(stage);
    assert_eq!(pipes(), before);
}

#[test]
fn receivers_that_rest_hold_so_many_pipes_and_no_more() {
    let own = std::env::current_exe().expect("this program");
    let name = concat!(module_path!(), "::receivers_that_rest");
    let name = name.split_once("::").expect("behind the crate's name").1;
    let ran = std::process::Command::new(own).args([name, "--exact", "--ignored"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}
