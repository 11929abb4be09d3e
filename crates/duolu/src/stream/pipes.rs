//! The pipes of a loop, through which joined sockets pass their bytes.
//!
//! A pipe is lent for one turn, as a rule: what was taken is given at once. Only where the receiver rests does it stay with
//! the bytes in it, with two descriptors and up to 64 KiB of the kernel's memory. So there is a limit to how many may:
//! else a crowd of slow readers would take the descriptors of those who come.

use duolu_sys::splice::Pipe;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// So many empty ones are kept for the next bytes.
const MOST_IDLE: usize = 16;
/// What [`crate::Context::limit_splice_pipes`] is unless told otherwise: 512 descriptors, half of what a process has by default
/// (1,024), and 16 MiB.
const MOST_LENT: usize = 256;

pub(crate) struct Pipes {
    idle: Vec<Pipe>,
    lent: Rc<Cell<usize>>,
    most: usize,
}

/// A pipe out of [`Pipes`]. Dropped, it is closed, and another one may be lent.
pub(crate) struct Lent {
    /// `None` only when it has gone back.
    pipe: Option<Pipe>,
    lent: Rc<Cell<usize>>,
}

impl Pipes {
    pub(crate) fn new() -> Self {
        Pipes { idle: Vec::new(), lent: Rc::default(), most: MOST_LENT }
    }

    pub(crate) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Room for those that come back, so that this allocates nothing.
    pub(crate) fn reserve(&mut self) {
        self.idle.reserve(MOST_IDLE - self.idle.len());
    }

    /// An empty one; nothing where too many are lent or there are no descriptors.
    pub(crate) fn lend(&mut self) -> Option<Lent> {
        if self.lent.get() >= self.most {
            return None;
        }
        let pipe = self.idle.pop().or_else(|| Pipe::new().ok())?;
        self.lent.set(self.lent.get() + 1);
        Some(Lent { pipe: Some(pipe), lent: Rc::clone(&self.lent) })
    }

    /// An empty one goes back to the others, one that holds something stays where it is.
    pub(crate) fn keep(&mut self, place: &mut Option<Lent>, mut lent: Lent) {
        if lent.held() > 0 {
            *place = Some(lent);
        } else if self.idle.len() < MOST_IDLE {
            self.idle.extend(lent.pipe.take());
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.lent.set(self.lent.get() - 1);
    }
}

impl Deref for Lent {
    type Target = Pipe;
    fn deref(&self) -> &Pipe {
        self.pipe.as_ref().expect("it has not gone back")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("it has not gone back")
    }
}
