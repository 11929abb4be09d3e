//! `pairs`: what servers cost per message, in paired windows.
//!
//! All servers stay up, each with its own connections, made once. A round is one window of load for each of them,
//! in an order that changes. What disturbs the machine for longer than a round disturbs them alike, so the ratio
//! to the first server's window of the same round is steadier than any figure alone. Name a server twice to see how
//! far a server is from itself.
//!
//! Reading order: `rounds` (who is measured when), `server` (processes and what the scheduler charged them),
//! `loader` (connections), `spread`.

mod loader;
mod rounds;
mod server;
mod spread;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: pairs [-c CONNECTIONS] [--active N] [--bytes N] [--churn] [--starts N] [--rounds N] [--window MS] NAME=COMMAND...
  COMMAND listens on 127.0.0.1 at {port} and sends back what it gets. The first is what the others are compared with.
  -c 50         connections to each server, or with --churn so many at a time
  --active N    so many of them talk, the rest are held idle (all)
  --bytes 64    of a message
  --churn       a connection for each message
  --starts 5    so often everything is started anew
  --rounds 4    quiet ones in each: those in which server or loader waited long for a processor are taken again
  --window 200  milliseconds";

/// What is asked for.
pub struct Plan {
    pub load: Load,
    pub starts: usize,
    pub rounds: usize,
    pub window: Duration,
    /// Names and commands.
    pub servers: Vec<(String, String)>,
}

#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    pub active: usize,
    pub bytes: usize,
    pub churn: bool,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let is_loader = words.next_if(|word| word == loader::VERB).is_some();
    let done = if is_loader { loader::run(words) } else { parse(words).and_then(|plan| rounds::run(&plan)) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pairs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Plan> {
    let mut load = Load { connections: 50, active: usize::MAX, bytes: 64, churn: false };
    let mut plan =
        Plan { load, starts: 5, rounds: 4, window: Duration::from_millis(200), servers: Vec::new() };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().unwrap_or_default();
            let number = text.parse::<usize>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| format!("{word} wants a number above 0, not '{text}'\n{USAGE}"))
        };
        match word.as_str() {
            "-c" => load.connections = number()?,
            "--active" => load.active = number()?,
            "--bytes" => load.bytes = number()?,
            "--starts" => plan.starts = number()?,
            "--rounds" => plan.rounds = number()?,
            "--window" => plan.window = Duration::from_millis(number()? as u64),
            "--churn" => load.churn = true,
            _ => match word.split_once('=') {
                Some((name, command)) if command.contains("{port}") => {
                    plan.servers.push((name.to_owned(), command.to_owned()));
                }
                _ => {
                    return Err(
                        format!("'{word}' is no option, and no NAME=COMMAND with {{port}}\n{USAGE}").into()
                    );
                }
            },
        }
    }
    if plan.servers.is_empty() {
        return Err(USAGE.into());
    }
    load.active = load.active.min(load.connections);
    plan.load = load;
    Ok(plan)
}
