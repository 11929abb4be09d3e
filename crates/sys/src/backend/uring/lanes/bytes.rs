//! Bytes between the lanes and their streams' buffers.

use super::*;

impl Lanes {
    /// A wait begins: trap (n). `moved`: lanes whose poll may have to change.
    pub(in super::super) fn begin(&mut self, moved: &mut Vec<RawFd>) {
        self.grew = false;
        if self.pieces.is_empty() {
            return;
        }
        if self.untaken > 0 {
            self.keep_untaken(moved);
        }
        self.pieces.clear();
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

    pub(in super::super) fn receive(
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
                // Mostly it is one piece. Many messages are on their way at once, each in its block.
                let next = &pieces[lane.first as usize];
                let alone = next.next == NONE && lane.kept.is_none();
                let mut block =
                    if alone { pool.take_for((next.chunk.len() - next.taken) as usize) } else { pool.take() };
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

    pub(in super::super) fn send(
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

    pub(in super::super) fn await_room(&mut self, fd: RawFd) {
        if let Some(lane) = self.lane(fd) {
            lane.full = true;
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
