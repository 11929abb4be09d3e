//! Whether the target went away while it was loaded. A loader that goes on counting refused connects and ends with 0
//! would let a script take a crash for a slow server.

use super::args::Plan;
use super::conduct::Outcome;
use super::errors::Kind;
use crate::walls::{Wall, listen, names, process};
use serde_json::json;
use std::net::TcpStream;
use std::time::Duration;

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
    wall: Wall,
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
    let all_ended = outcome.held == 0 && !opens_again && ended > 0;
    if !refused && !all_ended {
        return None;
    }
    let gone = suspect.who.as_ref().filter(|_| suspect.is_gone());
    let after = first.checked_duration_since(outcome.from).filter(|after| *after <= outcome.measured);
    let opening = outcome.measured.is_zero();
    let facts = json!({
        "pid": gone.map(|(pid, _)| pid),
        "process": gone.map(|(_, name)| name),
        "unknown": gone.is_none(),
        "after": after.filter(|_| !opening).map(|after| after.as_secs_f64()),
        "opening": opening,
        "outside": !opening && after.is_none(),
        "refused": refused,
        "back": !refused,
        "target": target.to_string(),
        "ended": ended,
        "refusals": tally.errors_of(Kind::ConnectRefused),
    });
    Some(Lost { wall: Wall::told(names::SERVER_ENDED, "went_away", &facts) })
}

impl Lost {
    /// For the result.
    pub fn wall(&self) -> Wall {
        self.wall.clone()
    }

    /// For the last line of the run.
    pub fn sentence(&self) -> String {
        format!("{}; the figures end there", self.wall.evidence)
    }
}
