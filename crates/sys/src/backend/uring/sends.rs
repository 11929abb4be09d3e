//! Bytes on their way out: copies in memory of the hands' own, one send at a time for each stream.
//!
//! Who owns what: the kernel reads a copy from the moment its request is pushed until its completion is seen; nothing
//! touches it in between, whatever becomes of the stream. With MSG_DONTWAIT the kernel decides within the submission, so
//! that is one call of `enter`; no send ever waits in the kernel.

use duolu_core::Errno;
use duolu_core::buffer::{Buffer, Piece};
use io_uring::{opcode, squeue, types};
use std::os::fd::RawFd;

/// What is longer is written straight from the output's chunks: from here on a copy costs more than the system call.
pub(super) const MOST: usize = 16 * 1024;
/// A copy's memory that is longer is given back when it is sent.
const KEPT: usize = MOST;

/// No send.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Vacant,
    /// Pushed by the next flush.
    Queued,
    /// The kernel's.
    Pushed,
    /// The kernel's, and its stream is gone.
    Orphan,
    /// So many bytes were taken, or why not.
    Done(Result<usize, Errno>),
}

#[derive(Debug)]
struct Send {
    bytes: Vec<u8>,
    fd: RawFd,
    /// A file follows: do not send a packet for so little.
    more: bool,
    state: State,
}

#[derive(Debug, Default)]
pub(super) struct Sends {
    all: Vec<Send>,
    vacant: Vec<u32>,
    queue: Vec<u32>,
    /// Pushed and not seen again.
    pushed: u32,
}

impl Sends {
    /// Copies up to `limit` bytes from the front of `output`, and queues them. `None`: too long, or a file.
    pub(super) fn queue(&mut self, fd: RawFd, output: &Buffer, limit: usize) -> Option<u32> {
        let len = output.len().min(limit);
        if len == 0 || len > MOST || !matches!(output.pieces(0).next(), Some(Piece::Bytes(_))) {
            return None;
        }
        let at = self.vacant.pop().unwrap_or_else(|| {
            self.all.push(Send { bytes: Vec::new(), fd, more: false, state: State::Vacant });
            self.all.len() as u32 - 1
        });
        let send = &mut self.all[at as usize];
        (send.fd, send.more, send.state) = (fd, false, State::Queued);
        send.bytes.clear();
        for piece in output.pieces(0) {
            match piece {
                Piece::File(..) => {
                    send.more = true;
                    break;
                }
                Piece::Bytes(bytes) => {
                    let part = &bytes[..bytes.len().min(len - send.bytes.len())];
                    send.bytes.extend_from_slice(part);
                }
            }
            if send.bytes.len() == len {
                break;
            }
        }
        self.queue.push(at);
        Some(at)
    }

    pub(super) fn state(&self, at: u32) -> State {
        self.all.get(at as usize).map_or(State::Vacant, |send| send.state)
    }

    pub(super) fn len(&self, at: u32) -> usize {
        self.all[at as usize].bytes.len()
    }

    /// Pushed and not seen again.
    pub(super) fn pushed(&self) -> u32 {
        self.pushed
    }

    /// The next request that is to be pushed: its user data is to be put in, and `sent` said when it is pushed.
    pub(super) fn next(&mut self) -> Option<(u32, squeue::Entry)> {
        loop {
            let at = *self.queue.last()?;
            let send = &self.all[at as usize];
            if send.state != State::Queued {
                self.queue.pop();
                self.free(at); // its stream is gone
                continue;
            }
            let more = if send.more { libc::MSG_MORE } else { 0 };
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | more;
            let (start, len) = (send.bytes.as_ptr(), send.bytes.len() as u32);
            return Some((at, opcode::Send::new(types::Fd(send.fd), start, len).flags(flags).build()));
        }
    }

    pub(super) fn sent(&mut self, at: u32) {
        self.queue.pop();
        self.all[at as usize].state = State::Pushed;
        self.pushed += 1;
    }

    /// Its completion has come: whose it is, if anybody's.
    pub(super) fn done(&mut self, at: u32, result: i32) -> Option<RawFd> {
        let send = self.all.get_mut(at as usize)?;
        match send.state {
            State::Pushed => {
                send.state = State::Done(match result {
                    0.. => Ok((result as usize).min(send.bytes.len())),
                    _ if [libc::EAGAIN, libc::EINTR].contains(&-result) => Ok(0),
                    _ => Err(Errno(-result)),
                });
                self.pushed -= 1;
                Some(send.fd)
            }
            State::Orphan => {
                self.pushed -= 1;
                self.free(at);
                None
            }
            _ => None,
        }
    }

    /// Its stream is gone, or has taken note of what became of it.
    pub(super) fn leave(&mut self, at: u32) {
        let Some(send) = self.all.get_mut(at as usize) else { return };
        match send.state {
            State::Queued => send.state = State::Vacant, // `next` frees it
            State::Pushed => send.state = State::Orphan,
            State::Done(_) => self.free(at),
            State::Orphan | State::Vacant => {}
        }
    }

    fn free(&mut self, at: u32) {
        let send = &mut self.all[at as usize];
        send.state = State::Vacant;
        send.bytes.shrink_to(KEPT);
        self.vacant.push(at);
    }

    /// The ring is gone, and nobody will say what became of what was pushed: whose those are.
    pub(super) fn lost(&mut self, mut tell: impl FnMut(RawFd)) {
        for at in 0..self.all.len() {
            let send = &mut self.all[at];
            if matches!(send.state, State::Pushed | State::Orphan) {
                // The kernel may look at it yet: leaked, rather than written to or freed.
                std::mem::forget(std::mem::take(&mut send.bytes));
            }
            if let Some(fd) = self.done(at as u32, -libc::EIO) {
                tell(fd);
            }
        }
    }
}

impl Drop for Sends {
    fn drop(&mut self) {
        self.lost(|_| {});
    }
}
