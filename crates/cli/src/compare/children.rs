//! The processes that compare starts: they are ended with it, whatever happens, and what they say is kept.
//!
//! Traps, referred to below:
//! (a) A process id belongs to its child until somebody waits for it, and so does the id of the group it leads.
//!     So the group is signalled first and the leader waited for last, never the other way round.
//! (b) A pipe that nobody reads fills up and stops its writer: both pipes are read to their end by threads.

use crate::failure::Failure;
use duolu_sys::child::{self, Surroundings};
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// SIGINT, SIGKILL and SIGTERM: the same numbers on every Linux.
pub const SIGINT: i32 = 2;
/// Ends anything at once.
pub const SIGKILL: i32 = 9;
/// Ends a server politely.
pub const SIGTERM: i32 = 15;

/// How many of its last lines on stderr are kept, and how much of each.
const LAST_LINES: usize = 12;
const LONGEST_LINE: usize = 400;

/// A child that leads a session and process group of its own. Dropping it kills the group.
pub struct Started {
    child: Child,
    lines: mpsc::Receiver<String>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    complaining: Option<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Started {
    /// Starts this program again with other arguments. `death_signal` reaches it if we die first.
    pub fn start(
        arguments: &[String],
        cpus: &[usize],
        nofile: Option<u64>,
        death_signal: i32,
    ) -> Result<Self, Failure> {
        // A new version may have taken this program's place meanwhile: the kernel still has the one that runs.
        let program = std::env::current_exe()
            .ok()
            .filter(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let surroundings =
            Surroundings { own_session: true, cpus: cpus.to_vec(), nofile, death_signal: Some(death_signal) };
        surroundings.apply(&mut command);
        let mut child = command.spawn().map_err(|error| {
            let limit = nofile.map_or(String::new(), |limit| format!(" with RLIMIT_NOFILE {limit}"));
            Failure::cannot(format!("cannot start 'duolu {}'{limit}: {error}", arguments.join(" ")))
        })?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, move |line| {
                let _ = sender.send(line); // nobody listens any more: read on all the same, trap (b)
            });
        }
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&complaints);
        let complaining = child.stderr.take().map(|stderr| {
            read_lines(stderr, move |mut line| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LAST_LINES {
                    kept.pop_front();
                }
                line.truncate(line.floor_char_boundary(LONGEST_LINE));
                kept.push_back(line);
            })
        });
        Ok(Started { child, lines, complaints, complaining, ended: None })
    }

    /// Its process id, which is its group's as well.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs. It stays unreaped when it has ended (trap a).
    pub fn is_running(&self) -> bool {
        self.ended.is_none()
            && fs::read_to_string(format!("/proc/{}/stat", self.pid()))
                .ok()
                .and_then(|stat| Some(!stat.rsplit_once(") ")?.1.starts_with(['Z', 'X'])))
                .unwrap_or(false)
    }

    /// The next line of its stdout, if one comes in time.
    pub fn next_line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// What it printed on stdout and nobody has read yet; waits for its end, but not longer than `patience`.
    pub fn remaining_output(&self, patience: Duration) -> String {
        let until = Instant::now() + patience;
        let mut text = String::new();
        while let Some(line) = self.next_line(until.saturating_duration_since(Instant::now())) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// The last lines it wrote on stderr; all of them if it has ended.
    pub fn complaints(&self) -> Vec<String> {
        let until = Instant::now() + Duration::from_millis(300);
        let reading = |thread: &JoinHandle<()>| !thread.is_finished();
        while !self.is_running() && self.complaining.as_ref().is_some_and(reading) && Instant::now() < until {
            thread::sleep(Duration::from_millis(2)); // what it wrote may still be on its way through the pipe
        }
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The last sentence it wrote on stderr that is about an error, if any; else the last one.
    pub fn last_words(&self) -> Option<String> {
        let lines = self.complaints();
        let is_error = |line: &&String| line.starts_with("duolu") || line.contains("error");
        let line = lines.iter().rfind(is_error).or_else(|| lines.iter().rfind(|line| !line.is_empty()))?;
        let line = ["duolu: ", "duolu serve: ", "duolu load: ", "error: "]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix))
            .unwrap_or(line);
        Some(line.to_owned())
    }

    /// Sends it a signal, if it still is ours to signal.
    pub fn signal(&self, signo: i32) {
        if self.ended.is_none() {
            let _ = child::signal(self.pid(), signo); // it may have ended by itself
        }
    }

    /// Ends it: SIGTERM, then SIGKILL to its whole group when it has ended or `grace` is over. Idempotent.
    pub fn end(&mut self, grace: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.signal(SIGTERM);
            let until = Instant::now() + grace;
            while self.is_running() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            self.kill();
        }
        self.ended
    }

    /// Waits for its end, kills what is left of its group, and says how it ended. `None`: it still runs.
    pub fn reap(&mut self) -> Option<ExitStatus> {
        if !self.is_running() {
            self.kill();
        }
        self.ended
    }

    fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = child::signal_group(self.pid(), SIGKILL); // nobody may be left
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command line from its words.
pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(SIGKILL)) => {
            "was killed (SIGKILL; the kernel does that when memory is used up)".to_owned()
        }
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn read_lines(
    source: impl Read + Send + 'static,
    mut sink: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|got| got > 0) {
            sink(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    })
}
