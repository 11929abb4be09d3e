//! A core buffer that is there only while it holds something: an idle bufferevent has two empty ones, and at rest each of
//! them is a word.
//!
//! It is looked at and changed as the [`Buffer`] it stands for. What is put away is kept by the thread for the next one
//! that is filled, so that bytes which come and go cost no allocation (a program with its own malloc gets it back at once).

use crate::mem;
use crate::mem::per_thread::PerThread;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr;
use duolu_core::buffer::{Buffer, Change, End};

/// The address of a buffer; below 4, none is there, and the bits say which of its ends are frozen.
pub(super) struct Lazy(*mut Buffer);

const FRONT: usize = 1;
const BACK: usize = 2;

/// Buffers that a thread keeps, of 80 bytes.
const KEPT: usize = 64;

thread_local! {
    // Boxed: what is in use is named by its address.
    #[allow(clippy::vec_box)]
    static PUT_AWAY: PerThread<Vec<Box<Buffer>>> = const { PerThread::new(Vec::new(), Vec::new) };
}

struct Empty(Buffer);
// SAFETY: it is never written to, and an empty buffer refers to nothing.
unsafe impl Sync for Empty {}
static EMPTY: Empty = Empty(Buffer::new());

fn bit(end: End) -> usize {
    match end {
        End::Front => FRONT,
        End::Back => BACK,
    }
}

impl Lazy {
    pub const fn new() -> Self {
        Lazy(ptr::null_mut())
    }

    #[inline]
    fn is_there(&self) -> bool {
        self.0.addr() > (FRONT | BACK)
    }

    #[cold]
    #[inline(never)]
    fn fetch(&mut self) {
        let kept = PUT_AWAY.with(|kept| {
            // SAFETY: of this thread, and nothing else is done meanwhile.
            unsafe { kept.with(Vec::pop) }
        });
        let mut buffer = kept.flatten().unwrap_or_default();
        for end in [End::Front, End::Back] {
            if self.0.addr() & bit(end) != 0 {
                buffer.freeze(end);
            }
        }
        self.0 = Box::into_raw(buffer);
    }

    /// The buffer, where there is one.
    #[inline]
    pub fn there(&mut self) -> Option<&mut Buffer> {
        // SAFETY: from Box::into_raw in `fetch`.
        if self.is_there() { Some(unsafe { &mut *self.0 }) } else { None }
    }

    /// Puts it away if it holds nothing.
    #[inline]
    pub fn rest(&mut self) {
        if self.is_there() && self.holds_nothing() {
            self.put_away();
        }
    }

    fn put_away(&mut self) {
        let frozen = [End::Front, End::Back].into_iter().filter(|end| self.is_frozen(*end)).map(bit).sum();
        // SAFETY: from Box::into_raw in `fetch`.
        let mut buffer = unsafe { Box::from_raw(self.0) };
        self.0 = ptr::without_provenance_mut(frozen);
        buffer.thaw(End::Front);
        buffer.thaw(End::Back);
        if mem::is_programs() {
            return;
        }
        let keep = |kept: &mut Vec<Box<Buffer>>| {
            if kept.len() < KEPT && kept.try_reserve(1).is_ok() {
                kept.push(buffer);
            }
        };
        // SAFETY: of this thread, and nothing else is done meanwhile but allocate.
        PUT_AWAY.with(|kept| unsafe { kept.with(keep) });
    }

    pub fn freeze(&mut self, end: End) {
        if self.is_there() {
            (**self).freeze(end);
        } else {
            self.0 = self.0.map_addr(|bits| bits | bit(end));
        }
    }

    pub fn thaw(&mut self, end: End) {
        if self.is_there() {
            (**self).thaw(end);
        } else {
            self.0 = self.0.map_addr(|bits| bits & !bit(end));
        }
    }

    pub fn is_frozen(&self, end: End) -> bool {
        if self.is_there() { (**self).is_frozen(end) } else { self.0.addr() & bit(end) != 0 }
    }

    #[inline]
    pub fn take_change(&mut self) -> Option<Change> {
        if self.is_there() { (**self).take_change() } else { None }
    }
}

impl Deref for Lazy {
    type Target = Buffer;
    #[inline]
    fn deref(&self) -> &Buffer {
        // SAFETY: from Box::into_raw in `fetch`, where there is one.
        if self.is_there() { unsafe { &*self.0 } } else { &EMPTY.0 }
    }
}

impl DerefMut for Lazy {
    #[inline]
    fn deref_mut(&mut self) -> &mut Buffer {
        if !self.is_there() {
            self.fetch();
        }
        // SAFETY: from Box::into_raw in `fetch`.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Lazy {
    fn drop(&mut self) {
        if self.is_there() {
            // SAFETY: from Box::into_raw in `fetch`.
            drop(unsafe { Box::from_raw(self.0) });
        }
    }
}

impl Default for Lazy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolu_core::buffer::BufferError;

    #[test]
    fn frozen_ends_stay_frozen_while_it_is_away() {
        let mut buffer = Lazy::new();
        assert_eq!(size_of::<Lazy>(), 8);
        buffer.freeze(End::Back);
        assert!(!buffer.is_there() && buffer.is_frozen(End::Back) && !buffer.is_frozen(End::Front));
        assert_eq!((buffer.len(), buffer.take_change()), (0, None));
        assert_eq!(buffer.append(b"x"), Err(BufferError::Frozen(End::Back)));
        buffer.thaw(End::Back);
        buffer.freeze(End::Front);
        buffer.append(b"kept").unwrap();
        buffer.rest();
        assert!(buffer.is_there() && buffer.front() == b"kept");
        assert_eq!(buffer.drain(1), Err(BufferError::Frozen(End::Front)));
        buffer.thaw(End::Front);
        buffer.drain(4).unwrap();
        buffer.rest();
        assert!(buffer.is_there(), "a change has not been told");
        buffer.freeze(End::Front);
        assert!(buffer.take_change().is_some());
        buffer.rest();
        assert!(!buffer.is_there() && buffer.is_frozen(End::Front) && !buffer.is_frozen(End::Back));
        // The next one gets it clean.
        let mut other = Lazy::new();
        other.append(b"y").unwrap();
        other.drain(1).unwrap();
    }

    #[test]
    fn room_that_was_made_is_not_put_away() {
        let mut buffer = Lazy::new();
        buffer.extend(100, 1).unwrap();
        buffer.rest();
        assert!(buffer.is_there() && buffer.capacity() >= 100);
    }
}
