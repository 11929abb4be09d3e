//! A buffer that tells those who asked for it what has changed (libevent's evbuffer_add_cb).

use super::{Buffer, Change};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

/// Names an observer of one [`Observed`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObserverId(u64);

type Told = dyn FnMut(&Buffer, Change);

struct Observer {
    id: ObserverId,
    enabled: bool,
    told: Box<Told>,
}

/// A buffer with observers. It is looked at as a [`Buffer`], and changed through [`Observed::change`] only, so that no
/// change escapes them. A buffer without observers should be a `Buffer`: this costs two words and a look at each change.
///
/// ```
/// use duolu_core::buffer::{Buffer, Observed};
/// use std::{cell::Cell, rc::Rc};
///
/// let total = Rc::new(Cell::new(0));
/// let seen = Rc::clone(&total);
/// let mut buffer = Observed::new(Buffer::new());
/// buffer.observe(move |_, change| seen.set(seen.get() + change.added));
/// buffer.change(|buffer| buffer.append(b"12345"))?;
/// assert_eq!((total.get(), buffer.len()), (5, 5));
/// # Ok::<(), duolu_core::buffer::BufferError>(())
/// ```
#[derive(Default)]
pub struct Observed {
    buffer: Buffer,
    observers: Vec<Observer>,
    next: u64,
}

impl Observed {
    /// Observes `buffer` from now on: what happened to it before is not told.
    pub fn new(mut buffer: Buffer) -> Self {
        let _ = buffer.take_change();
        Observed { buffer, observers: Vec::new(), next: 0 }
    }

    /// Has `told` be called after every change, behind those that came before it.
    pub fn observe(&mut self, told: impl FnMut(&Buffer, Change) + 'static) -> ObserverId {
        let id = ObserverId(self.next);
        self.next += 1;
        self.observers.push(Observer { id, enabled: true, told: Box::new(told) });
        id
    }

    /// Ends that. False where there is no such observer.
    pub fn unobserve(&mut self, id: ObserverId) -> bool {
        let before = self.observers.len();
        self.observers.retain(|observer| observer.id != id);
        self.observers.len() < before
    }

    /// Tells that observer nothing, or again, of what changes from now on. False where there is no such observer.
    pub fn set_enabled(&mut self, id: ObserverId, enabled: bool) -> bool {
        let observer = self.observers.iter_mut().find(|observer| observer.id == id);
        observer.map(|observer| observer.enabled = enabled).is_some()
    }

    /// Changes the buffer. However many operations `work` consists of, they are told as one change; where bytes came
    /// and left again in it, both are counted; where nothing changed, nothing is told.
    pub fn change<R>(&mut self, work: impl FnOnce(&mut Buffer) -> R) -> R {
        let result = work(&mut self.buffer);
        if let Some(change) = self.buffer.take_change() {
            for observer in self.observers.iter_mut().filter(|observer| observer.enabled) {
                (observer.told)(&self.buffer, change);
            }
        }
        result
    }

    /// The buffer, without its observers.
    pub fn into_inner(self) -> Buffer {
        self.buffer
    }
}

impl Deref for Observed {
    type Target = Buffer;
    fn deref(&self) -> &Buffer {
        &self.buffer
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with {} observers", self.buffer, self.observers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use alloc::vec;
    use core::cell::RefCell;

    #[test]
    fn observers_are_told_in_order_what_came_and_what_left() {
        let mut before = Buffer::new();
        before.append(b"not told").unwrap();
        let mut buffer = Observed::new(before);
        let log = Rc::new(RefCell::new(Vec::new()));
        let observer = |name: u8| {
            let log = Rc::clone(&log);
            move |buffer: &Buffer, change: Change| {
                assert_eq!(buffer.len() + change.removed, change.before + change.added);
                log.borrow_mut().push((name, change.before, change.added, change.removed));
            }
        };
        let first = buffer.observe(observer(1));
        let second = buffer.observe(observer(2));
        buffer.change(|buffer| buffer.drain(4)).unwrap();
        assert_eq!(log.take(), vec![(1, 8, 0, 4), (2, 8, 0, 4)]);
        assert!(buffer.set_enabled(first, false));
        buffer.change(|buffer| buffer.append(b"xyz").and_then(|()| buffer.drain(1))).unwrap();
        assert_eq!(log.take(), vec![(2, 4, 3, 1)], "one change");
        buffer.change(|buffer| assert_eq!(buffer.drain(0), Ok(0)));
        buffer.change(|buffer| buffer.spare(usize::MAX).unwrap_err());
        assert_eq!(log.take(), vec![], "nothing changed");
        assert!(buffer.unobserve(second) && !buffer.unobserve(second) && !buffer.set_enabled(second, true));
        assert!(buffer.set_enabled(first, true));
        // Between two buffers each tells its own.
        let mut other = Observed::default();
        other.observe(observer(3));
        other.change(|other| buffer.change(|buffer| other.append_buffer(buffer))).unwrap();
        assert_eq!(log.take(), vec![(1, 6, 0, 6), (3, 0, 6, 0)]);
        assert_eq!((buffer.len(), other.into_inner().len()), (0, 6));
    }
}
