//! What goes wrong in the simulated kernel: scripted one by one, or drawn from the seed.

use duolu_core::Errno;
use std::collections::VecDeque;

/// The kernel's bad mood. All off by default. Chances are per thousand waits (or changes, or reports).
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The next additions and modifications are refused with these, in order; `None` lets one pass.
    pub refuse_next: VecDeque<Option<Errno>>,
    /// The next waits fail with these, in order. EINTR is not a failure by the contract: see `interrupt_next`.
    pub fail_waits: VecDeque<Errno>,
    /// How many of the next waits end early, as after EINTR.
    pub interrupt_next: u32,
    /// An addition is refused with ENOSPC or ENOMEM.
    pub refuse_permille: u32,
    /// A wait that would sleep is interrupted at a random time before its end.
    pub interrupt_permille: u32,
    /// A wait that would sleep returns at once with nothing.
    pub spurious_wake_permille: u32,
    /// A report is held back until the next wait.
    pub delay_report_permille: u32,
    /// A registration that is not ready is reported all the same (select(2): "a file descriptor may be
    /// spuriously reported as ready").
    pub false_report_permille: u32,
    /// The reports of one wait come in random order.
    pub reorder: bool,
    /// A timed-out sleep lasts up to this much longer.
    pub max_oversleep_ns: u64,
}
