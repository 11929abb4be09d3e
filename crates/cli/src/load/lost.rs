//! Whether the target went away while it was loaded. A loader that goes on counting refused connects and ends with 0
//! would let a script take a crash for a slow server.

use super::args::Plan;
use super::conduct::Outcome;
use super::errors::Kind;
use crate::walls::{Wall, grouped, listen, names, process};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long the last question, whether anybody listens, may take.
const ASK: Duration = Duration::from_secs(1);

/// Who served when the run began, where that is this machine: a process that is gone cannot be asked for its name.
pub struct Suspect {
    who: Option<(u32, String)>,
}

impl Suspect {
    /// Looks while it still serves.
    pub fn look(plan: &Plan) -> Self {
        let pids = if plan.target.is_here { listen::server_pids(plan.target.address) } else { Vec::new() };
        Suspect { who: pids.first().map(|&pid| (pid, process::name(pid).unwrap_or_default())) }
    }

    fn is_gone(&self) -> bool {
        self.who.as_ref().is_some_and(|(pid, _)| process::name(*pid).is_none())
    }
}

/// The target that went away.
pub struct Lost {
    evidence: String,
}

/// Judges an outcome: connections stood, were ended or refused by the target, and now nobody listens there (or, where
/// none is opened again, not one is left).
pub fn judge(plan: &Plan, outcome: &Outcome, suspect: &Suspect) -> Option<Lost> {
    let tally = &outcome.tally;
    let first = tally.first_loss.filter(|_| !outcome.interrupted && !tally.connect.is_empty())?;
    let target = plan.target.address;
    let refused = matches!(
        TcpStream::connect_timeout(&target, ASK),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused
    );
    let opens_again = plan.active > 0 && outcome.crowd.is_none();
    let ended = tally.errors_of(Kind::Reset) + tally.errors_of(Kind::ClosedEarly);
    let now = match refused {
        true => format!("nobody listens on {target} any more"),
        false if outcome.held == 0 && !opens_again && ended > 0 => {
            format!("it ended every connection, though somebody listens on {target} again")
        }
        false => return None,
    };
    let who = match &suspect.who {
        Some((pid, name)) if suspect.is_gone() => format!("the server, process {pid} ({name}), is gone"),
        _ => "the server went away".to_owned(),
    };
    let connects = tally.errors_of(Kind::ConnectRefused);
    let evidence = format!(
        "{who}, {}: {now}; {} of its connections were reset or closed, {} connects refused",
        when(outcome, first),
        grouped(ended),
        grouped(connects)
    );
    Some(Lost { evidence })
}

fn when(outcome: &Outcome, first: Instant) -> String {
    let end = outcome.from + outcome.measured;
    match first.checked_duration_since(outcome.from) {
        Some(_) if outcome.measured.is_zero() => "while connections were opened".to_owned(),
        Some(after) if first <= end => format!("{:.1} s into the measured window", after.as_secs_f64()),
        Some(_) => "after the measured window".to_owned(),
        None => "before the measured window".to_owned(),
    }
}

impl Lost {
    /// For the result.
    pub fn wall(&self) -> Wall {
        let fix = "see its last words, if any; dmesg tells whether the kernel killed it";
        Wall::new(names::SERVER_ENDED, self.evidence.clone(), fix)
    }

    /// For the last line of the run.
    pub fn sentence(&self) -> String {
        format!("{}; the figures end there", self.evidence)
    }
}
