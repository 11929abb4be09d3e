//! `-o FILE.html|svg`: watches for a while, and draws the state diagram into a file.

use super::args::Plan;
use super::diagram::page::Page;
use super::missing;
use super::transitions::{Look, Observer, Via};
use super::view::View;
use super::watch;
use crate::failure::Failure;
use crate::inspect::Socket;
use crate::machine::utc;
use crate::report::put;
use crate::{compare, terminal};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Sampling sees more the more often it looks.
const PACE: Duration = Duration::from_millis(500);
/// Ctrl-C waits at most so long.
const HEED: Duration = Duration::from_millis(50);

/// What the file is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Page,
    Drawing,
}

/// Writes the file.
///
/// # Errors
/// A name that is neither (2); nothing there, or it cannot be read or written (3); 130 after Ctrl-C, with what was seen
/// until then in the file.
pub fn run(plan: Plan, path: &Path, duration: Duration, via: Via) -> Result<(), Failure> {
    let kind = kind(path)?;
    let plan = Rc::new(plan);
    let mut observer = watch::observe(&plan, &Default::default(), via)?;
    compare::interrupt::listen()
        .map_err(|error| Failure::cannot(format!("cannot listen for Ctrl-C: {error}")))?;
    let look = gather(&mut observer, duration)?;
    let is_listed =
        |socket: &&Socket| observer.is_asked(socket) && plan.filter.states.contains(socket.tcp.state);
    let picked = look.snapshot.sockets.iter().filter(is_listed).collect();
    let view = View { snapshot: &look.snapshot, picked };
    if let Some(missing) = missing::reason(&plan, &view) {
        return Err(missing);
    }
    let seconds = look.snapshot.clock.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let page = Page {
        look: &look,
        view: &view,
        at: plan.target.shown(),
        when: utc(seconds).replace('T', " ").replace('Z', " UTC"),
        lang: plan.asked,
    };
    put(&if kind == Kind::Page { page.html() } else { page.svg(plan.lang) }, path)?;
    if !plan.quiet {
        terminal::tell(&format!("duolu: wrote {}", path.display()));
    }
    if compare::interrupt::requested() { Err(Failure::interrupted()) } else { Ok(()) }
}

/// By its ending.
fn kind(path: &Path) -> Result<Kind, Failure> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "html" | "htm" => Ok(Kind::Page),
        "svg" => Ok(Kind::Drawing),
        _ => Err(Failure::usage(format!("-o {}: write FILE.html or FILE.svg", path.display()))),
    }
}

/// Looks for so long; the last look, with everything that moved since the first.
fn gather(observer: &mut Observer, duration: Duration) -> Result<Look, Failure> {
    let unreadable = |error: crate::inspect::Unreadable| Failure::cannot(error.to_string());
    let mut last = observer.look().map_err(unreadable)?;
    let (begun, mut due) = (last.snapshot.taken_at, Instant::now());
    let end = begun + duration;
    while Instant::now() < end && !compare::interrupt::requested() {
        due = (due + PACE).min(end);
        while Instant::now() < due && !compare::interrupt::requested() {
            std::thread::sleep(HEED.min(due.saturating_duration_since(Instant::now())));
        }
        last = observer.look().map_err(unreadable)?;
    }
    last.picture.lately = last.picture.since;
    last.picture.span = last.snapshot.taken_at - begun;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_what_the_file_is() {
        assert_eq!(kind(Path::new("a/b.HTML")).ok(), Some(Kind::Page));
        assert_eq!(kind(Path::new("states.svg")).ok(), Some(Kind::Drawing));
        for other in ["states", "states.png", "-", "html"] {
            let refused = kind(Path::new(other)).expect_err("neither").message().to_owned();
            assert!(refused.contains("FILE.html"), "{refused}");
        }
    }
}
