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
            duolu_core::reserve_table(&mut self.all, at + 1);
            self.all.resize_with(at + 1, || Lane::EMPTY);
        }
        let by_itself = if bounded || self.buffers.is_none() { ALWAYS } else { 0 };
        let owner = owner.max(1);
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

    /// A wait begins: trap (n). `moved`: lanes whose poll may have to change.
    pub(super) fn begin(&mut self, moved: &mut Vec<RawFd>) {
        if self.pieces.is_empty() {
            return;
        }
        if self.untaken > 0 {
            self.keep_untaken(moved);
        }
        self.pieces.clear();
        self.grew = false;
        if let Some(buffers) = &mut self.buffers {
            buffers.end_turn();
        }
    }

    #[cold]
    fn keep_untaken(&mut self, moved: &mut Vec<RawFd>) {
        // In the order in which they came.
        for piece in self.pieces.iter().filter(|piece| piece.taken < piece.chunk.len()) {
            let lane = &mut self.all[piece.fd as usize];
            if lane.first != NONE {
                (lane.first, lane.last) = (NONE, NONE);
                // Trap (l).
                lane.by_itself = lane.by_itself.max(WHILE);
                if lane.receive == Receive::Armed {
                    lane.receive = Receive::Cancelling;
                    self.cancels.push(receive_data(piece.fd, lane.arming));
                    self.counters.cancelled += 1;
                }
                moved.push(piece.fd);
            }
            let bytes = self.buffers.as_ref().map_or(&[][..], |buffers| buffers.bytes(piece.chunk));
            let bytes = bytes.get(piece.taken as usize..).unwrap_or_default();
            if !bytes.is_empty() && lane.kept.get_or_insert_default().append(bytes).is_err() {
                lane.end = libc::ENOMEM; // a part is lost, so the stream cannot go on
            }
        }
        self.untaken = 0;
    }

    // Requests to be pushed, one after the other; that it was pushed is said before the next one is asked for.

    pub(super) fn next_cancel(&mut self) -> Option<squeue::Entry> {
        let data = *self.cancels.last()?;
        Some(opcode::AsyncCancel::new(data).build().flags(squeue::Flags::SKIP_SUCCESS))
    }

    pub(super) fn cancel_pushed(&mut self) {
        self.cancels.pop();
    }

    /// A receive for the next lane that wants one.
    pub(super) fn next_receive(&mut self) -> Option<squeue::Entry> {
        loop {
            let fd = *self.queue.last()?;
            let lane = &self.all[fd as usize];
            if !lane.wants_receive(self.has_failed(lane)) {
                self.receive_passed();
                continue;
            }
            let entry = opcode::RecvMulti::new(types::Fd(fd), GROUP).build();
            return Some(entry.user_data(receive_data(fd, lane.arming)));
        }
    }

    fn receive_passed(&mut self) {
        if let Some(fd) = self.queue.pop() {
            self.all[fd as usize].queued = false;
        }
    }

    pub(super) fn receive_pushed(&mut self) {
        if let Some(&fd) = self.queue.last() {
            self.all[fd as usize].receive = Receive::Armed;
        }
        self.receive_passed();
    }

    /// A send, the next one that is queued.
    pub(super) fn next_send(&mut self) -> Option<(u32, squeue::Entry)> {
        let (at, entry) = self.sends.next()?;
        Some((at, entry.user_data(SEND | LANE | u64::from(at))))
    }

    pub(super) fn send_pushed(&mut self, at: u32) {
        self.sends.sent(at);
        self.counters.sent += 1;
    }

    /// Takes a completion: whose poll may have to change, if anybody's.
    pub(super) fn take(&mut self, completion: &cqueue::Entry) -> Option<RawFd> {
        let (data, result) = (completion.user_data(), completion.result());
        let number = data & (LANE - 1);
        if data & SEND != 0 {
            let fd = self.sends.done(number as u32, result)?;
            self.sent(fd);
            return None;
        }
        self.received(number as RawFd, (data >> 32) as u32, result, completion.flags())
    }

    fn sent(&mut self, fd: RawFd) {
        let Some(lane) = self.all.get_mut(fd as usize) else { return };
        lane.told = false;
        let data = receive_data(fd, lane.arming);
        if lane.receive == Receive::Armed && matches!(self.sends.state(lane.send), State::Done(Err(_))) {
            lane.receive = Receive::Cancelling; // trap (m)
            self.cancels.push(data);
        }
        self.note_due(fd);
    }

    fn received(&mut self, fd: RawFd, arming: u32, result: i32, flags: u32) -> Option<RawFd> {
        // A buffer is to be accounted for whoever it was for.
        let chunk = match (&mut self.buffers, cqueue::buffer_select(flags)) {
            (Some(buffers), Some(id)) => {
                buffers.take(id, result.max(0) as u32, cqueue::buffer_more(flags), 0)
            }
            _ => None,
        };
        let at = self.pieces.len() as u32;
        if let Some(chunk) = chunk {
            // Even if it is nobody's: it is what `begin` looks at.
            self.pieces.push(Piece { fd, chunk, taken: chunk.len(), next: NONE });
        }
        let lane = self.all.get_mut(fd as usize)?;
        if lane.owner == 0 || lane.arming & 0x7fff_ffff != arming || lane.receive == Receive::Idle {
            return None;
        }
        let over = !cqueue::more(flags);
        if over {
            lane.receive = Receive::Idle;
            lane.arming = lane.arming.wrapping_add(1);
        }
        match (result, chunk) {
            (1.., Some(_)) => {
                self.pieces[at as usize].taken = 0;
                self.untaken += 1;
                match lane.last {
                    NONE => lane.first = at,
                    last => self.pieces[last as usize].next = at,
                }
                lane.last = at;
                self.counters.received += 1;
            }
            (1.., None) => lane.end = libc::EIO,
            (0, _) => lane.end = 0,
            (..0, _) => match -result {
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                libc::ENOBUFS => {
                    self.counters.no_buffers += 1;
                    self.grew = self.grew || self.buffers.as_mut().is_some_and(Buffers::grow);
                }
                errno => lane.end = errno,
            },
        }
        if over {
            self.enqueue(fd);
        }
        self.note_due(fd);
        over.then_some(fd)
    }

    pub(super) fn receive(
        &mut self,
        fd: RawFd,
        input: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
    ) -> Option<Moved> {
        let Lanes { all, pieces, buffers, untaken, .. } = self;
        let lane = all.get_mut(usize::try_from(fd).ok()?).filter(|lane| lane.owner != 0)?;
        let mut left = limit;
        let outcome = lane.take_kept(input, &mut left).and_then(|()| {
            while left > 0 && lane.first != NONE {
                let mut block = pool.take();
                let room = block.bytes().len().min(left);
                let mut filled = 0;
                while filled < room && lane.first != NONE {
                    let piece = &mut pieces[lane.first as usize];
                    let bytes = buffers.as_ref().map_or(&[][..], |buffers| buffers.bytes(piece.chunk));
                    // In a forked child there is nothing: the bytes are the parent's.
                    let bytes = bytes.get(piece.taken as usize..).unwrap_or_default();
                    let part = bytes.len().min(room - filled);
                    block.bytes()[filled..filled + part].copy_from_slice(&bytes[..part]);
                    filled += part;
                    piece.taken += part as u32;
                    if part == bytes.len() {
                        *untaken -= 1;
                        lane.first = piece.next;
                    }
                }
                left -= filled;
                input.append_whole_block(block, filled, pool)?;
            }
            Ok(())
        });
        if lane.first == NONE {
            lane.last = NONE;
        }
        let bytes = limit - left;
        let then = match () {
            _ if outcome.is_err() => Then::Failed(Errno(libc::ENOMEM)),
            _ if lane.first != NONE || lane.kept.is_some() => Then::More,
            // Told alone, so that what came before it is told while the stream still stands.
            _ if lane.end > 0 && bytes > 0 => Then::More,
            _ if lane.end > 0 => Then::Failed(Errno(lane.end)),
            _ if lane.end == 0 => Then::End,
            _ => Then::Blocked,
        };
        let idle = lane.receive == Receive::Idle;
        if idle {
            return self.receive_idle(fd, Moved { bytes, then });
        }
        Some(Moved { bytes, then })
    }

    /// The kernel has no receive: trap (k).
    #[inline(never)]
    fn receive_idle(&mut self, fd: RawFd, moved: Moved) -> Option<Moved> {
        self.enqueue(fd);
        let failed = self.has_failed(&self.all[fd as usize]);
        let lane = &mut self.all[fd as usize];
        match moved {
            Moved { then: Then::Blocked, bytes } if lane.by_itself > 0 || failed => {
                if bytes > 0 {
                    return Some(Moved { bytes, then: Then::More }); // there may be more in the socket
                }
                if lane.by_itself != ALWAYS {
                    lane.by_itself = lane.by_itself.saturating_sub(1);
                }
                self.counters.straight += 1;
                None
            }
            moved => Some(moved),
        }
    }

    pub(super) fn send(
        &mut self,
        fd: RawFd,
        output: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
    ) -> Option<Moved> {
        const BLOCKED: Moved = Moved { bytes: 0, then: Then::Blocked };
        let at = usize::try_from(fd).ok()?;
        let lane = self.all.get_mut(at).filter(|lane| lane.owner != 0)?;
        lane.full = false;
        if lane.send == sends::NONE {
            let Some(send) = self.sends.queue(fd, output, limit) else {
                self.counters.straight += 1;
                return None;
            };
            (lane.send, lane.told) = (send, false);
            return Some(BLOCKED);
        }
        let State::Done(outcome) = self.sends.state(lane.send) else { return Some(BLOCKED) };
        let asked = self.sends.len(lane.send);
        match outcome {
            Err(_) if lane.receive != Receive::Idle => Some(BLOCKED), // trap (m)
            // It stays: nothing is sent any more, and who reads on does so by himself.
            Err(errno) => Some(Moved { bytes: 0, then: Then::Failed(errno) }),
            Ok(bytes) => {
                self.sends.leave(lane.send);
                lane.send = sends::NONE;
                lane.full = bytes < asked;
                if output.drain_into(bytes, pool).is_err() {
                    return Some(Moved { bytes: 0, then: Then::Failed(Errno(libc::EINVAL)) });
                }
                if bytes == asked {
                    return Some(Moved { bytes, then: Then::More });
                }
                output.give_back(pool);
                Some(Moved { bytes, then: Then::Blocked })
            }
        }
    }

    pub(super) fn await_room(&mut self, fd: RawFd) {
        if let Some(lane) = self.lane(fd) {
            lane.full = true;
        }
    }

    /// The ring was opened anew. What came before is kept; the requests are nobody's any more.
    pub(super) fn start_anew(&mut self, ring: &IoUring) {
        self.begin(&mut Vec::new());
        self.cancels.clear();
        let mut told = Vec::new();
        self.sends.lost(|fd| told.push(fd));
        told.into_iter().for_each(|fd| self.sent(fd));
        self.buffers = match Buffers::register(ring, LARGE, SMALL, true) {
            Ok(buffers) => Some(buffers),
            Err(errno) => {
                let why = crate::syscall::describe(errno);
                log::warn!("streams are not received for any more, and read for themselves: {why}");
                None
            }
        };
        for fd in 0..self.all.len() {
            let lane = &mut self.all[fd];
            if lane.owner == 0 {
                continue;
            }
            if self.buffers.is_none() {
                lane.by_itself = ALWAYS;
            }
            (lane.receive, lane.polled) = (Receive::Idle, Interest::NONE);
            lane.arming = lane.arming.wrapping_add(1);
            self.enqueue(fd as RawFd);
            self.note_due(fd as RawFd);
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

    /// Has everything taken back: to be flushed, until `is_quiet`.
    pub(super) fn cancel_all(&mut self) {
        for fd in 0..self.all.len() {
            let lane = &mut self.all[fd];
            if lane.receive == Receive::Armed {
                lane.receive = Receive::Cancelling;
                self.cancels.push(receive_data(fd as RawFd, lane.arming));
            }
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.sends.pushed() == 0 && self.all.iter().all(|lane| lane.receive == Receive::Idle)
    }

    /// Before the ring is closed: the kernel gives the buffers back, or they are leaked.
    pub(super) fn unregister(&mut self, ring: &IoUring) {
        if let Some(mut buffers) = self.buffers.take()
            && !buffers.unregister(ring)
        {
            log::warn!("io_uring: the receive buffers could not be taken back and are leaked");
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

impl Lane {
    fn take_kept(
        &mut self,
        input: &mut Buffer,
        left: &mut usize,
    ) -> Result<(), duolu_core::buffer::BufferError> {
        if let Some(kept) = &mut self.kept {
            *left -= input.take_from(kept, *left)?;
            if kept.is_empty() {
                self.kept = None;
            }
        }
        Ok(())
    }
}
