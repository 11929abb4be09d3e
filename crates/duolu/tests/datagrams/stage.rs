//! What a scenario works with: a loop, sockets in it, and turns.

use duolu::datagram::{Abilities, Address, DatagramTransport, Inbox, SocketOptions};
use duolu::{BackendKind, Config, Context, DatagramEvent, DatagramOptions, Datagrams, EventId, EventLoop};
use duolu_core::datagram::Sender;
use duolu_core::{Errno, RawFd};
use duolu_sim::{Personality, Sim, errno};
use duolu_sys::datagram::Outbox;
use std::io;
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// So many turns that bring nothing are borne before a scenario is called stuck. Each waits 5 ms at most.
const TURNS: usize = 2000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum World {
    Sim(Personality),
    Udp(BackendKind),
    UdpV6(BackendKind),
    Unix(BackendKind),
}

impl World {
    pub const SIM_EPOLL: World = World::Sim(Personality::Epoll);
    pub const SIM_POLL: World = World::Sim(Personality::Poll);
    pub const SIM_SELECT: World = World::Sim(Personality::Select);
    pub const SIM_IO_URING: World = World::Sim(Personality::Uring);
    pub const SELECT: World = World::Udp(BackendKind::Select);
    pub const POLL: World = World::Udp(BackendKind::Poll);
    pub const EPOLL: World = World::Udp(BackendKind::Epoll);
    pub const IO_URING: World = World::Udp(BackendKind::IoUring);
    pub const EPOLL_V6: World = World::UdpV6(BackendKind::Epoll);
    pub const SELECT_UNIX: World = World::Unix(BackendKind::Select);
    pub const POLL_UNIX: World = World::Unix(BackendKind::Poll);
    pub const EPOLL_UNIX: World = World::Unix(BackendKind::Epoll);
    pub const IO_URING_UNIX: World = World::Unix(BackendKind::IoUring);

    pub fn play(self, scenario: fn(&mut Stage)) {
        if let Some(mut stage) = self.stage(1) {
            scenario(&mut stage);
        }
    }

    /// `None`: io_uring is left out.
    pub fn stage(self, seed: u64) -> Option<Stage> {
        let log = Vec::new();
        let (event_loop, sim) = match self {
            World::Sim(personality) => {
                let sim = Sim::new(seed);
                let backend = Box::new(sim.backend(personality));
                (Config::new().build_on(backend, sim.clock(), log).expect("a loop"), Some(sim))
            }
            World::Udp(kind) | World::UdpV6(kind) | World::Unix(kind) => {
                let without = std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1");
                if kind == BackendKind::IoUring && without {
                    return None;
                }
                let event_loop = Config::new().backend(kind).build(log).expect("a loop");
                assert_eq!(event_loop.fallback(), None, "DUOLU_TEST_NO_URING=1 leaves io_uring out");
                (event_loop, None)
            }
        };
        Some(Stage { event_loop, world: self, sim, sockets: 0 })
    }
}

/// What was told, to whom it may belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    Received(Vec<u8>),
    Error(i32, Address),
    Unsent(i32, Address, u64),
    Writable,
}

/// Whose (the scenario's own mark), and what.
pub type Log = Vec<(u32, Told)>;

pub struct Stage {
    pub event_loop: EventLoop<Log>,
    pub world: World,
    pub sim: Option<Sim>,
    sockets: u16,
}

pub enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Sim(SimSocket),
}

pub struct SimSocket {
    sim: Sim,
    fd: RawFd,
    peer: Option<u16>,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.sim.kernel().close(self.fd).expect("an open socket");
    }
}

fn at_port(port: u16) -> Address {
    Address::Inet(([127, 0, 0, 1], port).into())
}

impl DatagramTransport for Socket {
    fn descriptor(&self) -> RawFd {
        match self {
            Socket::Udp(socket) => socket.descriptor(),
            Socket::Unix(socket) => socket.descriptor(),
            Socket::Sim(socket) => socket.fd,
        }
    }
    fn prepare(&self, options: &SocketOptions) -> io::Result<Abilities> {
        match self {
            Socket::Udp(socket) => DatagramTransport::prepare(socket, options),
            Socket::Unix(socket) => DatagramTransport::prepare(socket, options),
            Socket::Sim(_) => Ok(Abilities { segments: false, gro: false, late_errors: true }),
        }
    }
    fn receive(&self, inbox: &mut Inbox) -> Result<usize, Errno> {
        match self {
            Socket::Udp(socket) => socket.receive(inbox),
            Socket::Unix(socket) => socket.receive(inbox),
            Socket::Sim(socket) => {
                inbox.clear();
                // As recvmmsg: an error is told where nothing was received, else it waits.
                while inbox.batch().len() < inbox.places() {
                    match socket.sim.kernel().receive_datagram(socket.fd) {
                        Ok((port, bytes)) => assert!(inbox.put(&at_port(port), &bytes)),
                        Err(errno) if inbox.batch().len() == 0 => return Err(errno),
                        Err(_) => break,
                    }
                }
                Ok(inbox.batch().len())
            }
        }
    }
    fn send(&self, outbox: &mut Outbox, sender: &Sender) -> Result<usize, Errno> {
        match self {
            Socket::Udp(socket) => DatagramTransport::send(socket, outbox, sender),
            Socket::Unix(socket) => DatagramTransport::send(socket, outbox, sender),
            Socket::Sim(socket) => {
                let mut taken = 0;
                for piece in sender.pieces().take(64) {
                    let port =
                        piece.to.inet().map(|address| address.port()).or(socket.peer).expect("an address");
                    match socket.sim.kernel().send_datagram(socket.fd, port, piece.bytes) {
                        Ok(()) => taken += 1,
                        Err(errno) if taken == 0 => return Err(errno),
                        Err(_) => break,
                    }
                }
                Ok(taken)
            }
        }
    }
    fn take_error(&self) -> Option<(Errno, Address)> {
        match self {
            Socket::Udp(socket) => DatagramTransport::take_error(socket),
            Socket::Unix(socket) => DatagramTransport::take_error(socket),
            Socket::Sim(socket) => {
                let refused = socket.sim.kernel().take_datagram_error(socket.fd);
                refused.then_some((errno::ECONNREFUSED, Address::Unnamed))
            }
        }
    }
    fn path_mtu(&self) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => DatagramTransport::path_mtu(socket),
            Socket::Unix(socket) => DatagramTransport::path_mtu(socket),
            Socket::Sim(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// For the end that the scenario plays itself.
impl Socket {
    /// What is there, one message.
    pub fn receive_one(&self) -> Option<Vec<u8>> {
        let mut inbox = Inbox::new(1, 65536);
        self.receive(&mut inbox).ok()?;
        inbox.batch().next().map(|message| message.bytes().to_vec())
    }
    pub fn connect(&mut self, to: Address) {
        match self {
            Socket::Udp(socket) => socket.connect(to.inet().expect("an address")).expect("a socket"),
            Socket::Unix(socket) => {
                let Address::Unix(name) = to else { panic!("a name") };
                let name =
                    UnixAddress::from_abstract_name(name.as_abstract().expect("a name")).expect("a name");
                socket.connect_addr(&name).expect("it is bound");
            }
            Socket::Sim(socket) => socket.peer = Some(to.inet().expect("an address").port()),
        }
    }
}

impl Stage {
    /// A socket that has an address.
    pub fn socket(&mut self) -> (Socket, Address) {
        let udp = |at| {
            let socket = UdpSocket::bind(at).expect("a port");
            let address = socket.local_addr().expect("a port").into();
            (Socket::Udp(socket), address)
        };
        match self.world {
            World::Udp(_) => udp("127.0.0.1:0"),
            World::UdpV6(_) => udp("[::1]:0"),
            World::Unix(_) => {
                static NAMES: AtomicU32 = AtomicU32::new(0);
                let number = NAMES.fetch_add(1, Ordering::Relaxed);
                let name = format!("duolu-datagrams-{}-{number}", std::process::id());
                let bound = UnixAddress::from_abstract_name(&name).expect("a name");
                let socket = UnixDatagram::bind_addr(&bound).expect("a free name");
                (Socket::Unix(socket), Address::abstract_name(&name).expect("a name"))
            }
            World::Sim(_) => {
                let sim = self.sim.as_ref().expect("a simulated machine").clone();
                self.sockets += 1;
                let fd = sim.kernel().datagram_socket(self.sockets).expect("a free port");
                (Socket::Sim(SimSocket { sim, fd, peer: None }), at_port(self.sockets))
            }
        }
    }

    /// An address where nobody listens, as long as what is given with it lives: a port that is taken, by a socket that
    /// is connected to another and so hears nobody else.
    pub fn nowhere(&mut self) -> (Address, Option<Socket>) {
        let (mut socket, address) = self.socket();
        if !matches!(socket, Socket::Udp(_)) {
            return (address, None);
        }
        let Address::Inet(mut other) = address else { panic!("an address") };
        other.set_port(9);
        socket.connect(Address::Inet(other));
        (address, Some(socket))
    }

    /// A socket in the loop that is connected to where nobody listens.
    pub fn sends_nowhere(
        &mut self,
        mark: u32,
        handler: impl FnMut(&mut Context<Log>, &mut Datagrams<'_>, DatagramEvent<'_>) + 'static,
    ) -> (EventId, Option<Socket>) {
        let (nowhere, taken) = self.nowhere();
        let (mut socket, _) = self.socket();
        if let Socket::Unix(_) = socket {
            // It can only be connected to somebody.
            let (there, address) = self.socket();
            socket.connect(address);
            drop(there);
        } else {
            socket.connect(nowhere);
        }
        (self.adopt(socket, mark, DatagramOptions::new(), handler), taken)
    }

    /// A socket in the loop whose events are logged under `mark`, after `handler` has seen them.
    pub fn serve(
        &mut self,
        mark: u32,
        options: DatagramOptions,
        handler: impl FnMut(&mut Context<Log>, &mut Datagrams<'_>, DatagramEvent<'_>) + 'static,
    ) -> (EventId, Address) {
        let (socket, address) = self.socket();
        (self.adopt(socket, mark, options, handler), address)
    }

    pub fn adopt(
        &mut self,
        socket: Socket,
        mark: u32,
        options: DatagramOptions,
        mut handler: impl FnMut(&mut Context<Log>, &mut Datagrams<'_>, DatagramEvent<'_>) + 'static,
    ) -> EventId {
        let logging = move |ctx: &mut Context<Log>, socket: &mut Datagrams<'_>, event: DatagramEvent<'_>| {
            match event {
                DatagramEvent::Received(batch) => {
                    ctx.data().extend(batch.map(|message| (mark, Told::Received(message.bytes().to_vec()))));
                }
                DatagramEvent::Error { errno, to } => ctx.data().push((mark, Told::Error(errno.0, to))),
                DatagramEvent::Unsent { errno, to, messages } => {
                    ctx.data().push((mark, Told::Unsent(errno.0, to, messages)));
                }
                DatagramEvent::Writable => ctx.data().push((mark, Told::Writable)),
            }
            handler(ctx, socket, event);
        };
        self.event_loop.datagrams(socket, options, logging).expect("a socket")
    }

    /// A socket that only listens.
    pub fn listen(&mut self, mark: u32) -> (EventId, Address) {
        self.serve(mark, DatagramOptions::new(), |_, _, _| {})
    }

    /// A socket that sends everything back.
    pub fn echo(&mut self, mark: u32) -> (EventId, Address) {
        self.serve(mark, DatagramOptions::new(), |_, socket, event| {
            if let DatagramEvent::Received(batch) = event {
                for message in batch {
                    socket.reply(&message, message.bytes()).expect("room");
                }
            }
        })
    }

    pub fn with<R>(&mut self, id: EventId, work: impl FnOnce(&mut Datagrams<'_>) -> R) -> R {
        self.event_loop.with_datagrams(id, |_, socket| work(socket)).expect("it is there")
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

    /// What was told under `mark`.
    pub fn told(&mut self, mark: u32) -> Vec<Told> {
        self.event_loop.data().iter().filter(|(of, _)| *of == mark).map(|(_, told)| told.clone()).collect()
    }

    /// The messages among it.
    pub fn received(&mut self, mark: u32) -> Vec<Vec<u8>> {
        let told = self.told(mark).into_iter();
        told.filter_map(|told| if let Told::Received(bytes) = told { Some(bytes) } else { None }).collect()
    }

    pub fn is_unix(&self) -> bool {
        matches!(self.world, World::Unix(_))
    }
    pub fn is_sim(&self) -> bool {
        matches!(self.world, World::Sim(_))
    }
}

pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}
