//! Streams whose bytes the ring moves: a multishot receive into provided buffers, and [`sends`](super::sends).
//!
//! Traps:
//! (k) A receive holds its file and goes on taking bytes until its cancellation is through. What it brought before
//!     that is the stream's, and comes before whatever is read in another way: nobody reads the socket as long as the
//!     kernel has a receive.
//! (l) Whoever does not take all that came would have it pile up here instead of in the socket, where the peer is held
//!     up by it. So a stream that leaves some when the next wait begins is told readiness for a while, and reads for
//!     itself; so does one that never takes much ([`duolu_core::Transfers::adopt`]'s `bounded`).
//! (m) A send that fails is told only when the kernel has no receive any more: then all that came before the break is
//!     here or in the socket, and the stream can read it first.
//! (n) All buffers come back when the next wait begins: what nobody has taken by then is copied.
//! (o) A request names its file by number when it is handed over. So sends and receives are pushed within `wait` only,
//!     and no callback, which could close and open files, runs before they are handed over.
//!
//! Reading order: this file is what is known of a stream and what is told of it; `requests` what the kernel is asked and
//! answers; `bytes` what the stream takes and gives.

mod bytes;
mod requests;

use super::sends::{self, Sends, State};
use crate::completion::buffers::{Buffers, GROUP, Shape};
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::completion::Chunk;
use duolu_core::stream::{Moved, Then};
use duolu_core::{Errno, Interest, Ready, Report, Token, TransferCounters};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::os::fd::RawFd;

/// In the user data of all that is here. Numbers of descriptors are below it.
pub(super) const LANE: u64 = 1 << 31;
const SEND: u64 = 1 << 63;

/// Buffers that are used up piece by piece (Linux 6.12), and others.
const LARGE: Shape = Shape { size: 64 * 1024, first: 8, most: 64 };
const SMALL: Shape = Shape { size: 4 * 1024, first: 128, most: 1024 };

/// Trap (l): so many times it reads for itself before it is received for again.
const WHILE: u8 = 64;
const ALWAYS: u8 = u8::MAX;

const NONE: u32 = u32::MAX;
/// `Lane::end`: it goes on.
const OPEN: i32 = -1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receive {
    Idle,
    Armed,
    Cancelling,
}

#[derive(Debug)]
struct Lane {
    /// 0: nobody's.
    owner: u64,
    token: Token,
    /// What the brain watches for.
    interest: Interest,
    /// What of that readiness must tell: asked of the slot with the lane's number.
    polled: Interest,
    receive: Receive,
    /// Tells a receive from an earlier one of the same number.
    arming: u32,
    /// Trap (l): while it is not 0 the stream reads for itself.
    by_itself: u8,
    /// What came and was not taken: first `kept`, then the pieces from here on.
    first: u32,
    last: u32,
    kept: Option<Box<Buffer>>,
    /// `OPEN`, 0 for the end of file, or an errno.
    end: i32,
    send: u32,
    /// What became of the send was told.
    told: bool,
    /// Wait until the kernel takes bytes again.
    full: bool,
    due: bool,
    queued: bool,
}

const _: () = assert!(size_of::<Lane>() <= 72);

impl Lane {
    const EMPTY: Lane = Lane {
        owner: 0,
        token: Token::from_bits(0),
        interest: Interest::NONE,
        polled: Interest::NONE,
        receive: Receive::Idle,
        arming: 0,
        by_itself: 0,
        first: NONE,
        last: NONE,
        kept: None,
        end: OPEN,
        send: sends::NONE,
        told: false,
        full: false,
        due: false,
        queued: false,
    };

    fn has_input(&self) -> bool {
        self.first != NONE || self.kept.is_some() || self.end != OPEN
    }

    fn wants_receive(&self, failed: bool) -> bool {
        self.owner != 0
            && self.interest.contains(Interest::READ)
            && self.receive == Receive::Idle
            && self.by_itself == 0
            && !self.has_input()
            && !failed
    }
}

/// A part of a provided buffer that nobody has taken yet.
#[derive(Debug)]
struct Piece {
    fd: RawFd,
    chunk: Chunk,
    taken: u32,
    next: u32,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Lanes {
    /// By the descriptor's number.
    all: Vec<Lane>,
    buffers: Option<Buffers>,
    pieces: Vec<Piece>,
    /// Pieces that are not taken.
    untaken: usize,
    pub(super) sends: Sends,
    /// Lanes to be received for, if they still want it.
    queue: Vec<RawFd>,
    /// Receives to be taken back.
    cancels: Vec<u64>,
    /// Lanes with something to report.
    due: Vec<RawFd>,
    /// More buffers were offered in this turn: once is enough for all that found none.
    grew: bool,
    counters: TransferCounters,
}

fn receive_data(fd: RawFd, arming: u32) -> u64 {
    u64::from(arming & 0x7fff_ffff) << 32 | LANE | fd as u64
}

impl Lanes {
    pub(super) fn new(ring: &IoUring) -> Result<Self, Errno> {
        Ok(Lanes {
            all: Vec::new(),
            buffers: Some(Buffers::register(ring, LARGE, SMALL, true)?),
            pieces: Vec::new(),
            untaken: 0,
            sends: Sends::default(),
            queue: Vec::new(),
            cancels: Vec::new(),
            due: Vec::new(),
            grew: false,
            counters: TransferCounters::default(),
        })
    }

    fn lane(&mut self, fd: RawFd) -> Option<&mut Lane> {
        self.all.get_mut(usize::try_from(fd).ok()?).filter(|lane| lane.owner != 0)
    }

    /// Whether the brain's changes for this number come here.
    pub(super) fn has(&self, fd: RawFd) -> bool {
        usize::try_from(fd).ok().and_then(|at| self.all.get(at)).is_some_and(|lane| lane.owner != 0)
    }

    pub(super) fn adopt(&mut self, fd: RawFd, owner: u64, bounded: bool, token: Token, interest: Interest) {
        let Ok(at) = usize::try_from(fd) else { return };
        if at >= self.all.len() {
            // Growing by itself then says that there is no memory.
            let _ = duolu_core::reserve_table(&mut self.all, at + 1);
            self.all.resize_with(at + 1, || Lane::EMPTY);
        }
        let by_itself = if bounded || self.buffers.is_none() { ALWAYS } else { 0 };
        let owner = owner.max(1);
        self.release(fd, self.all[at].owner);
        let Lane { arming, queued, due, .. } = self.all[at];
        self.all[at] = Lane { owner, token, interest, by_itself, arming, queued, due, ..Lane::EMPTY };
        self.counters.adopted += 1;
        self.enqueue(fd);
    }

    /// What the brain still watches for there, with whose token. `None`: it was not the owner's.
    pub(super) fn release(&mut self, fd: RawFd, owner: u64) -> Option<(Token, Interest)> {
        let lane = self.lane(fd).filter(|lane| lane.owner == owner.max(1))?;
        let watched = (lane.token, lane.interest);
        let (arming, armed, send) = (lane.arming, lane.receive == Receive::Armed, lane.send);
        let (due, queued, mut at) = (lane.due, lane.queued, lane.first);
        *lane = Lane { arming: arming.wrapping_add(1), due, queued, ..Lane::EMPTY };
        if armed {
            self.cancels.push(receive_data(fd, arming));
        }
        while at != NONE {
            let piece = &mut self.pieces[at as usize];
            piece.taken = piece.chunk.len();
            self.untaken -= 1;
            at = piece.next;
        }
        self.sends.leave(send);
        self.counters.adopted -= 1;
        Some(watched)
    }

    /// What the brain watches for from now on. True where the slot's poll is not for this token.
    pub(super) fn watch(&mut self, fd: RawFd, token: Token, interest: Interest) -> bool {
        let Some(lane) = self.lane(fd) else { return false };
        let renamed = lane.token != token && !lane.polled.is_empty();
        if renamed {
            lane.polled = Interest::NONE;
        }
        (lane.token, lane.interest, lane.told) = (token, interest, false);
        let (arming, reads) = (lane.arming, interest.contains(Interest::READ));
        if !reads && lane.receive == Receive::Armed {
            lane.receive = Receive::Cancelling;
            self.cancels.push(receive_data(fd, arming));
            self.counters.cancelled += 1;
        }
        self.enqueue(fd);
        self.note_due(fd);
        renamed
    }

    /// What readiness must tell of a lane, where that has changed.
    pub(super) fn repoll(&mut self, fd: RawFd) -> Option<(Token, Interest)> {
        let lane = self.lane(fd)?;
        let mut wanted = Interest::NONE;
        if lane.by_itself > 0 && lane.receive == Receive::Idle && !lane.has_input() {
            wanted |= Interest::READ;
        }
        if lane.full && lane.send == sends::NONE {
            wanted |= Interest::WRITE;
        }
        wanted = wanted & lane.interest;
        if wanted == lane.polled {
            return None;
        }
        lane.polled = wanted;
        Some((lane.token, wanted))
    }

    fn enqueue(&mut self, fd: RawFd) {
        let lane = &mut self.all[fd as usize];
        if !lane.queued {
            lane.queued = true;
            self.queue.push(fd);
        }
    }

    fn has_failed(&self, lane: &Lane) -> bool {
        matches!(self.sends.state(lane.send), State::Done(Err(_)))
    }

    /// What there is to report of a lane.
    fn ready(&self, fd: RawFd) -> Ready {
        let lane = &self.all[fd as usize];
        let mut ready = Ready::NONE;
        if lane.owner == 0 {
            return ready;
        }
        if lane.has_input() && lane.interest.contains(Interest::READ) {
            ready |= Ready::READ;
        }
        let decided = match self.sends.state(lane.send) {
            State::Done(Ok(_)) => true,
            State::Done(Err(_)) => lane.receive == Receive::Idle, // trap (m)
            _ => false,
        };
        if decided && !lane.told && lane.interest.contains(Interest::WRITE) {
            ready |= Ready::WRITE;
        }
        ready
    }

    fn note_due(&mut self, fd: RawFd) {
        if !self.all[fd as usize].due && !self.ready(fd).is_empty() {
            self.all[fd as usize].due = true;
            self.due.push(fd);
        }
    }

    /// Whether something is to be reported, without a sleep.
    pub(super) fn are_due(&mut self) -> bool {
        if self.due.is_empty() {
            return false;
        }
        let mut due = std::mem::take(&mut self.due);
        due.retain(|&fd| {
            let still = !self.ready(fd).is_empty();
            self.all[fd as usize].due = still;
            still
        });
        self.due = due;
        !self.due.is_empty()
    }

    /// Reports what is due. What lasts is reported again by the next wait; what became of a send is told once.
    pub(super) fn report(&mut self, reports: &mut Vec<Report>) {
        for at in 0..self.due.len() {
            let fd = self.due[at];
            let ready = self.ready(fd);
            if !ready.is_empty() {
                let lane = &mut self.all[fd as usize];
                lane.told |= ready.contains(Ready::WRITE);
                reports.push(Report { token: lane.token, ready });
            }
        }
    }

    /// The descriptors of all streams.
    pub(super) fn adopted(&self) -> Vec<RawFd> {
        (0..self.all.len() as RawFd).filter(|&fd| self.has(fd)).collect()
    }

    /// The brain adds again whatever it watches.
    pub(super) fn unwatch_all(&mut self) {
        for lane in &mut self.all {
            (lane.interest, lane.polled) = (Interest::NONE, Interest::NONE);
        }
    }

    pub(super) fn counters(&self) -> TransferCounters {
        let (buffers, free) = self.buffers.as_ref().map_or((0, 0), Buffers::counts);
        TransferCounters {
            buffers: buffers.into(),
            buffers_free: free.into(),
            sending: self.sends.pushed(),
            ..self.counters
        }
    }
}
