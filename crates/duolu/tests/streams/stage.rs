//! What a scenario works with: a loop, pairs of sockets of which the loop gets one, and turns.

/// Defines scenarios and plays each in every world.
macro_rules! scenarios {
    ($($(#[$doc:meta])* fn $name:ident($stage:ident) $body:block)*) => {
        use crate::stage::Stage;
        $($(#[$doc])* fn $name($stage: &mut Stage) $body)*
        mod sim_epoll { $(#[test] fn $name() { crate::stage::World::SIM_EPOLL.play(super::$name) })* }
        mod sim_poll { $(#[test] fn $name() { crate::stage::World::SIM_POLL.play(super::$name) })* }
        mod sim_select { $(#[test] fn $name() { crate::stage::World::SIM_SELECT.play(super::$name) })* }
        mod sim_io_uring { $(#[test] fn $name() { crate::stage::World::SIM_IO_URING.play(super::$name) })* }
        mod select { $(#[test] fn $name() { crate::stage::World::SELECT.play(super::$name) })* }
        mod poll { $(#[test] fn $name() { crate::stage::World::POLL.play(super::$name) })* }
        mod epoll { $(#[test] fn $name() { crate::stage::World::EPOLL.play(super::$name) })* }
        mod io_uring { $(#[test] fn $name() { crate::stage::World::IO_URING.play(super::$name) })* }
        mod memory { $(#[test] fn $name() { crate::stage::in_memory(module_path!(), super::$name) })* }
        mod epoll_unix { $(#[test] fn $name() { crate::stage::World::EPOLL_UNIX.play(super::$name) })* }
        mod io_uring_unix { $(#[test] fn $name() { crate::stage::World::IO_URING_UNIX.play(super::$name) })* }
        mod completions { $(#[test] fn $name() { crate::stage::World::COMPLETIONS.play(super::$name) })* }
        mod completions_unix { $(#[test] fn $name() { crate::stage::World::COMPLETIONS_UNIX.play(super::$name) })* }
    };
}

use duolu::buffer::{Buffer, Pool};
use duolu::stream::Transport;
use duolu::{
    BackendKind, Config, Context, EventId, EventLoop, Handle, PairEnd, Ready, Stream, StreamEvent,
    StreamOptions,
};
use duolu_core::stream::{Moved, Then};
use duolu_core::{Errno, RawFd};
use duolu_sim::{Personality, Sim, errno};
use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// So many turns that bring nothing are borne before a scenario is called stuck. Each waits 5 ms at most.
const TURNS: usize = 1000;

#[derive(Clone, Copy, Debug)]
pub enum World {
    Sim(Personality),
    Tcp(BackendKind),
    Unix(BackendKind),
    /// On io_uring, which moves the bytes by itself.
    TcpCompletions,
    UnixCompletions,
    Memory,
}

impl World {
    pub const SIM_EPOLL: World = World::Sim(Personality::Epoll);
    pub const SIM_POLL: World = World::Sim(Personality::Poll);
    pub const SIM_SELECT: World = World::Sim(Personality::Select);
    pub const SIM_IO_URING: World = World::Sim(Personality::Uring);
    pub const SELECT: World = World::Tcp(BackendKind::Select);
    pub const POLL: World = World::Tcp(BackendKind::Poll);
    pub const EPOLL: World = World::Tcp(BackendKind::Epoll);
    pub const IO_URING: World = World::Tcp(BackendKind::IoUring);
    pub const COMPLETIONS: World = World::TcpCompletions;
    pub const COMPLETIONS_UNIX: World = World::UnixCompletions;
    pub const EPOLL_UNIX: World = World::Unix(BackendKind::Epoll);
    pub const IO_URING_UNIX: World = World::Unix(BackendKind::IoUring);

    pub fn play(self, scenario: fn(&mut Stage)) {
        let log = Vec::new();
        let (event_loop, sim) = match self {
            World::Sim(personality) => {
                let sim = Sim::new(1);
                let backend = Box::new(sim.backend(personality));
                (Config::new().build_on(backend, sim.clock(), log).expect("a loop"), Some(sim))
            }
            World::Memory => (Config::new().build(log).expect("a loop"), None),
            World::Tcp(kind) | World::Unix(kind) => {
                let without = std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1");
                if kind == BackendKind::IoUring && without {
                    return;
                }
                let event_loop = Config::new().backend(kind).build(log).expect("a loop");
                assert_eq!(event_loop.fallback(), None, "DUOLU_TEST_NO_URING=1 leaves io_uring out");
                (event_loop, None)
            }
            World::TcpCompletions | World::UnixCompletions => {
                if std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1") {
                    return;
                }
                let event_loop = Config::new().stream_completions(true).build(log).expect("a loop");
                assert_eq!(event_loop.stream_fallback(), None, "DUOLU_TEST_NO_URING=1 leaves io_uring out");
                (event_loop, None)
            }
        };
        let mut stage = Stage { event_loop, world: self, sim };
        scenario(&mut stage);
        if matches!(self, World::TcpCompletions | World::UnixCompletions) {
            stage.nothing_is_leaked();
        }
    }
}

/// On a pair. It has no descriptors, so nothing can be spliced.
pub fn in_memory(module: &str, scenario: fn(&mut Stage)) {
    if !module.contains("splices") {
        World::Memory.play(scenario);
    }
}

/// What was told: whose (the scenario's own mark), and what.
pub type Log = Vec<(u32, StreamEvent)>;

pub struct Stage {
    pub event_loop: EventLoop<Log>,
    pub world: World,
    sim: Option<Sim>,
}

/// Either end of a connection.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Sim(SimSocket),
    Memory(PairEnd<Log>),
}

pub struct SimSocket {
    sim: Sim,
    fd: RawFd,
    /// To be closed with a reset.
    cut: Cell<bool>,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let mut kernel = self.sim.kernel();
        let closed = if self.cut.get() { kernel.close_with_reset(self.fd) } else { kernel.close(self.fd) };
        closed.expect("an open descriptor");
    }
}

impl Transport for Socket {
    fn is_plain_socket(&self) -> bool {
        !matches!(self, Socket::Sim(_))
    }
    fn short_read_empties(&self) -> bool {
        match self {
            Socket::Tcp(socket) => socket.short_read_empties(),
            Socket::Unix(socket) => socket.short_read_empties(),
            Socket::Sim(_) => true,
            Socket::Memory(_) => false,
        }
    }
    fn descriptor(&self) -> Option<RawFd> {
        match self {
            Socket::Tcp(socket) => socket.descriptor(),
            Socket::Unix(socket) => socket.descriptor(),
            Socket::Sim(socket) => Some(socket.fd),
            Socket::Memory(_) => None,
        }
    }
    fn prepare(&mut self) -> io::Result<()> {
        match self {
            Socket::Tcp(socket) => socket.prepare(),
            Socket::Unix(socket) => socket.prepare(),
            Socket::Sim(_) | Socket::Memory(_) => Ok(()),
        }
    }
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        match self {
            Socket::Tcp(socket) => socket.read_into(input, pool, limit),
            Socket::Unix(socket) => socket.read_into(input, pool, limit),
            Socket::Memory(end) => end.read_into(input, pool, limit),
            Socket::Sim(socket) => match socket.sim.kernel().read(socket.fd, limit) {
                Ok(bytes) if bytes.is_empty() => Moved { bytes: 0, then: Then::End },
                Ok(bytes) => {
                    input.append(&bytes).expect("room");
                    let short = bytes.len() < limit;
                    Moved { bytes: bytes.len(), then: if short { Then::Blocked } else { Then::More } }
                }
                Err(error) => refused(error),
            },
        }
    }
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        match self {
            Socket::Tcp(socket) => socket.write_from(output, pool, limit),
            Socket::Unix(socket) => socket.write_from(output, pool, limit),
            Socket::Memory(end) => end.write_from(output, pool, limit),
            Socket::Sim(socket) => {
                let len = output.front().len().min(limit);
                let outcome = socket.sim.kernel().write(socket.fd, &output.front()[..len]);
                match outcome {
                    Ok(bytes) => {
                        output.drain(bytes).expect("it is there");
                        Moved { bytes, then: if bytes < len { Then::Blocked } else { Then::More } }
                    }
                    Err(error) => refused(error),
                }
            }
        }
    }
    fn splice_descriptor(&self) -> Option<RawFd> {
        match self {
            Socket::Tcp(socket) => socket.splice_descriptor(),
            Socket::Unix(socket) => socket.splice_descriptor(),
            Socket::Sim(_) | Socket::Memory(_) => None,
        }
    }
    fn shutdown_write(&mut self) {
        match self {
            Socket::Tcp(socket) => socket.shutdown_write(),
            Socket::Unix(socket) => socket.shutdown_write(),
            Socket::Memory(end) => end.shutdown_write(),
            Socket::Sim(socket) => drop(socket.sim.kernel().shutdown_write(socket.fd)),
        }
    }
    fn reset(&mut self) {
        match self {
            Socket::Tcp(socket) => Transport::reset(socket),
            Socket::Unix(socket) => Transport::reset(socket),
            Socket::Memory(end) => Transport::reset(end),
            Socket::Sim(socket) => socket.cut.set(true),
        }
    }
    fn ready(&self) -> Ready {
        match self {
            Socket::Memory(end) => end.ready(),
            _ => Ready::NONE,
        }
    }
    fn installed(&mut self, id: EventId) {
        if let Socket::Memory(end) = self {
            end.installed(id);
        }
    }
    fn take_woken(&mut self) -> Option<(EventId, Ready)> {
        match self {
            Socket::Memory(end) => end.take_woken(),
            _ => None,
        }
    }
}

/// By hand, without a loop.
fn write_by_hand(end: &mut PairEnd<Log>, bytes: &[u8]) -> io::Result<usize> {
    let mut buffer = Buffer::new();
    buffer.append(bytes).expect("room");
    by_hand(end.write_from(&mut buffer, &mut Pool::new(1024, 1), usize::MAX))
}

fn read_by_hand(end: &mut PairEnd<Log>, into: &mut [u8]) -> io::Result<usize> {
    let mut buffer = Buffer::new();
    let read = by_hand(end.read_into(&mut buffer, &mut Pool::new(1024, 1), into.len()))?;
    buffer.remove(into).expect("it is there");
    Ok(read)
}

fn by_hand(moved: Moved) -> io::Result<usize> {
    match moved {
        Moved { then: Then::Failed(errno), .. } => Err(io::Error::from_raw_os_error(errno.0)),
        Moved { bytes: 0, then: Then::Blocked } => Err(ErrorKind::WouldBlock.into()),
        Moved { bytes, .. } => Ok(bytes),
    }
}

fn refused(error: Errno) -> Moved {
    Moved { bytes: 0, then: if error == errno::EAGAIN { Then::Blocked } else { Then::Failed(error) } }
}

/// The end that the scenario plays. Nothing waits.
impl Socket {
    /// How many bytes the kernel took.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let outcome = match self {
            Socket::Tcp(socket) => socket.write(bytes),
            Socket::Unix(socket) => socket.write(bytes),
            Socket::Memory(end) => write_by_hand(end, bytes),
            Socket::Sim(socket) => match socket.sim.kernel().write(socket.fd, bytes) {
                Err(error) if error == errno::EAGAIN => Ok(0),
                outcome => Ok(outcome.expect("a write")),
            },
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            outcome => outcome.expect("a write"),
        }
    }
    /// As `send`, to somebody who may be gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> usize {
        match self {
            Socket::Tcp(socket) => socket.write(bytes).unwrap_or(0),
            Socket::Unix(socket) => socket.write(bytes).unwrap_or(0),
            Socket::Memory(end) => write_by_hand(end, bytes).unwrap_or(0),
            Socket::Sim(socket) => socket.sim.kernel().write(socket.fd, bytes).unwrap_or(0),
        }
    }
    /// What is there; `Some(empty)` at the end, `None` where nothing is there yet.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        self.receive_or_fail().map(|outcome| outcome.expect("no reset"))
    }
    pub fn receive_or_fail(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.receive_up_to(256 * 1024)
    }
    pub fn receive_up_to(&mut self, bytes: usize) -> Option<io::Result<Vec<u8>>> {
        let mut bytes = vec![0; bytes];
        let outcome = match self {
            Socket::Tcp(socket) => socket.read(&mut bytes),
            Socket::Unix(socket) => socket.read(&mut bytes),
            Socket::Memory(end) => read_by_hand(end, &mut bytes),
            Socket::Sim(socket) => match socket.sim.kernel().read(socket.fd, bytes.len()) {
                Err(error) if error == errno::EAGAIN => return None,
                outcome => return Some(outcome.map_err(|error| io::Error::from_raw_os_error(error.0))),
            },
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            outcome => Some(outcome.map(|count| {
                bytes.truncate(count);
                bytes
            })),
        }
    }
    pub fn finish(&mut self) {
        match self {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write).expect("an open socket"),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write).expect("an open socket"),
            Socket::Memory(end) => end.shutdown_write(),
            Socket::Sim(socket) => socket.sim.kernel().shutdown_write(socket.fd).expect("an open socket"),
        }
    }
    /// RST where there is such a thing: not between Unix sockets.
    pub fn reset(self) {
        match self {
            Socket::Memory(mut end) => Transport::reset(&mut end),
            Socket::Tcp(socket) => duolu::net::set_linger(&socket, Some(0)).expect("an open socket"),
            Socket::Unix(_) => {}
            Socket::Sim(socket) => socket.cut.set(true),
        }
    }
}

impl Stage {
    /// All buffers have come back from the streams, and all that was to be sent from the kernel.
    fn nothing_is_leaked(&mut self) {
        self.event_loop.run_nonblocking().expect("a turn");
        self.event_loop.run_nonblocking().expect("a turn");
        let done = self.event_loop.transfers_done();
        assert!(done.buffers > 0 && done.buffers_free == done.buffers && done.sending == 0, "{done:?}");
    }

    /// With a loop that is there already.
    pub fn of(event_loop: EventLoop<Log>) -> Self {
        Stage { event_loop, world: World::EPOLL_UNIX, sim: None }
    }

    /// The loop's end and the scenario's.
    pub fn pair(&mut self) -> (Socket, Socket) {
        pair(self.world, self.sim.as_ref(), &self.event_loop.handle())
    }

    /// A stream whose events are logged under `mark`, after `handler` has seen them; and its peer.
    pub fn stream(
        &mut self,
        mark: u32,
        options: StreamOptions,
        handler: impl FnMut(&mut Context<Log>, &mut Stream<'_>, StreamEvent) + 'static,
    ) -> (EventId, Socket) {
        self.stream_upon(mark, options, |socket| socket, handler)
    }

    /// The same, upon what `wrap` makes of the socket.
    pub fn stream_upon<T: Transport>(
        &mut self,
        mark: u32,
        options: StreamOptions,
        wrap: impl FnOnce(Socket) -> T,
        mut handler: impl FnMut(&mut Context<Log>, &mut Stream<'_>, StreamEvent) + 'static,
    ) -> (EventId, Socket) {
        let (ours, theirs) = self.pair();
        let id = self.event_loop.stream(
            wrap(ours),
            options,
            move |ctx: &mut Context<Log>, stream: &mut Stream<'_>, event| {
                ctx.data().push((mark, event));
                handler(ctx, stream, event);
            },
        );
        (id.expect("a stream"), theirs)
    }

    /// A way to make pairs inside a callback.
    pub fn pairs(&self) -> impl FnMut() -> (Socket, Socket) + 'static {
        let (world, sim, home) = (self.world, self.sim.clone(), self.event_loop.handle());
        move || pair(world, sim.as_ref(), &home)
    }

    /// What is there is dealt with, and nothing waited for.
    pub fn turn_once(&mut self) {
        self.event_loop.run_for(Duration::ZERO).expect("a turn");
    }

    pub fn turn(&mut self) {
        self.event_loop.run_for(Duration::from_millis(5)).expect("a turn");
    }

    /// Turns until it is so.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Stage) -> bool) {
        for _ in 0..TURNS {
            if done(self) {
                return;
            }
            self.turn();
        }
        panic!("{:?}: never came: {what}; told were {:?}", self.world, self.event_loop.data());
    }

    /// A few turns in which nothing is told.
    pub fn quiet(&mut self) {
        let before = self.event_loop.data().len();
        (0..4).for_each(|_| self.turn());
        let told = &self.event_loop.data()[before..];
        assert_eq!(told, [], "{:?}", self.world);
    }

    /// A few turns in which nothing ends.
    pub fn quiet_but_reads(&mut self) {
        let ends = |s: &Stage| {
            let all = s.event_loop.data_ref().iter();
            all.filter(|(_, event)| !matches!(event, StreamEvent::Read | StreamEvent::Written)).count()
        };
        let before = ends(self);
        (0..4).for_each(|_| self.turn());
        assert_eq!(ends(self), before, "{:?}: {:?}", self.world, self.event_loop.data());
    }

    pub fn gone(&self, id: EventId) -> bool {
        !self.event_loop.exists(id)
    }

    /// What was told under `mark`, without the Read and Written of which there may be more or fewer.
    pub fn told(&mut self, mark: u32) -> Vec<StreamEvent> {
        let log = self.event_loop.data().iter();
        let ends = log
            .filter(|(of, event)| *of == mark && !matches!(event, StreamEvent::Read | StreamEvent::Written));
        ends.map(|(_, event)| *event).collect()
    }

    /// Has the loop turn until the peer has so many bytes, or its end: what it got.
    pub fn collect(&mut self, peer: &mut Socket, bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        self.until("bytes for the peer", |_| {
            loop {
                match peer.receive() {
                    None => return all.len() >= bytes,
                    Some(got) if got.is_empty() => return true,
                    Some(got) => all.extend(got),
                }
            }
        });
        all
    }

    /// Has the loop turn until the peer has read so many bytes, and no more: what it got.
    pub fn collect_exactly(&mut self, peer: &mut Socket, bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        self.until("bytes for the peer", |_| {
            while all.len() < bytes {
                match peer.receive_up_to(bytes - all.len()) {
                    None => return false,
                    Some(got) => all.extend(got.expect("no reset")),
                }
            }
            true
        });
        all
    }

    /// Has the loop turn until the peer meets the end, and nothing before it.
    pub fn end_of(&mut self, peer: &mut Socket) {
        self.until("the end for the peer", |_| match peer.receive() {
            None => false,
            Some(got) => {
                assert!(got.is_empty(), "{} bytes more", got.len());
                true
            }
        });
    }

    /// Has the loop turn until the peer has sent all of it, and takes what comes meanwhile.
    pub fn send_all_while(&mut self, peer: &mut Socket, bytes: &[u8], got: &mut Vec<u8>) {
        let mut sent = 0;
        self.until("room for the peer", |_| {
            sent += peer.send(&bytes[sent..]);
            while let Some(some) = peer.receive().filter(|some| !some.is_empty()) {
                got.extend(some);
            }
            sent == bytes.len()
        });
    }

    /// Has the loop turn until the peer has sent all of it.
    pub fn send_all(&mut self, peer: &mut Socket, bytes: &[u8]) {
        let mut sent = 0;
        self.until("room for the peer", |_| {
            sent += peer.send(&bytes[sent..]);
            sent == bytes.len()
        });
    }
}

fn pair(world: World, sim: Option<&Sim>, home: &Handle<Log>) -> (Socket, Socket) {
    match world {
        World::Memory => {
            let (ours, theirs) = PairEnd::both(home);
            (Socket::Memory(ours), Socket::Memory(theirs))
        }
        World::Tcp(_) | World::TcpCompletions => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let theirs = TcpStream::connect(listener.local_addr().expect("a port")).expect("it listens");
            let (ours, _) = listener.accept().expect("it connects");
            theirs.set_nonblocking(true).expect("a socket");
            theirs.set_nodelay(true).expect("a socket");
            (Socket::Tcp(ours), Socket::Tcp(theirs))
        }
        World::Unix(_) | World::UnixCompletions => {
            let (ours, theirs) = UnixStream::pair().expect("descriptors");
            theirs.set_nonblocking(true).expect("a socket");
            (Socket::Unix(ours), Socket::Unix(theirs))
        }
        World::Sim(_) => {
            let sim = sim.expect("a simulated machine");
            let (ours, theirs) = sim.kernel().stream_pair().expect("descriptors");
            let socket = |fd| Socket::Sim(SimSocket { sim: sim.clone(), fd, cut: Cell::new(false) });
            (socket(ours), socket(theirs))
        }
    }
}

pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}
