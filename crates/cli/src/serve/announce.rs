//! What a running server says: one line when it is ready, one when it begins to end, one when it had to cut.

use super::board::{Board, Count};
use super::notify;
use super::service::Service;
use crate::model::Model;
use crate::terminal::tell;
use crate::walls::grouped;
use serde::Serialize;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// The facts, and to whom they are told.
#[derive(Clone, Debug)]
pub struct Announce {
    pub service: Service,
    pub model: Model,
    pub address: SocketAddr,
    /// Whether that is a service manager's socket.
    pub inherited: bool,
    pub admin: Option<SocketAddr>,
    pub workers: usize,
    /// Whether those are processes though the model has a loop.
    pub processes: bool,
    /// `shared`, `exclusive`, `reuseport`; nothing for models that have one acceptor.
    pub accept: Option<&'static str>,
    /// Nothing but warnings on stderr.
    pub quiet: bool,
    /// One line of JSON on stdout when ready.
    pub json: bool,
    /// The counters are told as a line of JSON on stdout, and at the end whatever the service.
    pub json_stats: bool,
}

impl Announce {
    /// The server accepts connections, by way of `backend`.
    pub fn ready(&self, backend: &str) {
        notify::ready();
        let pid = std::process::id();
        let descriptors = descriptor_limit();
        if !self.quiet {
            let (service, address, model) = (self.service, self.address, self.model);
            let from = if self.inherited { " (the service manager's socket)" } else { "" };
            let workers = self.workers_in_words();
            let admin = self.admin.map_or_else(String::new, |admin| format!(", admin on {admin}"));
            let most =
                descriptors.map_or_else(|| "any number of".to_owned(), |most| format!("at most {most}"));
            let each = if self.processes { " each" } else { "" };
            tell(&format!(
                "duolu serve: {service} on {address}{from}{admin}, model {model}{workers}, pid {pid}, {most} descriptors{each}"
            ));
        }
        if self.json {
            let line = serde_json::to_string(&Line {
                schema: 1,
                ready: true,
                service: self.service.to_string(),
                address: self.address.to_string(),
                port: self.address.port(),
                inherited: self.inherited,
                model: self.model,
                workers: self.workers,
                processes: self.processes,
                accept: self.accept,
                pid,
                backend,
                fallback: None,
                descriptors,
                admin: self.admin.map(|admin| admin.to_string()),
            })
            .unwrap_or_default(); // strings and numbers: it cannot fail
            print_line(&line);
        }
    }

    /// What has been counted so far; somebody has asked (SIGUSR1), so `quiet` does not matter.
    pub fn counts(&self, board: Board) {
        if self.json_stats {
            let counts = Count::ALL.map(|(count, name, _)| (name.to_owned(), board.sum(count).into()));
            let mut line = serde_json::Map::from_iter(counts);
            line.insert("schema".to_owned(), 1.into());
            line.insert("service".to_owned(), self.service.to_string().into());
            line.insert("duolu_connections_open".to_owned(), board.open().into());
            return print_line(&serde_json::Value::Object(line).to_string());
        }
        let words = Count::ALL.iter().filter_map(|(count, name, _)| {
            let sum = board.sum(*count);
            let name = name.trim_start_matches("duolu_").trim_end_matches("_total").replace('_', " ");
            (sum > 0).then(|| format!(", {name} {}", grouped(sum)))
        });
        let words: String = words.collect();
        tell(&format!("duolu serve: {}: connections open {}{words}", self.service, grouped(board.open())));
    }

    /// The end: a proxy tells what it has passed on, others do if they were told to.
    pub fn finished(&self, board: Board) {
        if self.json_stats || (self.service == Service::Proxy && !self.quiet) {
            self.counts(board);
        }
    }

    /// The end has begun, and nobody is turned away for `lame_duck` yet.
    pub fn leaving(&self, lame_duck: Duration) {
        if !self.quiet {
            tell(&format!(
                "duolu serve: ending: /readyz says 503, whoever comes within {lame_duck:?} is still served (--lame-duck)"
            ));
        }
    }

    /// Nobody else is let in while `open` connections were open.
    pub fn draining(&self, open: u64, drain: Duration) {
        if !self.quiet && open > 0 {
            tell(&format!(
                "duolu serve: no new connections; {open} open may finish within {drain:?}, Ctrl-C again ends them now"
            ));
        }
    }

    /// The end, with `open` connections cut.
    pub fn ended(&self, open: u64, drain: Duration) {
        if !self.quiet && open > 0 {
            let who = if open == 1 { "1 connection was" } else { &format!("{open} connections were") };
            tell(&format!("duolu serve: {who} not done after {drain:?}, cut now (--drain gives more time)"));
        }
    }

    fn workers_in_words(&self) -> String {
        let processes = self.processes || self.model == Model::Prefork;
        let what = match (self.model, processes, self.workers) {
            (Model::Fork | Model::Thread, ..) => return String::new(),
            (_, true, 1) => "process",
            (_, true, _) => "processes",
            (_, false, 1) => "worker",
            (_, false, _) => "workers",
        };
        let accept = match self.accept {
            Some(accept) if self.workers > 1 => format!(" (accept {accept})"),
            _ => String::new(),
        };
        format!(", {} {what}{accept}", self.workers)
    }
}

/// The line of `--json-ready`.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    ready: bool,
    service: String,
    address: String,
    port: u16,
    /// Whether that is a service manager's socket (LISTEN_FDS).
    inherited: bool,
    model: Model,
    workers: usize,
    /// Whether the workers of a model with a loop are processes (`--processes`).
    processes: bool,
    accept: Option<&'a str>,
    pid: u32,
    backend: &'a str,
    /// Always null: a model that cannot run is an error (exit code 3), never silently another one.
    fallback: Option<&'a str>,
    descriptors: Option<u64>,
    admin: Option<String>,
}

/// A line on stdout. Whoever started us may not read it; the server serves all the same.
fn print_line(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// How many descriptors this process may have; nothing: as many as it likes.
fn descriptor_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}
