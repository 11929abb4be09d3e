//! The memory that the kernel receives into: one area of equal buffers, offered through a provided-buffer
//! ring (io_uring_register_buf_ring(3)).
//!
//! Where the kernel can (Linux 6.12, IOU_PBUF_RING_INC), a buffer is used up piece by piece, by whatever
//! connections have bytes. So buffers are large (one receive takes up to 64 KiB at once) and small
//! messages still lie densely. Elsewhere each receive takes a whole buffer, and buffers are small.
//!
//! All pieces lent in a turn come back together at its end: nobody can forget one, and no count is kept.

use crate::fork_guard::ForkGuard;
use crate::syscall;
use duolu_core::Errno;
use duolu_core::completion::Chunk;
use io_uring::IoUring;
use io_uring::types::{BufRingEntry, IOU_PBUF_RING_INC};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only buffer group of a ring.
pub(crate) const GROUP: u16 = 0;

/// Anonymous memory, page-aligned and zeroed; costs real memory only where it is touched.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> Result<Self, Errno> {
        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        );
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(syscall::last_errno());
        }
        // A fork would make these pages copy-on-write; the kernel goes on writing to the old ones while the
        // parent may be given the copies. The child has no use for them.
        // SAFETY: exactly the mapping made above.
        unsafe { libc::madvise(start, len, libc::MADV_DONTFORK) };
        let start = NonNull::new(start.cast()).ok_or(Errno(libc::ENOMEM))?;
        Ok(Mapping { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, unmapped once; `Buffers` sees to it that the kernel no longer writes there.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// How much to offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bytes of one buffer.
    pub size: u32,
    /// How many are offered at first.
    pub first: u16,
    /// How many at most; a power of two.
    pub most: u16,
}

/// The buffers of one ring.
///
/// Invariant: every offered buffer is either in the kernel's ring or in `used_up`.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Neither is mapped in a forked child: `guard` is asked before they are touched.
    memory: Option<Mapping>,
    entries: Option<Mapping>,
    guard: ForkGuard,
    shape: Shape,
    incremental: bool,
    /// Buffers offered so far, the ids `0..offered`.
    offered: u16,
    /// Where the next entry of the kernel's ring goes, modulo 2^16.
    tail: u16,
    /// How much of each buffer has been received into.
    filled: Vec<u32>,
    /// The part of each buffer that is lent in this turn: start and end.
    lent: Vec<(u32, u32)>,
    /// Buffers with a lent part.
    touched: Vec<u16>,
    /// Buffers that the kernel has let go of; they go back at the end of the turn.
    used_up: Vec<u16>,
}

impl Buffers {
    /// Registers the ring. `large` is taken where the kernel can use up buffers piece by piece, else `small`.
    pub(crate) fn register(
        ring: &IoUring,
        large: Shape,
        small: Shape,
        incremental: bool,
    ) -> Result<Self, Errno> {
        if incremental {
            match Self::register_as(ring, large, true) {
                Err(Errno(libc::EINVAL)) => {}
                other => return other,
            }
        }
        Self::register_as(ring, small, false)
    }

    fn register_as(ring: &IoUring, shape: Shape, incremental: bool) -> Result<Self, Errno> {
        let most = usize::from(shape.most);
        let guard = ForkGuard::new()?;
        let memory = Mapping::new(most * shape.size as usize)?;
        let entries = Mapping::new(most * size_of::<BufRingEntry>())?;
        let flags = if incremental { IOU_PBUF_RING_INC as u16 } else { 0 };
        let address = entries.start.as_ptr() as u64;
        // SAFETY: `entries` is page-aligned and holds `most` entries; it is unmapped only after the group has
        // been unregistered (see `unregister`), or never.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, shape.most, GROUP, flags) }
            .map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))?;
        let mut buffers = Buffers {
            memory: Some(memory),
            entries: Some(entries),
            guard,
            shape,
            incremental,
            offered: 0,
            tail: 0,
            filled: vec![0; most],
            lent: vec![(0, 0); most],
            touched: Vec::with_capacity(most),
            used_up: Vec::with_capacity(most),
        };
        buffers.offer_more(shape.first);
        Ok(buffers)
    }

    /// Ends the kernel's use of the memory. To be called before the ring is closed; without that, or when the
    /// kernel refuses, the memory is leaked.
    pub(crate) fn unregister(&mut self, ring: &IoUring) -> bool {
        let done = ring.submitter().unregister_buf_ring(GROUP).is_ok();
        if done {
            // No request can pick a buffer of this group any more, and the ring's lock, which the call has
            // taken, means that none is receiving into one at this moment.
            (self.memory, self.entries) = (None, None);
        }
        done
    }

    /// Bytes of all of them together.
    pub(crate) fn area(&self) -> u32 {
        self.shape.size.saturating_mul(u32::from(self.shape.most))
    }

    /// Whether anything is lent in this turn.
    pub(crate) fn are_lent(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Whether buffers are used up piece by piece.
    pub(crate) fn incremental(&self) -> bool {
        self.incremental
    }

    /// Buffers offered so far, and how many of them the kernel has now.
    pub(crate) fn counts(&self) -> (u16, u16) {
        (self.offered, self.offered - self.used_up.len() as u16)
    }

    /// Offers twice as many buffers as before. Says whether there were any left to offer.
    pub(crate) fn grow(&mut self) -> bool {
        self.offer_more(self.offered.max(1))
    }

    fn offer_more(&mut self, more: u16) -> bool {
        let from = self.offered;
        self.offered = from.saturating_add(more).min(self.shape.most);
        for id in from..self.offered {
            self.put_back(id);
        }
        self.publish();
        from < self.offered
    }

    /// The kernel has received `len` bytes into buffer `id`, and keeps the rest of it if `more`. `None`: the
    /// kernel says something that cannot be.
    pub(crate) fn take(&mut self, id: u16, len: u32, more: bool, turn: u32) -> Option<Chunk> {
        if id >= self.offered {
            return None;
        }
        let at = usize::from(id);
        let start = self.filled[at];
        let end = start.checked_add(len).filter(|&end| end <= self.shape.size)?;
        self.filled[at] = end;
        let lent = &mut self.lent[at];
        if lent.0 == lent.1 {
            *lent = (start, end);
            self.touched.push(id);
        } else {
            lent.1 = end;
        }
        if !(self.incremental && more) {
            self.used_up.push(id);
        }
        Some(Chunk::new(turn, u32::from(id) * self.shape.size + start, len))
    }

    /// Where a chunk of this turn lies; stable until `end_turn`. `None`: not lent now.
    pub(crate) fn locate(&self, chunk: Chunk) -> Option<NonNull<u8>> {
        let id = chunk.start() / self.shape.size;
        let start = chunk.start() % self.shape.size;
        let lent = self.lent.get(id as usize)?;
        // A chunk is a plain value and may be made up: only what is lent is shown, because the kernel may
        // be writing to the rest.
        if start < lent.0 || u64::from(start) + u64::from(chunk.len()) > u64::from(lent.1) {
            return None;
        }
        if self.guard.forked() {
            return None;
        }
        // SAFETY: id < most, and start < size: inside the mapping.
        self.memory.as_ref().map(|memory| unsafe { memory.start.add(chunk.start() as usize) })
    }

    /// The bytes of a chunk; none where it is not lent now.
    pub(crate) fn bytes(&self, chunk: Chunk) -> &[u8] {
        match self.locate(chunk) {
            // SAFETY: initialised (mapped zeroed, then written by the kernel), lent, so not written by anybody
            // before `end_turn`, which needs `&mut self`.
            Some(start) => unsafe { std::slice::from_raw_parts(start.as_ptr(), chunk.len() as usize) },
            None => &[],
        }
    }

    /// Takes back all that was lent, and gives the kernel again what it had used up. Nobody may point into lent
    /// parts any more. Says whether the kernel got anything.
    pub(crate) fn end_turn(&mut self) -> bool {
        for id in self.touched.drain(..) {
            self.lent[usize::from(id)] = (0, 0);
        }
        if self.used_up.is_empty() {
            return false;
        }
        let mut used_up = std::mem::take(&mut self.used_up);
        for id in used_up.drain(..) {
            self.put_back(id);
        }
        self.used_up = used_up;
        self.publish();
        true
    }

    fn put_back(&mut self, id: u16) {
        if self.guard.forked() {
            return;
        }
        let (Some(memory), Some(entries)) = (&self.memory, &self.entries) else { return };
        self.filled[usize::from(id)] = 0;
        let at = usize::from(self.tail & (self.shape.most - 1));
        // SAFETY: id < most: inside the mapping.
        let buffer = unsafe { memory.start.add(usize::from(id) * self.shape.size as usize) };
        // SAFETY: at < most, so inside the mapping of the entries, which is aligned for them. The slot is not
        // between the kernel's head and tail: at most `most` buffers exist and this one is not in the ring.
        // The reserved field, which in slot 0 is the ring's tail, is not touched by the setters.
        let entry = unsafe { entries.start.cast::<BufRingEntry>().add(at).as_mut() };
        entry.set_addr(buffer.as_ptr() as u64);
        entry.set_len(self.shape.size);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        if self.guard.forked() {
            return;
        }
        let Some(entries) = &self.entries else { return };
        // SAFETY: the tail lies in slot 0 of the mapping, is 2-aligned, and we are its only writer. Release:
        // the kernel sees the entries before it sees the tail.
        unsafe {
            let tail = BufRingEntry::tail(entries.start.cast::<BufRingEntry>().as_ptr());
            AtomicU16::from_ptr(tail.cast_mut()).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // Not unregistered: the kernel may still write there, after the ring's descriptor is closed too (its
        // requests end later, in a worker). A leak is the lesser evil.
        std::mem::forget(self.memory.take());
        std::mem::forget(self.entries.take());
    }
}
