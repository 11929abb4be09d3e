//! Joins [`lanes`](super::lanes) to the ring: what they want pushed, what comes back, what of them a slot must poll for.

use super::lanes::Lanes;
use super::ring::{Ring, has_multishot_receive};
use super::{CANCELLATION, Uring};
use crate::backend::{BackendKind, Unavailable};
use crate::syscall::describe;
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::Moved;
use duolu_core::{Change, Errno, Interest, RawFd, Report, TransferCounters, Transfers, Trigger, Watch};
use io_uring::cqueue;
use std::time::Duration;

/// The kernel may be out of memory for a moment: a second is borne.
const TRIES: u32 = 1000;

impl Uring {
    /// Opens a ring that also moves streams' bytes ([`Transfers`]; Linux 6.0), or says why this machine gives none.
    pub fn with_transfers() -> Result<Self, Unavailable> {
        let unavailable = |reason| Unavailable { kind: BackendKind::IoUring, reason };
        let ring = Ring::open(true)?;
        if !has_multishot_receive() {
            return Err(unavailable("no multishot receive: the kernel is older than Linux 6.0".to_owned()));
        }
        let lanes = Lanes::new(ring.uring()).map_err(|errno| {
            let why = match errno.0 {
                libc::EINVAL | libc::ENOSYS => {
                    "; the kernel is older than Linux 5.19, or a seccomp filter blocks it"
                }
                libc::EPERM | libc::EACCES => "; a seccomp filter or a security module blocks it",
                _ => "",
            };
            unavailable(format!("IORING_REGISTER_PBUF_RING: {}{why}", describe(errno)))
        })?;
        let mut uring = Uring::on(ring)?;
        uring.lanes = Some(Box::new(lanes));
        Ok(uring)
    }

    /// Pushes what the lanes want pushed.
    pub(super) fn flush_lanes(&mut self) -> Result<(), Errno> {
        let (Some(lanes), ring) = (&mut self.lanes, &mut self.ring) else { return Ok(()) };
        while let Some(cancel) = lanes.next_cancel() {
            ring.push(&cancel.user_data(CANCELLATION))?;
            lanes.cancel_pushed();
            self.unwanted += 1;
        }
        while let Some(receive) = lanes.next_receive() {
            ring.push(&receive)?;
            lanes.receive_pushed();
        }
        while let Some((at, send)) = lanes.next_send() {
            // SAFETY: the bytes are `Sends`' own; said to be pushed, they are neither changed nor freed before their
            // completion, and leaked where none can come any more.
            unsafe { ring.push_with_memory(&send) }?;
            lanes.send_pushed(at);
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn take_lane(&mut self, completion: &cqueue::Entry) {
        if let Some(lanes) = &mut self.lanes
            && let Some(fd) = lanes.take(completion)
        {
            self.repoll(fd);
        }
    }

    /// Has the slot poll for what readiness must tell of a lane.
    fn repoll(&mut self, fd: RawFd) {
        let Some(lanes) = &mut self.lanes else { return };
        if let Some((token, interest)) = lanes.repoll(fd) {
            self.poll_for(fd, token, interest);
        }
    }

    fn poll_for(&mut self, fd: RawFd, token: duolu_core::Token, interest: Interest) {
        if interest.is_empty() {
            self.unset(fd);
        } else if self.set(token, Watch { interest, trigger: Trigger::Level, exclusive: false }).is_err() {
            log::error!("a negative descriptor cannot have been adopted");
        }
    }

    #[inline]
    pub(super) fn begin_lanes(&mut self) {
        if self.lanes.is_some() {
            let mut moved = Vec::new();
            if let Some(lanes) = &mut self.lanes {
                lanes.begin(&mut moved);
            }
            moved.into_iter().for_each(|fd| self.repoll(fd));
        }
    }

    #[inline]
    pub(super) fn lanes_due(&mut self) -> bool {
        self.lanes.as_mut().is_some_and(|lanes| lanes.are_due())
    }

    /// Trap (o): the kernel has taken all that was pushed, or the ring is opened anew. True where that took its time.
    pub(super) fn press(&mut self, start: usize, reports: &mut Vec<Report>) -> Result<bool, Errno> {
        if self.ring.unsubmitted() == 0 {
            return Ok(false);
        }
        for _ in 0..TRIES {
            // Completions that do not fit into their queue keep the kernel from taking more.
            self.drain(true, start, reports);
            let outcome = self.ring.enter(0, Some(0));
            if self.ring.unsubmitted() == 0 {
                return Ok(true);
            }
            if outcome.is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        log::warn!("io_uring takes no requests any more; the ring is opened anew");
        self.renew().map(|()| true)
    }

    pub(super) fn watch_lane(&mut self, change: Change) {
        let fd = change.token().fd();
        let Some(lanes) = &mut self.lanes else { return };
        let renamed = match change {
            Change::Add { token, watch } | Change::Modify { token, watch } => {
                lanes.watch(fd, token, watch.interest)
            }
            Change::Remove { token } => lanes.watch(fd, token, Interest::NONE),
        };
        if renamed {
            self.unset(fd);
        }
        self.repoll(fd);
    }

    /// Takes all requests of the lanes back, and the buffers: what came before stays.
    #[cold]
    pub(super) fn quiet_lanes(&mut self) {
        let Some(lanes) = &mut self.lanes else { return };
        lanes.cancel_all();
        for _ in 0..TRIES {
            if self.flush_lanes().is_err() {
                break;
            }
            let _ = self.ring.enter(0, Some(0));
            self.drain(false, 0, &mut Vec::new());
            if self.lanes.as_ref().is_none_or(|lanes| lanes.is_quiet()) {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.begin_lanes();
        if let Some(lanes) = &mut self.lanes {
            lanes.unregister(self.ring.uring());
        }
    }

    /// The ring was opened anew.
    #[cold]
    pub(super) fn renew_lanes(&mut self) {
        if let Some(lanes) = &mut self.lanes {
            lanes.start_anew(self.ring.uring());
            let adopted = lanes.adopted();
            adopted.into_iter().for_each(|fd| self.repoll(fd));
        }
    }

    /// An outer loop waits: nothing may lie here until its next turn.
    fn hand_over_if_announced(&mut self) {
        if self.announce.is_some() && !self.ring.forked() {
            // An error shows again in `wait`.
            let _ = self.flush().and_then(|()| self.ring.submit());
        }
    }
}

impl Transfers for Uring {
    fn adopt(&mut self, fd: RawFd, owner: u64, bounded: bool) {
        let (token, interest) = match usize::try_from(fd).ok().and_then(|at| self.slots.get(at)) {
            Some(slot) if slot.state != super::State::Unwatched => (slot.token, slot.watch.interest),
            _ => (duolu_core::Token::new(fd, 0), Interest::NONE),
        };
        self.unset(fd);
        if let Some(lanes) = &mut self.lanes {
            lanes.adopt(fd, owner, bounded, token, interest);
        }
        self.repoll(fd);
        self.hand_over_if_announced();
    }

    fn release(&mut self, fd: RawFd, owner: u64) {
        if let Some(lanes) = &mut self.lanes
            && let Some((token, interest)) = lanes.release(fd, owner)
        {
            self.poll_for(fd, token, interest);
            self.hand_over_if_announced();
        }
    }

    fn receive(&mut self, fd: RawFd, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Option<Moved> {
        let moved = self.lanes.as_mut()?.receive(fd, input, pool, limit);
        self.repoll(fd);
        moved
    }

    fn send(&mut self, fd: RawFd, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Option<Moved> {
        let moved = self.lanes.as_mut()?.send(fd, output, pool, limit);
        self.repoll(fd);
        self.hand_over_if_announced();
        moved
    }

    fn await_room(&mut self, fd: RawFd) {
        if let Some(lanes) = &mut self.lanes {
            lanes.await_room(fd);
        }
        self.repoll(fd);
    }

    fn counters(&self) -> TransferCounters {
        self.lanes.as_ref().map_or_else(TransferCounters::default, |lanes| lanes.counters())
    }
}
