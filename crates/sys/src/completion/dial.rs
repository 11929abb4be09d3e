//! Connections that the program has opened itself: taken into the ring's file table, so that they cost no descriptor.
//!
//! Trap: where the ring accepts too, the kernel chooses slots, and may have given one away whose completion has not
//! been read. So a ring either accepts or dials.

use super::Uring;
use super::tags::{Op, Tag};
use duolu_core::Errno;
use duolu_core::completion::{ConnId, Report};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

impl Uring {
    /// Takes over a socket on which connect(2) has been called without waiting (as [`crate::socket::connect`] does).
    /// [`Report::Connected`] or [`Report::Failed`] follows. Its descriptor is closed where the ring has a file table
    /// ([`Granted::direct`](super::Granted)). Two system calls, three where the slot has been used before.
    ///
    /// # Errors
    /// EINVAL: this ring accepts. EMFILE: every place is taken. ENFILE, ENOMEM: the kernel has no more.
    pub fn adopt(&mut self, socket: OwnedFd) -> Result<ConnId, Errno> {
        if !self.listeners.is_empty() {
            return Err(Errno(libc::EINVAL));
        }
        let slot = if self.ring.direct {
            let (slot, used) = self.conns.vacant_slot(self.table).ok_or(Errno(libc::EMFILE))?;
            if used && self.ring.has_requests() {
                // The last one's close may be among them; it would close this one.
                self.hand_over();
                self.ring.broken().map_or(Ok(()), Err)?;
            }
            self.ring.place(slot, socket.as_fd())?;
            slot
        } else {
            socket.into_raw_fd() as u32
        };
        let Some(conn) = self.conns.open(slot) else { return Err(Errno(libc::EBUSY)) };
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.connecting = true;
        }
        self.ring.connected(Tag::of(Op::Connect, conn));
        Ok(conn)
    }

    pub(super) fn connect_done(&mut self, id: ConnId, result: i32) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.connecting = false;
        if result < 0 {
            self.fail(id, Errno(-result));
        } else if result & (i32::from(libc::POLLERR) | i32::from(libc::POLLHUP)) != 0 {
            // Why, only a receive tells here.
            conn.wanted = true;
            self.arm(id);
        } else {
            self.inbox.push_back(Report::Connected { conn: id });
        }
    }
}
