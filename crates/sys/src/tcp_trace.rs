//! Every change of state of every TCP socket, as the kernel makes it: the tracepoint `sock:inet_sock_set_state`
//! (Linux 4.16).
//!
//! Traps:
//! (a) TIME-WAIT never shows: the socket goes from FIN-WAIT-2 (or CLOSING) to CLOSE, and something smaller, which
//!     changes its state in silence, stays in its place. So does FIN-WAIT-2 of a socket that is closed already.
//! (b) Nor does SYN-RECEIVED while the handshake lasts: that is a request, not yet a socket. LISTEN -> SYN-RECEIVED
//!     and SYN-RECEIVED -> ESTABLISHED come together, when the last ACK has arrived.
//! (c) On CLOSE -> SYN-SENT the local port is still 0: connect(2) chooses it afterwards.
//! (d) It comes from all network namespaces, and does not say from which.
//! (e) Each processor has a ring of its own, and while one is read another is written to: the newest changes are held
//!     back for a moment, or a connection's two ends would be told in the wrong order now and then.
//! (f) Where the change was made by a segment that arrived, the process is whoever happened to be interrupted; only
//!     outside of interrupts is it the one that called.
//! (g) Seen on Linux 6.18: while other events on the tracepoint are opened and closed, a change that a timer makes on an
//!     idle processor (a delayed ACK) is now and then not told, and no record says that it was lost.

use crate::clock::MonotonicClock;
use crate::tcp_diag::TcpState;
use crate::tracepoint::{Field, Record, Sample, Thread, Tracepoint, TracepointError};
use duolu_core::Clock;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A socket has changed its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transition {
    /// Tells sockets apart as long as they live; a later one may have the same.
    pub socket: u64,
    /// Its state before.
    pub old: TcpState,
    /// Its state from now on; another one.
    pub new: TcpState,
    /// An IPv4 address where it is one, also on an IPv6 socket.
    pub local: SocketAddr,
    /// As above.
    pub remote: SocketAddr,
    /// The process, or 0: trap (f).
    pub pid: u32,
    /// Its thread, or 0.
    pub tid: u32,
    /// A segment or a timer made the change, not a call: trap (f).
    pub interrupt: bool,
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
}

/// What the kernel tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told<'a> {
    /// Which network namespace a thread has been started in, or has moved to; against trap (d), also for threads that
    /// are gone before anybody can look into /proc. Of threads that were there before nothing is told, nor on kernels
    /// before 4.12.
    Thread(Thread),
    /// A socket has changed its state.
    Change(&'a Transition),
}

/// What could not be handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Missed {
    /// Changes that the kernel dropped because nobody fetched them in time.
    pub lost: u64,
    /// Changes from or to a state that this program does not know.
    pub unknown: u64,
}

/// The open tracepoint.
#[derive(Debug)]
pub struct TcpTrace {
    tracepoint: Tracepoint,
    fields: Fields,
    pending: Vec<Transition>,
}

#[derive(Debug)]
struct Fields {
    flags: Field,
    socket: Field,
    old: Field,
    new: Field,
    sport: Field,
    dport: Field,
    family: Field,
    addresses4: [Field; 2],
    addresses6: [Field; 2],
}

impl TcpTrace {
    /// Opens it. With `port` only sockets that have this port at either end are seen, and those that have none yet.
    ///
    /// # Errors
    /// See [`Tracepoint::open`].
    pub fn open(port: Option<u16>) -> Result<Self, TracepointError> {
        /// Room for a tenth of a second of 40,000 connections a second, each with a dozen changes of 100 bytes.
        const BYTES: usize = 4 << 20;
        const TCP: i32 = libc::IPPROTO_TCP;
        let filter = match port {
            // Trap (c).
            Some(port) => format!("protocol == {TCP} && (sport == {port} || dport == {port} || sport == 0)"),
            None => format!("protocol == {TCP}"),
        };
        let tracepoint = Tracepoint::open("sock", "inet_sock_set_state", &filter, BYTES)?;
        let fields = Fields::of(&tracepoint).ok_or_else(|| {
            TracepointError::Unknown("sock:inet_sock_set_state with the fields we know".into())
        })?;
        Ok(TcpTrace { tracepoint, fields, pending: Vec::new() })
    }

    /// Sleeps until there is much to fetch, `also` is readable, or the time is over.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn wait(&self, also: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
        self.tracepoint.wait(also, timeout)
    }

    /// Hands out what has come since the last time, threads first, then changes, oldest first; those of the last
    /// millisecond the next time (trap (e)). Changes without change (CLOSE -> CLOSE) are left out.
    pub fn drain(&mut self, mut each: impl FnMut(Told<'_>)) -> Missed {
        /// From taking the time to having written the sample, a processor needs some microseconds.
        const HELD_NS: u64 = 1_000_000;
        let (fields, pending) = (&self.fields, &mut self.pending);
        let mut unknown = 0;
        let until = MonotonicClock.now().as_nanos().saturating_sub(HELD_NS);
        let lost = self.tracepoint.drain(|record| match record {
            Record::Thread(thread) => each(Told::Thread(thread)),
            Record::Sample(sample) => match fields.read(sample) {
                Some(change) if change.old != change.new => pending.push(change),
                Some(_) => {}
                None => unknown += 1,
            },
        });
        // Stable: what one processor saw in one nanosecond stays in its order.
        pending.sort_by_key(|change| change.time_ns);
        let old = pending.partition_point(|change| change.time_ns <= until);
        pending.drain(..old).for_each(|change| each(Told::Change(&change)));
        Missed { lost, unknown }
    }
}

impl Fields {
    fn of(tracepoint: &Tracepoint) -> Option<Self> {
        let field = |name| tracepoint.field(name).cloned();
        Some(Fields {
            flags: field("common_flags")?,
            socket: field("skaddr")?,
            old: field("oldstate")?,
            new: field("newstate")?,
            sport: field("sport")?,
            dport: field("dport")?,
            family: field("family")?,
            addresses4: [field("saddr")?, field("daddr")?],
            addresses6: [field("saddr_v6")?, field("daddr_v6")?],
        })
    }

    fn read(&self, sample: Sample<'_>) -> Option<Transition> {
        /// TRACE_FLAG_HARDIRQ and TRACE_FLAG_SOFTIRQ.
        const INTERRUPT: u64 = 0x08 | 0x10;
        let raw = sample.raw;
        let six = self.family.number(raw) == libc::AF_INET6 as u64;
        let address = |end: usize| match six {
            true => IpAddr::V6(Ipv6Addr::from(array::<16>(self.addresses6[end].bytes(raw)))).to_canonical(),
            false => IpAddr::V4(Ipv4Addr::from(array::<4>(self.addresses4[end].bytes(raw)))),
        };
        let state = |field: &Field| TcpState::from_raw(u8::try_from(field.number(raw)).ok()?);
        Some(Transition {
            socket: self.socket.number(raw),
            old: state(&self.old)?,
            new: state(&self.new)?,
            local: SocketAddr::new(address(0), self.sport.number(raw) as u16),
            remote: SocketAddr::new(address(1), self.dport.number(raw) as u16),
            pid: sample.pid,
            tid: sample.tid,
            interrupt: self.flags.number(raw) & INTERRUPT != 0,
            time_ns: sample.time_ns,
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}
