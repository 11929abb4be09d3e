//! The handle that world, backend and clock share, and the virtual clock.

use crate::backend::{Personality, SimBackend};
use crate::kernel::SimKernel;
use duolu_core::{Clock, Instant};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// One simulated machine; clones are the same machine.
#[derive(Clone)]
pub struct Sim(Rc<RefCell<SimKernel>>);

impl Sim {
    /// A machine whose every chance is drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Sim(Rc::new(RefCell::new(SimKernel::new(seed))))
    }

    /// The kernel, to act on. Let go of it before the engine runs.
    pub fn kernel(&self) -> RefMut<'_, SimKernel> {
        self.0.borrow_mut()
    }

    /// A backend over this machine. One at a time: it takes the kernel's wake-ups.
    pub fn backend(&self, personality: Personality) -> SimBackend {
        SimBackend::new(self.clone(), personality)
    }

    /// The machine's clock.
    pub fn clock(&self) -> SimClock {
        SimClock(self.clone())
    }
}

/// Virtual nanoseconds since the machine's start.
#[derive(Clone)]
pub struct SimClock(Sim);

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.0.borrow().now_ns())
    }
}
