//! Bytes: what is read and written, and how long it travels; trap (c) of the [kernel](super).

use super::{Packet, SimKernel};
use crate::end::{Delay, EndKind, FileId};
use crate::errno::{EAGAIN, EBADF, ECONNRESET, EINVAL, EPIPE};
use duolu_core::{Errno, RawFd, Ready};
use std::cmp::Reverse;

impl SimKernel {
    /// Takes up to `max` bytes. `Ok` and empty is the end of the stream.
    pub fn read(&mut self, fd: RawFd, max: usize) -> Result<Vec<u8>, Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        let open = self.open_mut(file);
        match open.kind {
            EndKind::PipeWriter | EndKind::Listener | EndKind::Datagram => return Err(EBADF),
            EndKind::Regular => return Ok(vec![0; max]),
            EndKind::Counter => {
                let count = core::mem::take(&mut open.count);
                self.touch(file, Ready::WRITE);
                return if count == 0 { Err(EAGAIN) } else { Ok(count.to_ne_bytes().to_vec()) };
            }
            EndKind::Stream | EndKind::PipeReader => {}
        }
        if core::mem::take(&mut open.reset_pending) {
            return Err(ECONNRESET);
        }
        let count = max.min(open.inbox.len());
        if count == 0 {
            let ended = open.fin_received || open.peer_gone || open.was_reset;
            return if ended || max == 0 { Ok(Vec::new()) } else { Err(EAGAIN) };
        }
        let bytes = open.inbox.drain(..count).collect();
        if let Some(peer) = open.peer {
            self.touch(peer, Ready::WRITE);
        }
        Ok(bytes)
    }

    /// Sends what fits of `bytes`: how many. EAGAIN where nothing fits.
    pub fn write(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        let open = self.open_mut(file);
        match open.kind {
            EndKind::PipeReader | EndKind::Listener | EndKind::Datagram => return Err(EBADF),
            EndKind::Regular => return Ok(bytes.len()),
            EndKind::Counter => {
                let more = bytes.try_into().map(u64::from_ne_bytes).map_err(|_| EINVAL)?;
                open.count = open.count.checked_add(more).filter(|&c| c < u64::MAX).ok_or(EAGAIN)?;
                open.arrivals += 1;
                self.touch(file, Ready::READ);
                return Ok(8);
            }
            EndKind::Stream | EndKind::PipeWriter => {}
        }
        if core::mem::take(&mut open.reset_pending) {
            return Err(ECONNRESET);
        }
        if open.fin_sent || open.peer_gone || open.was_reset {
            return Err(EPIPE);
        }
        let Some(peer) = open.peer else { return Ok(bytes.len()) }; // closed, but that is still on its way
        let count = bytes.len().min(self.files[&peer].room());
        if count == 0 {
            return if bytes.is_empty() { Ok(0) } else { Err(EAGAIN) };
        }
        self.open_mut(peer).in_flight += count;
        self.send(file, peer, Packet::Bytes(bytes[..count].to_vec()));
        Ok(count)
    }

    /// Adds to an eventfd's count.
    pub fn add_to_counter(&mut self, fd: RawFd, by: u64) -> Result<(), Errno> {
        self.write(fd, &by.to_ne_bytes()).map(|_| ())
    }

    /// Sends FIN: this side will write no more (shutdown SHUT_WR).
    pub fn shutdown_write(&mut self, fd: RawFd) -> Result<(), Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        let open = self.open_mut(file);
        if open.kind != EndKind::Stream {
            return Err(EINVAL);
        }
        if !core::mem::replace(&mut open.fin_sent, true) {
            let peer = open.peer;
            self.touch(file, Ready::NONE);
            if let Some(peer) = peer {
                self.send(file, peer, Packet::Fin);
            }
        }
        Ok(())
    }

    /// Closes `fd` so that the peer gets a reset (SO_LINGER with 0), if it was the last descriptor.
    pub fn close_with_reset(&mut self, fd: RawFd) -> Result<(), Errno> {
        let file = self.file_of(fd)?;
        let open = self.open_mut(file);
        if open.kind == EndKind::Stream && open.references == 1 && open.inbox.is_empty() {
            open.inbox.push_back(0); // trap (c) does the rest
        }
        self.close(fd)
    }

    pub(super) fn arrival_ns(&mut self, delay: Delay, not_before_ns: u64) -> u64 {
        if delay == Delay::default() {
            return self.now_ns;
        }
        let mut travel_ns = self.rng.between(delay.min_ns, delay.max_ns);
        while self.rng.chance(delay.loss_permille.min(900)) {
            travel_ns += 4 * delay.max_ns;
        }
        (self.now_ns + travel_ns).max(not_before_ns)
    }

    fn send(&mut self, from: FileId, to: FileId, packet: Packet) {
        let (delay, last_ns) = (self.files[&from].delay, self.files[&from].last_arrival_ns);
        let at_ns = self.arrival_ns(delay, last_ns);
        self.open_mut(from).last_arrival_ns = at_ns;
        self.send_at(at_ns, to, packet);
    }

    pub(super) fn send_at(&mut self, at_ns: u64, to: FileId, packet: Packet) {
        if at_ns <= self.now_ns {
            self.arrive(to, packet);
        } else {
            let sequence = self.sequence();
            self.flights.push(Reverse((at_ns, sequence, to, packet)));
        }
    }

    pub(super) fn arrive(&mut self, to: FileId, packet: Packet) {
        let Some(open) = self.files.get_mut(&to) else { return };
        open.arrivals += 1;
        let mask = match packet {
            Packet::Bytes(bytes) => {
                open.in_flight -= bytes.len();
                open.inbox.extend(bytes);
                Ready::READ
            }
            Packet::Fin => {
                open.fin_received = true;
                Ready::READ | Ready::PEER_CLOSED | Ready::HANGUP
            }
            Packet::Gone => {
                open.fin_received = true;
                open.peer_gone = true;
                Ready::NONE
            }
            Packet::Reset => {
                open.inbox.clear();
                open.reset_pending = true;
                open.was_reset = true;
                open.peer_gone = true;
                Ready::NONE
            }
            Packet::Datagram { from, bytes } => {
                if open.messages.len() >= open.capacity {
                    return; // the receive buffer is full: nobody is told
                }
                open.messages.push_back((from, bytes));
                Ready::READ
            }
            Packet::Left => {
                open.in_flight -= 1;
                Ready::WRITE
            }
            Packet::Refused => {
                open.refused = true;
                Ready::NONE
            }
        };
        self.touch(to, mask);
    }
}
