//! Imitates poll(2) and select(2): numbers only, looked up afresh in every wait, level only.
//! (a) A number that was closed and reopened silently means the new file.
//! (b) select tells readable and writable, nothing else.

use super::{Hands, Registration};
use crate::kernel::SimKernel;
use duolu_core::{Change, Errno, Features, RawFd, Ready, Report};
use std::collections::BTreeMap;

pub(super) struct Poll {
    watched: BTreeMap<RawFd, Registration>,
    tells_all: bool,
}

impl Poll {
    /// poll(2) where `tells_all`, else select(2).
    pub fn new(tells_all: bool) -> Self {
        Poll { watched: BTreeMap::new(), tells_all }
    }

    /// Trap (b): what Linux's select makes of poll's answer (POLLIN_SET and POLLOUT_SET in fs/select.c).
    fn answer(&self, ready: Ready, mask: Ready) -> Ready {
        if self.tells_all {
            return ready & mask;
        }
        let mut told = Ready::NONE;
        if ready.intersects(Ready::READ | Ready::HANGUP | Ready::ERROR) {
            told |= Ready::READ & mask;
        }
        if ready.intersects(Ready::WRITE | Ready::ERROR) {
            told |= Ready::WRITE & mask;
        }
        told
    }
}

impl Hands for Poll {
    fn name(&self) -> &'static str {
        if self.tells_all { "sim-poll" } else { "sim-select" }
    }

    fn features(&self) -> Features {
        Features { peer_closed: self.tells_all, nanosecond_timeout: true, ..Features::default() }
    }

    fn apply(&mut self, _kernel: &mut SimKernel, change: Change) -> Result<(), Errno> {
        match change {
            Change::Add { token, watch } | Change::Modify { token, watch } => {
                self.watched.insert(token.fd(), Registration { token, watch });
            }
            Change::Remove { token } => {
                self.watched.remove(&token.fd());
            }
        }
        Ok(())
    }

    fn collect(&mut self, kernel: &mut SimKernel, max_reports: usize, reports: &mut Vec<Report>) {
        kernel.take_wakes();
        let mut closed = Vec::new();
        for (&fd, registration) in &self.watched {
            let ready = if kernel.is_open(fd) {
                self.answer(kernel.readiness(fd), registration.mask())
            } else {
                Ready::INVALID
            };
            if ready.is_empty() || kernel.rng.chance(kernel.faults.delay_report_permille) {
                continue;
            }
            if reports.len() >= max_reports {
                break;
            }
            if ready == Ready::INVALID {
                closed.push(fd);
            }
            reports.push(Report { token: registration.token, ready });
        }
        self.watched.retain(|fd, _| !closed.contains(fd));
    }

    fn reinit(&mut self, _kernel: &mut SimKernel) {
        self.watched.clear();
    }
}
