//! How far the run is, on stderr: a bar with the time left on a terminal, a line for each contender elsewhere.

use super::figures::{rate, time_us};
use super::result::Cell;
use crate::terminal;
use crate::walls::grouped;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The bar, or the lines, or nothing.
pub struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    quiet: bool,
    done: Duration,
    step: Option<(Instant, Duration)>,
}

impl Progress {
    /// For a run that takes about `total`. `quiet`: nothing at all.
    pub fn new(total: Duration, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::new(millis(total));
            let width = if terminal::stderr_width().is_some_and(|columns| columns < 72) { 10 } else { 24 };
            let color = if terminal::stderr_color() { ".cyan/dim" } else { "" };
            let template = format!("{{bar:{width}{color}}} {{percent:>3}} %  {{wide_msg}}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar
        });
        Progress { bar, lines: !terminal && !quiet, quiet, done: Duration::ZERO, step: None }
    }

    /// A cell begins that takes about `estimate`.
    pub fn begin(&mut self, estimate: Duration) {
        self.step = Some((Instant::now(), estimate));
    }

    /// Moves the bar: called often while a cell runs.
    pub fn tick(&self, name: &str, connections: u64) {
        let (Some(bar), Some((began, estimate))) = (&self.bar, self.step) else { return };
        let at = self.done + began.elapsed().min(estimate);
        let left = Duration::from_millis(bar.length().unwrap_or(0)).saturating_sub(at);
        bar.set_position(millis(at));
        bar.set_message(format!("{} left; {name}, {} connections", about(left), grouped(connections)));
    }

    /// The cell is over, or was skipped.
    pub fn end(&mut self, estimate: Duration) {
        self.done += estimate;
        self.step = None;
    }

    /// A contender is over: one line where there is no bar.
    pub fn line_done(&self, name: &str, cells: &[Cell]) {
        if !self.lines || cells.is_empty() {
            return;
        }
        let parts: Vec<String> = cells
            .iter()
            .map(|cell| match &cell.wall {
                Some(wall) => {
                    format!(
                        "{}: {} (held {})",
                        grouped(cell.connections),
                        wall.name,
                        grouped(cell.established)
                    )
                }
                None if cell.sampled => {
                    let p99 = cell.p99_us.map_or("-".to_owned(), time_us);
                    format!("{}: sampled, p99 {p99}", grouped(cell.connections))
                }
                None => {
                    format!("{}: {} msg/s", grouped(cell.connections), cell.rate.map_or("-".to_owned(), rate))
                }
            })
            .collect();
        self.say(&format!("{name:13}  {}", parts.join("   ")));
    }

    /// A sentence on stderr that does not tear the bar.
    pub fn say(&self, sentence: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| terminal::tell(sentence)),
            None => terminal::tell(sentence),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A time to wait, roughly: `about 40 s`, `about 3 min`.
pub fn about(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 100 => format!("about {seconds} s"),
        seconds => format!("about {} min", (seconds + 30) / 60),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_told_roughly() {
        let told = [4, 99, 100, 170, 3600].map(|seconds| about(Duration::from_secs(seconds)));
        assert_eq!(told, ["about 4 s", "about 99 s", "about 2 min", "about 3 min", "about 60 min"]);
    }
}
