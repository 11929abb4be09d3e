//! Connecting to whichever of several addresses answers first: on a virtual clock with attempts that go as planned, and on
//! every backend with addresses that answer, refuse, or say nothing.

use crate::filters::Hex;
use duolu::buffer::{Buffer, Pool};
use duolu::stream::{Candidates, Layered, Transport};
use duolu::{Config, Context, Direction, EventId, EventLoop, Stream, StreamEvent, StreamOptions};
use duolu_core::stream::{Moved, Then};
use duolu_core::{Errno, RawFd};
use duolu_sim::{Personality, Sim, errno};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// What was told, when (in milliseconds), and what came with it.
type Told = Vec<(u64, StreamEvent, String)>;

fn tell(ctx: &mut Context<Told>, stream: &mut Stream<'_>, event: StreamEvent) {
    let bytes = String::from_utf8_lossy(stream.front()).into_owned();
    stream.consume(usize::MAX);
    let why = stream.layer_error().map(|error| error.to_string());
    let now = ctx.now().as_nanos() / 1_000_000;
    ctx.data().push((now, event, why.unwrap_or(bytes)));
}

fn at(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

/// How an attempt goes: after so many milliseconds, or never.
#[derive(Clone, Copy)]
enum Plan {
    Stands(u64),
    Refused(u64),
    Silent,
    RefusedAtOnce,
}

/// A simulated socket that connects as planned: until then it is full.
struct Planned {
    sim: Sim,
    fd: RawFd,
    outcome: Result<(), Errno>,
}

impl Drop for Planned {
    fn drop(&mut self) {
        self.sim.kernel().close(self.fd).expect("an open descriptor");
    }
}

impl Transport for Planned {
    fn descriptor(&self) -> Option<RawFd> {
        Some(self.fd)
    }
    fn read_into(&mut self, input: &mut Buffer, _: &mut Pool, limit: usize) -> Moved {
        match self.sim.kernel().read(self.fd, limit) {
            Ok(bytes) if bytes.is_empty() => Moved { bytes: 0, then: Then::End },
            Ok(bytes) => {
                input.append(&bytes).expect("room");
                Moved { bytes: bytes.len(), then: Then::More }
            }
            Err(error) if error == errno::EAGAIN => Moved { bytes: 0, then: Then::Blocked },
            Err(error) => Moved { bytes: 0, then: Then::Failed(error) },
        }
    }
    fn write_from(&mut self, output: &mut Buffer, _: &mut Pool, limit: usize) -> Moved {
        let len = output.front().len().min(limit);
        let bytes = self.sim.kernel().write(self.fd, &output.front()[..len]).expect("room");
        output.drain(bytes).expect("it is there");
        Moved { bytes, then: Then::More }
    }
    fn shutdown_write(&mut self) {
        self.sim.kernel().shutdown_write(self.fd).expect("an open socket");
    }
    fn take_error(&mut self) -> Result<(), Errno> {
        self.outcome
    }
}

struct Stage {
    event_loop: EventLoop<Told>,
    sim: Sim,
    /// By port.
    peers: Rc<RefCell<BTreeMap<u16, RawFd>>>,
    id: EventId,
}

impl Stage {
    fn new(
        personality: Personality,
        plans: &[Plan],
        options: StreamOptions,
        configure: fn(Candidates) -> Candidates,
    ) -> Stage {
        let sim = Sim::new(1);
        let backend = Box::new(sim.backend(personality));
        let mut event_loop = Config::new().build_on(backend, sim.clock(), Told::new()).expect("a loop");
        let candidates = configure(Candidates::new((0..plans.len()).map(|port| at(port as u16))));
        let peers = Rc::new(RefCell::new(BTreeMap::new()));
        let (world, plans, dialed) = (sim.clone(), plans.to_vec(), Rc::clone(&peers));
        let dial = move |address: SocketAddr| {
            let plan = plans[usize::from(address.port())];
            if let Plan::RefusedAtOnce = plan {
                return Err(io::Error::from_raw_os_error(101));
            }
            let mut kernel = world.kernel();
            let (fd, peer) = kernel.stream_pair().expect("descriptors");
            while kernel.write(fd, &[0; 1024]).is_ok() {}
            dialed.borrow_mut().insert(address.port(), peer);
            let (outcome, after_ms) = match plan {
                Plan::Stands(ms) => (Ok(()), Some(ms)),
                Plan::Refused(ms) => (Err(errno::ECONNREFUSED), Some(ms)),
                _ => (Ok(()), None),
            };
            if let Some(ms) = after_ms {
                let then = kernel.now_ns() + ms * 1_000_000;
                kernel.at(
                    then,
                    move |kernel| while kernel.read(peer, 4096).is_ok_and(|bytes| !bytes.is_empty()) {},
                );
            }
            drop(kernel);
            Ok(Planned { sim: world.clone(), fd, outcome })
        };
        let id =
            event_loop.connect_any_by(candidates, dial, |racing| racing, options, tell).expect("it begins");
        Stage { event_loop, sim, peers, id }
    }

    fn run_for_ms(&mut self, ms: u64) {
        let end = self.sim.kernel().now_ns() + ms * 1_000_000;
        loop {
            let now = self.sim.kernel().now_ns();
            if now >= end {
                return;
            }
            self.event_loop.run_for(Duration::from_nanos(end - now)).expect("a turn");
        }
    }

    /// The attempts whose sockets are open.
    fn open(&self) -> usize {
        self.sim.kernel().open_descriptors().count() - self.peers.borrow().len()
    }

    fn dialed(&self) -> Vec<u16> {
        self.peers.borrow().keys().copied().collect()
    }
}

fn in_every_world(
    plans: &[Plan],
    options: StreamOptions,
    configure: fn(Candidates) -> Candidates,
    scenario: fn(&mut Stage),
) {
    for personality in Personality::ALL {
        scenario(&mut Stage::new(personality, plans, options.clone(), configure));
    }
}

fn plain() -> StreamOptions {
    StreamOptions::new()
}

#[test]
fn families_take_turns_and_nothing_is_tried_twice() {
    let v6 = |port| SocketAddr::from(([0u16, 0, 0, 0, 0, 0, 0, 1], port));
    let given = [v6(1), v6(2), v6(3), at(1), v6(1), at(2)];
    assert_eq!(Candidates::from(&given).order(), [v6(1), at(1), v6(2), at(2), v6(3)]);
    assert_eq!(Candidates::from(&given[3..]).order(), [at(1), v6(1), at(2)]);
    assert_eq!(Candidates::from(&given).most_attempts(2).order(), [v6(1), at(1)]);
    assert_eq!(Candidates::new([]).order(), []);
}

#[test]
fn a_slow_one_is_overtaken_and_closed() {
    in_every_world(
        &[Plan::Stands(1000), Plan::Stands(100)],
        plain(),
        |all| all,
        |s| {
            s.event_loop.with_stream(s.id, |_, stream| stream.write_all(b"early").expect("it is kept"));
            s.run_for_ms(249);
            assert_eq!((s.dialed(), s.open()), (vec![0], 1));
            s.run_for_ms(50);
            assert_eq!((s.dialed(), s.open()), (vec![0, 1], 2));
            s.run_for_ms(2000);
            assert_eq!(s.open(), 1);
            assert_eq!(s.event_loop.data()[0], (350, StreamEvent::Connected, String::new()));
            let peer = s.peers.borrow()[&1];
            assert_eq!(s.sim.kernel().read(peer, 100), Ok(b"early".to_vec()));
            s.sim.kernel().write(peer, b"late").expect("room");
            s.run_for_ms(10);
            let told: Vec<StreamEvent> = s.event_loop.data().iter().map(|(_, event, _)| *event).collect();
            assert_eq!(told, [StreamEvent::Connected, StreamEvent::Written, StreamEvent::Read]);
            assert_eq!(s.event_loop.data()[2].2, "late");
            s.sim.kernel().close(peer).expect("an open descriptor");
            s.peers.borrow_mut().remove(&1);
            s.run_for_ms(10);
            assert_eq!((s.event_loop.exists(s.id), s.open()), (false, 0));
        },
    );
}

#[test]
fn a_refusal_has_the_next_begin_at_once() {
    let plans = [Plan::Refused(10), Plan::RefusedAtOnce, Plan::Refused(20), Plan::Stands(30)];
    in_every_world(
        &plans,
        plain(),
        |all| all,
        |s| {
            s.run_for_ms(1000);
            assert_eq!(s.event_loop.data()[..], [(60, StreamEvent::Connected, String::new())]);
            assert_eq!((s.dialed(), s.open()), (vec![0, 2, 3], 1));
        },
    );
}

#[test]
fn a_lost_race_is_one_error_that_names_them_all() {
    let plans = [Plan::Refused(10), Plan::RefusedAtOnce, Plan::Refused(400), Plan::Refused(20)];
    in_every_world(
        &plans,
        plain(),
        |all| all,
        |s| {
            s.run_for_ms(1000);
            let text = "cannot connect to any address: 10.0.0.1:0: Connection refused (os error 111); 10.0.0.1:1: Network is \
                    unreachable (os error 101); 10.0.0.1:3: Connection refused (os error 111); 10.0.0.1:2: Connection \
                    refused (os error 111)";
            let refused = StreamEvent::Error(Direction::Write, errno::ECONNREFUSED);
            assert_eq!(s.event_loop.data()[..], [(410, refused, text.to_owned())]);
            assert_eq!((s.event_loop.exists(s.id), s.open()), (false, 0));
        },
    );
    // Where every one is refused while it is asked for, it is told all the same, and later.
    in_every_world(
        &[Plan::RefusedAtOnce],
        plain(),
        |all| all,
        |s| {
            assert_eq!(s.event_loop.data()[..], []);
            s.run_for_ms(1);
            assert_eq!(s.event_loop.data().len(), 1);
        },
    );
}

#[test]
fn the_write_timeout_counts_for_all_of_them() {
    let options = || StreamOptions::new().write_timeout(Duration::from_millis(600));
    in_every_world(
        &[Plan::Silent; 5],
        options(),
        |all| all,
        |s| {
            s.run_for_ms(599);
            assert_eq!((s.dialed(), s.open(), s.event_loop.data().len()), (vec![0, 1, 2], 3, 0));
            s.run_for_ms(500);
            let told = (600, StreamEvent::Timeout(Direction::Write), String::new());
            assert_eq!(s.event_loop.data()[..], [told]);
            assert_eq!((s.dialed(), s.open(), s.event_loop.exists(s.id)), (vec![0, 1, 2], 0, false));
        },
    );
}

#[test]
fn removing_the_stream_ends_the_race() {
    in_every_world(
        &[Plan::Silent, Plan::Stands(20), Plan::Silent],
        plain(),
        |all| all,
        |s| {
            s.run_for_ms(260);
            assert_eq!(s.open(), 2);
            s.event_loop.remove(s.id);
            s.run_for_ms(1000);
            assert_eq!((s.dialed(), s.open()), (vec![0, 1], 0));
            assert_eq!(s.event_loop.data()[..], []);
        },
    );
}

#[test]
fn no_more_are_tried_than_was_said_and_as_fast() {
    let configure = |all: Candidates| all.most_attempts(3).attempt_delay(Duration::from_millis(50));
    in_every_world(
        &[Plan::Silent, Plan::Silent, Plan::Stands(60), Plan::Stands(1)],
        plain(),
        configure,
        |s| {
            s.run_for_ms(1000);
            assert_eq!(s.event_loop.data()[..], [(160, StreamEvent::Connected, String::new())]);
            assert_eq!((s.dialed(), s.open()), (vec![0, 1, 2], 1));
        },
    );
}

// With a real kernel.

/// An address that refuses, as long as the socket lives: it is the near end of a connection, so its port is taken, and nobody
/// listens there.
fn refusing() -> (SocketAddr, (TcpListener, TcpStream)) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("a port")).expect("it listens");
    (stream.local_addr().expect("a port"), (listener, stream))
}

/// An address that says nothing: a listener whose queue is full.
fn silent() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let options = duolu::net::ListenOptions { backlog: 0, ..Default::default() };
    let listener = duolu::net::listen("127.0.0.1:0".parse().expect("an address"), &options).expect("a port");
    let address = listener.local_addr().expect("a port");
    let first = TcpStream::connect(address).expect("one fits");
    let more = (0..3).map(|_| duolu::net::connect(address, None).expect("it begins").stream);
    (address, (listener, std::iter::once(first).chain(more).collect()))
}

fn echoing(event_loop: &mut EventLoop<Told>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    let accepted = event_loop.accept(listener, |ctx, socket, _| {
        let echo = |_: &mut Context<Told>, stream: &mut Stream<'_>, _| {
            stream.echo();
        };
        ctx.stream(socket, StreamOptions::new(), echo).expect("a stream");
    });
    accepted.expect("a listener");
    address
}

fn until_gone(event_loop: &mut EventLoop<Told>, id: EventId) -> Vec<(StreamEvent, String)> {
    for _ in 0..4000 {
        if !event_loop.exists(id) {
            break;
        }
        event_loop.run_for(Duration::from_millis(5)).expect("a turn");
    }
    assert!(!event_loop.exists(id), "{:?}", event_loop.data());
    event_loop.data().drain(..).map(|(_, event, text)| (event, text)).collect()
}

#[test]
fn whoever_answers_is_talked_to() {
    for mut event_loop in crate::connect::loops::<Told>() {
        let ((refused, _one), (blocked, _two)) = (refusing(), silent());
        let answers = echoing(&mut event_loop);
        let candidates =
            || Candidates::new([blocked, refused, answers]).attempt_delay(Duration::from_millis(20));
        for layered in [false, true] {
            let begun = if layered {
                // What it encodes comes back and is decoded.
                event_loop.connect_any_through(
                    candidates(),
                    |racing| Layered::new(racing, Hex),
                    plain(),
                    tell,
                )
            } else {
                event_loop.connect_any(candidates(), plain(), tell)
            };
            let id = begun.expect("it begins");
            event_loop.with_stream(id, |_, stream| {
                stream.write_all(b"early").expect("it is kept");
                stream.finish();
            });
            let told = until_gone(&mut event_loop, id);
            let connected = told.iter().filter(|(event, _)| *event == StreamEvent::Connected).count();
            let heard: String = told.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!((connected, heard.as_str()), (1, "early"), "{told:?}");
            assert_eq!(told.last().map(|(event, _)| *event), Some(StreamEvent::Eof));
        }
    }
}

#[test]
fn nobody_answers() {
    for mut event_loop in crate::connect::loops::<Told>() {
        let ((refused, _one), (also, _two)) = (refusing(), refusing());
        let id = event_loop.connect_any(&[refused, also], plain(), tell).expect("it begins");
        let told = until_gone(&mut event_loop, id);
        assert_eq!(told.len(), 1);
        assert!(matches!(told[0].0, StreamEvent::Error(Direction::Write, Errno(111))), "{told:?}");
        for address in [refused, also] {
            assert!(told[0].1.contains(&format!("{address}: Connection refused")), "{told:?}");
        }
        let (blocked, _three) = silent();
        let patient = StreamOptions::new().write_timeout(Duration::from_millis(30));
        let id = event_loop.connect_any(&[blocked], patient, tell).expect("it begins");
        let told = until_gone(&mut event_loop, id);
        assert_eq!(told, [(StreamEvent::Timeout(Direction::Write), String::new())]);
        assert!(event_loop.connect_any(Candidates::new([]), plain(), tell).is_err());
    }
}
