//! What the kernel is asked for the lanes, and what it answers.

use super::*;

impl Lanes {
    // Requests to be pushed, one after the other; that it was pushed is said before the next one is asked for.

    pub(in super::super) fn next_cancel(&mut self) -> Option<squeue::Entry> {
        let data = *self.cancels.last()?;
        Some(opcode::AsyncCancel::new(data).build().flags(squeue::Flags::SKIP_SUCCESS))
    }

    pub(in super::super) fn cancel_pushed(&mut self) {
        self.cancels.pop();
    }

    /// A receive for the next lane that wants one.
    pub(in super::super) fn next_receive(&mut self) -> Option<squeue::Entry> {
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

    pub(in super::super) fn receive_pushed(&mut self) {
        if let Some(&fd) = self.queue.last() {
            self.all[fd as usize].receive = Receive::Armed;
        }
        self.receive_passed();
    }

    /// A send, the next one that is queued.
    pub(in super::super) fn next_send(&mut self) -> Option<(u32, squeue::Entry)> {
        let (at, entry) = self.sends.next()?;
        Some((at, entry.user_data(SEND | LANE | u64::from(at))))
    }

    pub(in super::super) fn send_pushed(&mut self, at: u32) {
        self.sends.sent(at);
        self.counters.sent += 1;
    }

    /// Takes a completion: whose poll may have to change, if anybody's.
    pub(in super::super) fn take(&mut self, completion: &cqueue::Entry) -> Option<RawFd> {
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

    /// Has everything taken back: to be flushed, until `is_quiet`.
    pub(in super::super) fn cancel_all(&mut self) {
        for fd in 0..self.all.len() {
            let lane = &mut self.all[fd];
            if lane.receive == Receive::Armed {
                lane.receive = Receive::Cancelling;
                self.cancels.push(receive_data(fd as RawFd, lane.arming));
            }
        }
    }

    pub(in super::super) fn is_quiet(&self) -> bool {
        self.sends.pushed() == 0 && self.all.iter().all(|lane| lane.receive == Receive::Idle)
    }

    /// Before the ring is closed: the kernel gives the buffers back, or they are leaked.
    pub(in super::super) fn unregister(&mut self, ring: &IoUring) {
        if let Some(mut buffers) = self.buffers.take()
            && !buffers.unregister(ring)
        {
            log::warn!("io_uring: the receive buffers could not be taken back and are leaked");
        }
    }

    /// The ring was opened anew. What came before is kept; the requests are nobody's any more.
    pub(in super::super) fn start_anew(&mut self, ring: &IoUring) {
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
}
