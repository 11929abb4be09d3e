//! Datagrams over UDP and Unix sockets: a batch of messages is received with one system call, and what the handler sends goes
//! out with one, when it returns. Counted in `tests/budgets/datagrams.rs`: 32 messages to an echo server cost one recvmmsg(2),
//! one sendmmsg(2), no allocation.
//!
//! ```
//! use duolu::{Context, DatagramEvent, DatagramOptions, Datagrams, EventLoop};
//! use std::net::UdpSocket;
//!
//! let mut event_loop = EventLoop::new()?;
//! let (server, client) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
//! client.connect(server.local_addr()?)?;
//! let echo = |_: &mut Context, socket: &mut Datagrams<'_>, event: DatagramEvent<'_>| {
//!     if let DatagramEvent::Received(batch) = event {
//!         for message in batch {
//!             // Refused where the peer, or the network, takes too little: UDP may lose messages anyway.
//!             let _ = socket.reply(&message, message.bytes());
//!         }
//!     }
//! };
//! event_loop.datagrams(server, DatagramOptions::new(), echo)?;
//! let wait = |ctx: &mut Context, _: &mut Datagrams<'_>, event: DatagramEvent<'_>| {
//!     if let DatagramEvent::Received(mut batch) = event {
//!         assert_eq!(batch.next().map(|message| message.bytes()), Some(&b"many roads"[..]));
//!         ctx.stop();
//!     }
//! };
//! let client = event_loop.datagrams(client, DatagramOptions::new(), wait)?;
//! event_loop.with_datagrams(client, |_, socket| socket.send(b"many roads")).expect("it is there")?;
//! event_loop.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: this file is what a program sees; `options` how a socket is to be used, `transport` what it may be, `drive`
//! what happens when it is ready. The judgement is [`duolu_core::datagram`].

mod drive;
mod options;
mod transport;

use crate::context::Context;
use crate::error::Error;
use drive::State;
use duolu_core::datagram::Report;
use duolu_core::{Errno, EventId};
use duolu_sys::datagram::Outbox;
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::Path;

pub(crate) use drive::{Driven, Rooms};
pub use duolu_core::datagram::{Address, Local, SendRefused, UnixName};
pub use duolu_sys::datagram::{Abilities, Batch, Inbox, Message, SocketOptions};
pub use options::DatagramOptions;
pub use transport::DatagramTransport;

/// What is told of a datagram socket. None of it ends the socket; [`Context::remove`] and [`Datagrams::close`] do.
#[derive(Clone, Copy, Debug)]
pub enum DatagramEvent<'a> {
    /// Messages have come. They are the handler's until it returns.
    Received(Batch<'a>),
    /// A datagram that was sent earlier did not arrive: an ICMP message came back.
    Error {
        /// ECONNREFUSED: nobody listens there. EHOSTUNREACH, ENETUNREACH: no way. EMSGSIZE: too big for the path.
        errno: Errno,
        /// To whom it was; unnamed: the one whom the socket is connected to, or not known
        /// (see [`DatagramOptions::icmp_errors`]).
        to: Address,
    },
    /// Messages are lost because the kernel refused them.
    Unsent {
        /// Why; the same for all of them.
        errno: Errno,
        /// To whom the first was.
        to: Address,
        /// How many.
        messages: u64,
    },
    /// After [`SendRefused::Full`]: half of the send queue is free again.
    Writable,
}

/// A sentence that says what happened and whose fault it may be.
impl fmt::Display for DatagramEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EMSGSIZE: i32 = 90;
        let why = |errno: &Errno| io::Error::from_raw_os_error(errno.0);
        match self {
            DatagramEvent::Received(batch) => write!(f, "{} messages came", batch.len()),
            DatagramEvent::Error { errno, to: Address::Unnamed } => {
                write!(f, "an earlier datagram did not arrive: {}", why(errno))
            }
            DatagramEvent::Error { errno, to } => {
                write!(f, "an earlier datagram to {to} did not arrive: {}", why(errno))
            }
            DatagramEvent::Unsent { errno: Errno(EMSGSIZE), to, messages } => write!(
                f,
                "{messages} datagrams (the first to {to}) were too big for the path and not sent: send smaller ones \
                 (Datagrams::path_mtu)"
            ),
            DatagramEvent::Unsent { errno, to, messages } => {
                write!(f, "{messages} datagrams (the first to {to}) were not sent: {}", why(errno))
            }
            DatagramEvent::Writable => f.write_str("the send queue has room again"),
        }
    }
}

impl From<Report> for DatagramEvent<'_> {
    fn from(report: Report) -> Self {
        match report {
            Report::Error { errno, to } => DatagramEvent::Error { errno, to },
            Report::Unsent { errno, to, messages } => DatagramEvent::Unsent { errno, to, messages },
            Report::Writable => DatagramEvent::Writable,
        }
    }
}

/// A socket as an object: its state, and what to do when something has happened. A closure
/// `FnMut(&mut Context<D>, &mut Datagrams, DatagramEvent)` is one too; both cost the same.
pub trait DatagramHandler<D>: 'static {
    /// `event` has happened. What is sent goes out when this returns, all at once.
    fn event(&mut self, ctx: &mut Context<D>, socket: &mut Datagrams<'_>, event: DatagramEvent<'_>);
}

impl<D, C> DatagramHandler<D> for C
where
    C: FnMut(&mut Context<D>, &mut Datagrams<'_>, DatagramEvent<'_>) + 'static,
{
    #[inline]
    fn event(&mut self, ctx: &mut Context<D>, socket: &mut Datagrams<'_>, event: DatagramEvent<'_>) {
        self(ctx, socket, event)
    }
}

impl<D: 'static> Context<D> {
    /// Receives and sends datagrams by itself, and tells `handler`. The loop owns the socket (a `UdpSocket` or a
    /// `UnixDatagram`, connected or not), makes it nonblocking, and closes it when the event is removed. Allocates once, and
    /// again only where the send queue grows.
    ///
    /// # Errors
    /// `Io` with InvalidInput: no datagram socket, or options that are not for its kind.
    pub fn datagrams<S: DatagramTransport>(
        &mut self,
        socket: S,
        options: DatagramOptions,
        handler: impl DatagramHandler<D>,
    ) -> Result<EventId, Error> {
        self.install_datagrams(socket, options, handler)
    }

    /// Works on a datagram socket from elsewhere than its own callback; what is sent goes out when `work` returns. What there
    /// is to tell is told by the loop later. `None` where there is no such socket, and inside its own callback, which has it
    /// already.
    pub fn with_datagrams<R>(
        &mut self,
        id: EventId,
        work: impl FnOnce(&mut Context<D>, &mut Datagrams<'_>) -> R,
    ) -> Option<R> {
        drive::lend(self, id, work)
    }
}

/// What a socket has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatagramStats {
    /// Messages received; joined datagrams are one ([`DatagramOptions::gro`]).
    pub received: u64,
    /// Those of them that were longer than their place: the rest is lost ([`DatagramOptions::batch`]).
    pub truncated: u64,
    /// Datagrams that the kernel dropped because its receive buffer was full, as far as it has said so: it does with the
    /// datagrams that come after. Read faster, or raise SO_RCVBUF ([`crate::net::set_recv_buffer`]).
    pub overflowed: u64,
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Messages refused with [`SendRefused::Full`].
    pub refused: u64,
    /// Datagrams that the kernel refused, told as `Unsent`.
    pub unsent: u64,
}

/// A datagram socket, as long as one works on it.
pub struct Datagrams<'a> {
    state: &'a mut State,
    socket: &'a dyn DatagramTransport,
    outbox: &'a RefCell<Outbox>,
    id: EventId,
}

impl Datagrams<'_> {
    /// Its id, for [`Context::with_datagrams`] and [`Context::remove`].
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Sends to whom the socket is connected to (connect(2); else the message is told as `Unsent`, with EDESTADDRREQ or
    /// ENOTCONN). It is copied, and goes out with the others when the callback returns, or when the queue is full.
    ///
    /// # Errors
    /// See [`SendRefused`]; nothing of it is sent then.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SendRefused> {
        self.push(Address::Unnamed, None, bytes, 0)
    }

    /// Sends to an address.
    pub fn send_to(&mut self, to: impl Into<Address>, bytes: &[u8]) -> Result<(), SendRefused> {
        self.push(to.into(), None, bytes, 0)
    }

    /// Answers a message: to whom sent it, and from the address that it was sent to where that is known
    /// ([`DatagramOptions::local_address`]). A server that listens on all addresses of a machine with several needs that, or
    /// its answers come from another address than they were asked at.
    pub fn reply(&mut self, message: &Message<'_>, bytes: &[u8]) -> Result<(), SendRefused> {
        self.push(message.from(), message.local(), bytes, 0)
    }

    /// Sends a datagram for each `segment` bytes (the last may be shorter), to an address or ([`Address::Unnamed`]) to whom the
    /// socket is connected to. The kernel cuts them, where it can (UDP_SEGMENT, Linux 4.18), which costs a fraction of
    /// sending them one by one; where it or the device cannot they are sent one by one, and that is remembered.
    pub fn send_segments(
        &mut self,
        to: impl Into<Address>,
        bytes: &[u8],
        segment: usize,
    ) -> Result<(), SendRefused> {
        let to = to.into();
        if segment == 0 { Err(SendRefused::BadSegment) } else { self.push(to, None, bytes, segment) }
    }

    /// The same with everything that can be said: from which of the machine's addresses; `segment` 0: as one datagram.
    pub fn send_from(
        &mut self,
        from: Local,
        to: impl Into<Address>,
        bytes: &[u8],
        segment: usize,
    ) -> Result<(), SendRefused> {
        self.push(to.into(), Some(from), bytes, segment)
    }

    fn push(
        &mut self,
        to: Address,
        from: Option<Local>,
        bytes: &[u8],
        segment: usize,
    ) -> Result<(), SendRefused> {
        self.state.push(self.socket, self.outbox, to, from, bytes, segment)
    }

    /// How many messages wait to be sent.
    pub fn unsent(&self) -> usize {
        self.state.sender.queue().len()
    }

    /// Does not receive for the time being: what comes waits in the kernel's buffer, and what does not fit there is lost.
    pub fn pause(&mut self) {
        self.state.paused = true;
    }
    /// Receives again.
    pub fn resume(&mut self) {
        self.state.paused = false;
    }

    /// Ends it: what waits is sent, then the socket is removed. Nothing more is received or told.
    pub fn close(&mut self) {
        self.state.closing = true;
    }

    /// The largest packet that the path to the connected peer takes, as far as is known: 28 bytes of it are headers with IPv4,
    /// 48 with IPv6.
    ///
    /// # Errors
    /// NotConnected.
    pub fn path_mtu(&self) -> io::Result<usize> {
        self.socket.path_mtu()
    }

    /// What it has done so far.
    pub fn stats(&self) -> DatagramStats {
        self.state.stats()
    }
}

impl fmt::Debug for Datagrams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datagrams {:?}, {} unsent", self.id, self.unsent())
    }
}

/// The address of the Unix socket at `path`.
///
/// # Errors
/// InvalidInput: empty, longer than 107 bytes, or with a NUL inside.
pub fn path_address(path: impl AsRef<Path>) -> io::Result<Address> {
    let path = path.as_ref();
    Address::path(path.as_os_str().as_encoded_bytes()).ok_or_else(|| {
        let message = format!("{} is no path for a socket: 1 to 107 bytes, without NUL", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}
