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
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
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
    complaining: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
    unpinned: Option<String>,
}

/// What to start, and in which surroundings.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The words of the command line after the program.
    pub arguments: Vec<String>,
    /// The processors it gets; empty for all.
    pub cpus: Vec<usize>,
    /// Its RLIMIT_NOFILE.
    pub nofile: Option<u64>,
    /// What reaches it if we die first.
    pub death_signal: i32,
}

/// Whose program it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This one: its stdout is for us to read.
    Ours,
    /// The user's: what it prints is kept as its last words.
    Theirs,
}

impl Started {
    /// Starts this program again with other arguments.
    pub fn start(start: &Start) -> Result<Self, Failure> {
        // A new version may have taken this program's place meanwhile: the kernel still has the one that runs.
        let program = std::env::current_exe()
            .ok()
            .filter(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        Self::run(&program, start, Whose::Ours).map_err(|(error, limit)| {
            Failure::cannot(format!("cannot start 'duolu {}'{limit}: {error}", start.arguments.join(" ")))
        })
    }

    /// Starts a program of the user's.
    pub fn program(program: &str, start: &Start) -> Result<Self, Failure> {
        Self::run(Path::new(program), start, Whose::Theirs).map_err(|(error, limit)| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "there is no such program (in PATH, or at that path)".to_owned(),
                io::ErrorKind::PermissionDenied => "it may not be executed (chmod +x?)".to_owned(),
                _ => error.to_string(),
            };
            Failure::cannot(format!("cannot start '{program}'{limit}: {why}"))
        })
    }

    fn run(program: &Path, start: &Start, whose: Whose) -> Result<Self, (io::Error, String)> {
        let limit = start.nofile.map_or(String::new(), |limit| format!(" with RLIMIT_NOFILE {limit}"));
        match spawn(program, start, &start.cpus) {
            Ok(child) => Ok(Self::attend(child, whose, None)),
            // Without the processors it may work: a sandbox that forbids sched_setaffinity(2), a cpuset that shrank.
            Err(refused) if !start.cpus.is_empty() => match spawn(program, start, &[]) {
                Ok(child) => Ok(Self::attend(child, whose, Some(refused.to_string()))),
                Err(error) => Err((error, limit)),
            },
            Err(error) => Err((error, limit)),
        }
    }

    fn attend(mut child: Child, whose: Whose, unpinned: Option<String>) -> Self {
        let (sender, lines) = mpsc::channel();
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let mut complaining = Vec::new();
        match (child.stdout.take(), whose) {
            (Some(stdout), Whose::Theirs) => complaining.push(read_lines(stdout, keep_in(&complaints))),
            (Some(stdout), Whose::Ours) => {
                read_lines(stdout, move |line| {
                    let _ = sender.send(line); // nobody listens any more: read on all the same, trap (b)
                });
            }
            (None, _) => {}
        }
        complaining.extend(child.stderr.take().map(|stderr| read_lines(stderr, keep_in(&complaints))));
        Started { child, lines, complaints, complaining, ended: None, unpinned }
    }

    /// Why it does not run on the processors it should, if that was refused.
    pub fn unpinned(&self) -> Option<&str> {
        self.unpinned.as_deref()
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
        while !self.is_running() && self.complaining.iter().any(reading) && Instant::now() < until {
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

fn spawn(program: &Path, start: &Start, cpus: &[usize]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(&start.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let surroundings = Surroundings {
        own_session: true,
        cpus: cpus.to_vec(),
        nofile: start.nofile,
        death_signal: Some(start.death_signal),
    };
    surroundings.apply(&mut command);
    command.spawn()
}

/// Keeps the last lines.
fn keep_in(complaints: &Arc<Mutex<VecDeque<String>>>) -> impl FnMut(String) + Send + use<> {
    let kept = Arc::clone(complaints);
    move |mut line| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LAST_LINES {
            kept.pop_front();
        }
        line.truncate(line.floor_char_boundary(LONGEST_LINE));
        kept.push_back(line);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, cpus: &[usize]) -> Started {
        let arguments = words(&["-c", script]);
        Started::program("sh", &Start { arguments, cpus: cpus.to_vec(), nofile: None, death_signal: SIGKILL })
            .expect("sh starts")
    }

    #[test]
    fn who_may_not_pin_runs_unpinned_and_says_so() {
        let mut child = shell("echo ready", &[1023]);
        assert!(child.unpinned().is_some_and(|why| why.contains("Invalid argument")), "no such processor");
        let until = Instant::now() + Duration::from_secs(20);
        while child.is_running() && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        assert!(child.reap().is_some_and(|status| status.success()));
        assert_eq!(child.complaints(), ["ready"], "what a foreign program prints is kept");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_clear_sentence() {
        let failure = Started::program("./no-such-server", &Start::default()).err().expect("it is not there");
        assert!(failure.message().contains("no such program"), "{}", failure.message());
    }
}
