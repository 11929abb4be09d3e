//! Warnings of a server in trouble: a line a second at most, however often the trouble comes.

use crate::terminal::tell;
use std::time::{Duration, Instant};

/// One kind of trouble.
#[derive(Debug, Default)]
pub struct Grumble {
    last: Option<Instant>,
    silenced: u64,
}

impl Grumble {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Says `message` on stderr, or counts it when a line was said less than a second ago.
    pub fn say(&mut self, message: impl FnOnce() -> String) {
        if let Some(line) = self.line(Instant::now(), message) {
            tell(&format!("duolu serve: {line}"));
        }
    }

    fn line(&mut self, now: Instant, message: impl FnOnce() -> String) -> Option<String> {
        if self.last.is_some_and(|last| now.duration_since(last) < Self::PAUSE) {
            self.silenced += 1;
            return None;
        }
        self.last = Some(now);
        let silenced = std::mem::take(&mut self.silenced);
        Some(match silenced {
            0 => message(),
            more => format!("{} ({more} more times since the last such line)", message()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_at_most() {
        let (mut grumble, start) = (Grumble::default(), Instant::now());
        let mut at = |ms| grumble.line(start + Duration::from_millis(ms), || "no".to_owned());
        assert_eq!(at(0).as_deref(), Some("no"));
        assert_eq!((at(1), at(999)), (None, None));
        assert_eq!(at(1000).as_deref(), Some("no (2 more times since the last such line)"));
        assert_eq!(at(1500), None);
        assert_eq!(at(2001).as_deref(), Some("no (1 more times since the last such line)"));
    }
}
