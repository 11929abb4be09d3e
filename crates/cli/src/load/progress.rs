//! Progress on stderr, where that is a terminal.

use super::args::Plan;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A bar: first of the connections, then of the time.
pub struct Progress {
    bar: ProgressBar,
    held: Arc<AtomicU64>,
    connections: u64,
    whole_ms: u64,
    measuring_since: Option<Instant>,
}

impl Progress {
    /// Nothing is drawn with `--quiet` or where stderr is no terminal.
    pub fn new(plan: &Plan, held: Arc<AtomicU64>) -> Self {
        let shown = !plan.quiet && std::io::stderr().is_terminal();
        let bar = if shown { ProgressBar::new(plan.connections as u64) } else { ProgressBar::hidden() };
        bar.set_style(style("opening {pos} of {len} connections {wide_bar}"));
        let whole_ms = (plan.warmup + plan.duration).as_millis() as u64;
        Progress { bar, held, connections: plan.connections as u64, whole_ms, measuring_since: None }
    }

    /// The connections are open; from now on time passes.
    pub fn measuring(&mut self) {
        self.measuring_since = Some(Instant::now());
        self.bar.set_length(self.whole_ms.max(1));
        self.bar.set_style(style("{msg} {wide_bar} {eta} left"));
    }

    /// Draws the present state.
    pub fn show(&mut self, messages: u64) {
        if self.bar.is_hidden() {
            return;
        }
        let held = self.held.load(Ordering::Relaxed);
        match self.measuring_since {
            None => self.bar.set_position(held),
            Some(since) => {
                self.bar.set_position((since.elapsed().as_millis() as u64).min(self.whole_ms));
                self.bar.set_message(format!("{held} of {} held, {messages} messages", self.connections));
            }
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
