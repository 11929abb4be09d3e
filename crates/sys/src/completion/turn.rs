//! A turn: hand over, sleep, sort out what has happened.

use super::Uring;
use super::accept::more;
use super::conns::{Held, NONE, Undecided};
use super::ring::Woken;
use super::tags::{Op, Tag};
use duolu_core::Errno;
use duolu_core::completion::{ConnId, Report};
use io_uring::cqueue;
use std::time::{Duration, Instant};

impl Uring {
    pub(super) fn run_turn(&mut self, timeout_ns: Option<u64>) -> Result<(), Errno> {
        if self.ring.forked() {
            return self.ring.broken().map_or(Ok(()), Err);
        }
        let deadline = timeout_ns
            .filter(|&ns| ns > 0)
            .and_then(|ns| Instant::now().checked_add(Duration::from_nanos(ns)));
        let mut look_only = timeout_ns == Some(0);
        loop {
            // Do not sleep on what can go on only after this submission: a connection without a buffer, a close
            // or shutdown that must follow the output, a receive that was paused until the output is gone. (A
            // send that goes well wakes nobody.)
            let follows = self.flush();
            // After the closes, which make room.
            self.retry_listeners();
            let hurry = follows || !self.starved.is_empty();
            let sleep = self.sleep_limit(deadline);
            let woken = self.ring.enter(!hurry && !look_only, sleep)?;
            self.collect(true)?;
            let expired = look_only || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let interrupted = woken == Woken::Early && self.listeners.next_try().is_none();
            if !self.inbox.is_empty() || self.woken || (!hurry && (interrupted || expired)) {
                return Ok(());
            }
            // Once more for what had to wait for the submission, without a sleep where none was asked for.
            look_only = look_only || expired;
        }
    }

    /// How long to sleep: until the deadline, or until a listener is to be tried again.
    fn sleep_limit(&self, deadline: Option<Instant>) -> Option<u64> {
        let first = match (deadline, self.listeners.next_try()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let left = first.map(|first| first.saturating_duration_since(Instant::now()));
        left.map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX).max(1))
    }

    /// Hands over what this turn has sent so far, without a sleep and without taking back what is lent.
    pub(super) fn hand_over(&mut self) {
        if self.ring.forked() {
            return;
        }
        self.flush();
        if self.ring.submit().is_ok() {
            // An error shows again in `wait`.
            let _ = self.collect(false);
        }
    }

    /// Puts this turn's output into the queue, and the shutdowns and closes that wait for nothing. Says whether
    /// something is to follow once this output is decided.
    fn flush(&mut self) -> bool {
        let mut follows = false;
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            conn.dirty = false;
            let ends = conn.shut || conn.closing;
            let tag = Tag::of(Op::Send, id);
            if let Some(piece) = self.outbox.piece(conn.first) {
                conn.undecided = Undecided::Pieces;
                if piece.next == NONE {
                    // SAFETY: the piece lies in a buffer lent in this turn, in the outbox's copies, or lives
                    // for ever; none of that changes before `collect`, which runs after the submission. If
                    // the kernel refuses the submission, the ring is never entered again.
                    unsafe { self.ring.send(piece.start.as_ptr(), piece.len, tag) };
                } else {
                    let header = self.outbox.gather(conn.first);
                    // SAFETY: as above; the header lives in the outbox too.
                    unsafe { self.ring.send_gathered(header, tag) };
                }
            } else if let (true, Some(held)) = (conn.writable, &conn.held) {
                conn.undecided = Undecided::Held;
                conn.writable = false;
                follows = true;
                let rest = held.rest();
                let len = u32::try_from(rest.len()).unwrap_or(i32::MAX as u32).min(i32::MAX as u32);
                // SAFETY: nothing is appended to or taken from what is held before `collect`; otherwise as above.
                unsafe { self.ring.send(rest.as_ptr(), len, tag) };
            } else {
                if ends && !conn.has_output() {
                    self.finish(id);
                }
                continue;
            }
            self.submitted.push(id);
            follows |= ends;
        }
        self.dirty = dirty;
        follows
    }

    /// Sorts out the completions: first the sends, whose memory may then go, then, in a new turn, the rest.
    fn collect(&mut self, new_turn: bool) -> Result<(), Errno> {
        let mut batch = std::mem::take(&mut self.batch);
        let result = self.ring.completions(&mut batch);
        self.again |= !batch.is_empty();
        for entry in &batch {
            let tag = Tag(entry.user_data());
            if tag.op() == Some(Op::Send) {
                self.send_done(tag.conn(), entry.result());
            }
        }
        self.settle();
        if new_turn {
            self.turn = self.turn.wrapping_add(1);
            self.buffers.end_turn();
            self.grew = false;
            self.feed_starved();
        }
        for entry in &batch {
            self.completed(entry);
        }
        batch.clear();
        self.batch = batch;
        result
    }

    fn completed(&mut self, entry: &cqueue::Entry) {
        let (tag, result) = (Tag(entry.user_data()), entry.result());
        match tag.op() {
            Some(Op::Receive) => self.receive_done(tag, entry),
            Some(Op::Writable) => {
                if let Some(conn) = self.conns.get_mut(tag.conn()) {
                    (conn.waiting, conn.writable) = (false, true);
                    self.mark_dirty(tag.conn());
                }
            }
            Some(Op::Connect) => self.connect_done(tag.conn(), result),
            Some(Op::Accept) => self.accept_done(tag, result, more(entry)),
            Some(Op::AcceptReady) => self.accept_ready(tag),
            Some(Op::Watch) => self.watch_done(tag, result, more(entry)),
            Some(Op::Close) if result < 0 => {
                log::error!("io_uring: closing slot {} failed: {:?}", tag.slot(), Errno(-result));
            }
            // A send is sorted out already. A cancel that found nothing came too late, and a shutdown
            // that failed found the connection gone: whatever there is to say comes with the receive.
            Some(Op::Send | Op::Close | Op::Cancel | Op::Shutdown) | None => {}
        }
    }

    #[inline]
    fn receive_done(&mut self, tag: Tag, entry: &cqueue::Entry) {
        let (id, result, flags) = (tag.conn(), entry.result(), entry.flags());
        // A buffer is to be accounted for whoever it was for.
        let chunk = cqueue::buffer_select(flags).and_then(|buffer| {
            self.buffers.take(buffer, result.max(0) as u32, cqueue::buffer_more(flags), self.turn)
        });
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !cqueue::more(flags) {
            (conn.armed, conn.cancelling) = (false, false);
        }
        match (result, chunk) {
            (1.., Some(chunk)) => {
                self.counters.received_bytes += result as u64;
                if conn.note(result as u32, self.turn) {
                    conn.cancelling = true;
                    self.ring.cancel(Tag::of(Op::Receive, id));
                }
                if conn.usable() {
                    self.inbox.push_back(Report::Received { conn: id, chunk });
                }
            }
            (1.., None) => {
                log::error!("io_uring: received bytes without a buffer");
                self.fail(id, Errno(libc::EIO));
                return;
            }
            (0, _) => {
                conn.finished = true;
                if conn.usable() {
                    self.inbox.push_back(Report::PeerFinished { conn: id });
                }
            }
            (..0, _) => match -result {
                libc::ENOBUFS => {
                    self.counters.no_buffers += 1;
                    // More buffers, or else wait for those that are lent.
                    self.grew = self.grew || self.buffers.grow();
                    if !self.grew {
                        self.starved.push(id);
                        return;
                    }
                }
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                errno => {
                    self.fail(id, Errno(errno));
                    return;
                }
            },
        }
        if !cqueue::more(flags) {
            self.arm(id);
        }
    }

    /// Receives again where buffers were missing; all of them have come back by now.
    fn feed_starved(&mut self) {
        let mut starved = std::mem::take(&mut self.starved);
        for id in starved.drain(..) {
            self.arm(id);
        }
        self.starved = starved;
    }

    /// Asks for bytes, unless that is asked already or not wanted now.
    pub(super) fn arm(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.wanted && !conn.armed && !conn.paused && !conn.finished && conn.usable() {
            conn.armed = true;
            let once = conn.bulk;
            self.ring.receive(once, Tag::of(Op::Receive, id));
        }
    }

    /// A send has not gone well, or (where that is not skipped) has.
    fn send_done(&mut self, id: ConnId, result: i32) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let sent = match result {
            0.. => result as u64,
            _ if [libc::EAGAIN, libc::EINTR, libc::ENOBUFS, libc::ENOMEM].contains(&-result) => 0,
            _ => {
                conn.undecided = Undecided::Nothing;
                self.fail(id, Errno(-result));
                return;
            }
        };
        match conn.undecided {
            Undecided::Pieces => {
                let (bytes, whole) = self.outbox.chain_len(conn.first);
                if sent < bytes || !whole {
                    self.hold_back(id, sent);
                }
            }
            Undecided::Held => {
                let Some(held) = &mut conn.held else { return };
                self.counters.sent_bytes += sent.min(held.len() as u64);
                held.advance(sent as usize);
                if held.len() > 0 {
                    conn.undecided = Undecided::Nothing;
                    self.wait_writable(id);
                    self.relieve(id);
                }
            }
            Undecided::Nothing => {}
        }
    }

    /// All sends that nobody complained of have gone well.
    fn settle(&mut self) {
        let mut submitted = std::mem::take(&mut self.submitted);
        for id in submitted.drain(..) {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            match std::mem::replace(&mut conn.undecided, Undecided::Nothing) {
                Undecided::Pieces => {
                    let (bytes, whole) = self.outbox.chain_len(conn.first);
                    if !whole {
                        self.hold_back(id, bytes);
                        continue;
                    }
                    self.counters.sent_bytes += bytes;
                    (conn.first, conn.last) = (NONE, NONE);
                }
                Undecided::Held => {
                    self.counters.sent_bytes += conn.held_len() as u64;
                    conn.held = None;
                    if conn.usable() {
                        self.inbox.push_back(Report::Drained { conn: id });
                    }
                    self.relieve(id);
                }
                Undecided::Nothing => continue,
            }
            let Some(conn) = self.conns.get(id) else { continue };
            if (conn.shut || conn.closing) && !conn.has_output() {
                self.finish(id);
            }
        }
        self.submitted = submitted;
        self.outbox.clear();
    }

    /// The kernel took the first `sent` bytes of this turn's pieces: copy the rest, their memory goes.
    fn hold_back(&mut self, id: ConnId, sent: u64) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.undecided = Undecided::Nothing;
        // From its next receive on, a buffer a turn: it may have to be held back too.
        (conn.bulk, conn.small) = (true, 0);
        let first = std::mem::replace(&mut conn.first, NONE);
        conn.last = NONE;
        self.counters.held_back += 1;
        self.counters.sent_bytes += sent;
        let held = conn.held.get_or_insert_with(|| Box::new(Held::default()));
        // SAFETY: called before `settle` clears the outbox and before the buffers' turn ends.
        unsafe { self.outbox.after(first, sent, |part| held.append(part)) };
        self.wait_writable(id);
        self.restrain(id);
    }

    fn wait_writable(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !std::mem::replace(&mut conn.waiting, true) {
            self.ring.writable(Tag::of(Op::Writable, id));
        }
    }

    /// Receives no more from a peer that does not read.
    pub(super) fn restrain(&mut self, id: ConnId) {
        let limit = self.config.max_held_bytes;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.held_len() <= limit || conn.paused {
            return;
        }
        conn.paused = true;
        self.counters.pauses += 1;
        if conn.armed && !conn.cancelling {
            conn.cancelling = true;
            self.ring.cancel(Tag::of(Op::Receive, id));
        }
    }

    /// The opposite, once half of the limit is gone.
    fn relieve(&mut self, id: ConnId) {
        let limit = self.config.max_held_bytes;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.paused && conn.held_len() <= limit / 2 {
            conn.paused = false;
            self.arm(id);
        }
    }

    /// All is sent: shut or close.
    fn finish(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.closing {
            self.drop_conn(id);
        } else if std::mem::replace(&mut conn.shut, false) {
            self.ring.shutdown(Tag::of(Op::Shutdown, id));
        }
    }

    /// The connection is broken: tell it when its turn in the reports comes.
    pub(super) fn fail(&mut self, id: ConnId, errno: Errno) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.closing {
            self.drop_conn(id);
        } else if !std::mem::replace(&mut conn.failed, true) {
            (conn.first, conn.last, conn.held) = (NONE, NONE, None);
            self.inbox.push_back(Report::Failed { conn: id, errno });
        }
    }

    /// Ends everything the kernel does for this connection, and closes it.
    pub(super) fn drop_conn(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get(id) else { return };
        // Requests hold the socket open: closing alone would not end it.
        if conn.armed && !conn.cancelling {
            self.ring.cancel(Tag::of(Op::Receive, id));
        }
        let conn = self.conns.get(id);
        if conn.is_some_and(|conn| conn.waiting) {
            self.ring.cancel(Tag::of(Op::Writable, id));
        }
        if conn.is_some_and(|conn| conn.connecting) {
            self.ring.cancel(Tag::of(Op::Connect, id));
        }
        self.ring.close(Tag::of(Op::Close, id));
        self.conns.vacate(id);
        self.counters.closed += 1;
    }
}
