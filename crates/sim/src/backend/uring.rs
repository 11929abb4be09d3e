//! Imitates polling through io_uring:
//! (a) an armed poll holds the open file: a closed number neither ends it nor lets the peer see the end;
//! (b) a level watch is a single poll, armed again by number for the next wait, so a number that was closed and
//!     reopened silently means the new file from then on;
//! (c) an edge watch is one multishot poll, which may tell several times between two waits;
//! (d) arming cannot be refused at once: a closed number is told as INVALID by the wait.

use super::{Hands, Registration};
use crate::end::FileId;
use crate::kernel::{SimKernel, Wake};
use duolu_core::{Change, Errno, Features, RawFd, Ready, Report, Token, Trigger, Watch};
use std::collections::BTreeMap;

/// The most completions one multishot poll gives in one wait here.
const MAX_COMPLETIONS: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Arm {
    /// To be armed by the next wait.
    Due,
    /// Holding the file; `fires` wake-ups not yet told (edge only).
    Armed { file: FileId, fires: u32 },
    /// A one-shot that has told.
    Spent,
}

struct Op {
    registration: Registration,
    arm: Arm,
}

#[derive(Default)]
pub(super) struct Uring {
    ops: BTreeMap<RawFd, Op>,
    /// Held by polls that have told. Let go of before anything else is done, not in the middle of a wait: that
    /// may close a file, and its peer's end would come after the peer was looked at.
    told: Vec<FileId>,
}

impl Uring {
    fn cancel(&mut self, kernel: &mut SimKernel, fd: RawFd) {
        if let Some(Op { arm: Arm::Armed { file, .. }, .. }) = self.ops.remove(&fd) {
            kernel.release(file);
        }
    }

    fn set(&mut self, kernel: &mut SimKernel, token: Token, watch: Watch) {
        self.cancel(kernel, token.fd());
        self.ops.insert(token.fd(), Op { registration: Registration { token, watch }, arm: Arm::Due });
    }

    fn take_wakes(&mut self, kernel: &mut SimKernel) {
        for file in self.told.drain(..) {
            kernel.release(file);
        }
        for wake in kernel.take_wakes() {
            let Wake::Touched(touched, mask) = wake else { continue };
            for op in self.ops.values_mut() {
                if let Arm::Armed { file, fires } = &mut op.arm
                    && *file == touched
                    && (mask.is_empty() || mask.intersects(op.registration.mask()))
                {
                    *fires = (*fires + 1).min(MAX_COMPLETIONS);
                }
            }
        }
    }

    /// Arms what is due; the numbers that are not open.
    fn arm(&mut self, kernel: &mut SimKernel) -> Vec<RawFd> {
        let mut closed = Vec::new();
        for (&fd, op) in &mut self.ops {
            if op.arm != Arm::Due {
                continue;
            }
            match kernel.file_of(fd) {
                Ok(file) => {
                    kernel.hold(file); // trap (a)
                    let fires = u32::from(kernel.file_readiness(file).intersects(op.registration.mask()));
                    op.arm = Arm::Armed { file, fires };
                }
                Err(_) => closed.push(fd),
            }
        }
        closed
    }
}

impl Op {
    /// Tells what is due; the file to let go of.
    fn tell(&mut self, kernel: &mut SimKernel, reports: &mut Vec<Report>) -> Option<FileId> {
        let Arm::Armed { file, fires } = self.arm else { return None };
        let Registration { token, watch } = self.registration;
        let ready = kernel.file_readiness(file) & self.registration.mask();
        if ready.is_empty() {
            self.arm = Arm::Armed { file, fires: 0 };
            return None;
        }
        if kernel.rng.chance(kernel.faults.delay_report_permille) {
            return None;
        }
        if watch.trigger == Trigger::Edge {
            reports.extend((0..fires).map(|_| Report { token, ready })); // trap (c)
            self.arm = Arm::Armed { file, fires: 0 };
            return None;
        }
        reports.push(Report { token, ready });
        self.arm = if watch.trigger == Trigger::Level { Arm::Due } else { Arm::Spent };
        Some(file)
    }
}

impl Hands for Uring {
    fn name(&self) -> &'static str {
        "sim-io_uring"
    }

    fn features(&self) -> Features {
        Features {
            edge: true,
            one_shot: true,
            peer_closed: true,
            o_ready: true,
            nanosecond_timeout: true,
            batched_changes: true,
            ..Features::default()
        }
    }

    fn apply(&mut self, kernel: &mut SimKernel, change: Change) -> Result<(), Errno> {
        self.take_wakes(kernel);
        match change {
            Change::Add { token, watch } | Change::Modify { token, watch } => self.set(kernel, token, watch),
            Change::Remove { token } => self.cancel(kernel, token.fd()),
        }
        Ok(())
    }

    fn collect(&mut self, kernel: &mut SimKernel, max_reports: usize, reports: &mut Vec<Report>) {
        self.take_wakes(kernel);
        for fd in self.arm(kernel) {
            if let Some(op) = self.ops.remove(&fd) {
                reports.push(Report { token: op.registration.token, ready: Ready::INVALID }); // trap (d)
            }
        }
        for op in self.ops.values_mut() {
            if reports.len() >= max_reports {
                break;
            }
            self.told.extend(op.tell(kernel, reports));
        }
    }

    fn reinit(&mut self, kernel: &mut SimKernel) {
        self.take_wakes(kernel);
        for fd in self.ops.keys().copied().collect::<Vec<_>>() {
            self.cancel(kernel, fd);
        }
    }
}
