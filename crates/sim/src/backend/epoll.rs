//! Imitates epoll(7), with its traps:
//! (a) a registration belongs to (number, open file): where a dup remains it outlives the close of its number,
//!     goes on reporting, and cannot be removed by that number any more;
//! (b) it vanishes by itself when the open file does, and nobody is told;
//! (c) a regular file is refused (EPERM), which the backend hides by reporting it ready in every wait;
//! (d) the ready list is served in turn, `max_reports` at a time.

use super::{Hands, Registration};
use crate::end::{EndKind, FileId};
use crate::kernel::{SimKernel, Wake};
use duolu_core::{Change, Errno, Features, RawFd, Ready, Report, Token, Trigger, Watch};
use std::collections::{BTreeMap, VecDeque};

type Key = (RawFd, FileId);

struct Item {
    registration: Registration,
    disarmed: bool,
    queued: bool,
}

#[derive(Default)]
pub(super) struct Epoll {
    items: BTreeMap<Key, Item>,
    ready: VecDeque<Key>,
    /// Trap (c), by number.
    always: BTreeMap<RawFd, (FileId, Registration)>,
}

impl Epoll {
    fn set(&mut self, kernel: &mut SimKernel, token: Token, watch: Watch) -> Result<(), Errno> {
        let fd = token.fd();
        let file = kernel.file_of(fd)?;
        let registration = Registration { token, watch };
        self.always.remove(&fd);
        if kernel.file_kind(file) == EndKind::Regular {
            self.always.insert(fd, (file, registration));
            return Ok(());
        }
        let queued = self.items.get(&(fd, file)).is_some_and(|item| item.queued);
        self.items.insert((fd, file), Item { registration, disarmed: false, queued });
        if kernel.file_readiness(file).intersects(registration.mask()) {
            self.queue((fd, file));
        }
        Ok(())
    }

    fn queue(&mut self, key: Key) {
        if let Some(item) = self.items.get_mut(&key)
            && !item.disarmed
            && !core::mem::replace(&mut item.queued, true)
        {
            self.ready.push_back(key);
        }
    }

    fn drop_item(&mut self, key: Key) {
        self.items.remove(&key);
        self.ready.retain(|&queued| queued != key);
    }

    fn take_wakes(&mut self, kernel: &mut SimKernel) {
        for wake in kernel.take_wakes() {
            let (Wake::Touched(file, _) | Wake::Gone(file)) = wake;
            let keys: Vec<Key> = self.items.keys().copied().filter(|key| key.1 == file).collect();
            for key in keys {
                match wake {
                    Wake::Gone(_) => self.drop_item(key), // trap (b)
                    Wake::Touched(_, mask) => {
                        if mask.is_empty() || mask.intersects(self.items[&key].registration.mask()) {
                            self.queue(key);
                        }
                    }
                }
            }
        }
    }

    fn collect_always(&mut self, kernel: &SimKernel, reports: &mut Vec<Report>) {
        self.always.retain(|&fd, (file, registration)| {
            let alive = kernel.file_of(fd) == Ok(*file);
            let ready =
                if alive { kernel.file_readiness(*file) & registration.mask() } else { Ready::INVALID };
            if !ready.is_empty() {
                reports.push(Report { token: registration.token, ready });
            }
            alive && registration.watch.trigger == Trigger::Level
        });
    }
}

impl Hands for Epoll {
    fn name(&self) -> &'static str {
        "sim-epoll"
    }

    fn features(&self) -> Features {
        Features {
            edge: true,
            exact_edges: true,
            one_shot: true,
            peer_closed: true,
            o_ready: true,
            nanosecond_timeout: true,
            ..Features::default()
        }
    }

    fn apply(&mut self, kernel: &mut SimKernel, change: Change) -> Result<(), Errno> {
        self.take_wakes(kernel);
        match change {
            Change::Add { token, watch } | Change::Modify { token, watch } => self.set(kernel, token, watch),
            Change::Remove { token } => {
                self.always.remove(&token.fd());
                if let Ok(file) = kernel.file_of(token.fd()) {
                    self.drop_item((token.fd(), file)); // by number: trap (a)
                }
                Ok(())
            }
        }
    }

    fn collect(&mut self, kernel: &mut SimKernel, max_reports: usize, reports: &mut Vec<Report>) {
        self.take_wakes(kernel);
        self.collect_always(kernel, reports);
        for _ in 0..self.ready.len() {
            if reports.len() >= max_reports {
                break;
            }
            let Some(key) = self.ready.pop_front() else { break };
            let item = self.items.get_mut(&key).expect("a queued item is registered");
            let ready = kernel.file_readiness(key.1) & item.registration.mask();
            if ready.is_empty() {
                item.queued = false;
                continue;
            }
            if kernel.rng.chance(kernel.faults.delay_report_permille) {
                self.ready.push_back(key);
                continue;
            }
            reports.push(Report { token: item.registration.token, ready });
            match item.registration.watch.trigger {
                Trigger::Level => self.ready.push_back(key), // trap (d)
                Trigger::Edge => item.queued = false,
                Trigger::OneShot => (item.queued, item.disarmed) = (false, true),
            }
        }
    }

    fn reinit(&mut self, kernel: &mut SimKernel) {
        kernel.take_wakes();
        *self = Epoll::default();
    }
}
