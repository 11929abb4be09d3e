//! The programs that are compared: how they are built, started and talked to.
//!
//! A ring subject reads a count from its standard input, does that many events, and answers with a line. It
//! stays up between windows, so what it does first (allocating, touching pages) is outside of them.

use crate::Outcome;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Where the programs are.
pub struct Programs {
    duolu: PathBuf,
    raw_epoll: PathBuf,
    libevent: PathBuf,
}

/// A program with its arguments.
#[derive(Clone)]
pub struct Subject {
    pub name: String,
    program: PathBuf,
    arguments: Vec<String>,
    changelist: bool,
}

impl Programs {
    /// Compiles the C programs beside this one; duolu's has been built with it.
    pub fn build() -> Outcome<Self> {
        let own = std::env::current_exe()?;
        let directory = own.parent().ok_or("an executable has a directory")?;
        let duolu = directory.join("duolu-bench-subject");
        if !duolu.exists() {
            return Err(format!("{} is missing: use bench/run.sh", duolu.display()).into());
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c");
        let raw_epoll = compile(&source.join("raw_epoll.c"), directory, &[])?;
        let libevent = compile(&source.join("libevent.c"), directory, &["-levent_core"])?;
        Ok(Programs { duolu, raw_epoll, libevent })
    }

    pub fn duolu(&self, mode: &str) -> Subject {
        Subject::new("duolu", &self.duolu, mode)
    }
    pub fn raw_epoll(&self, mode: &str) -> Subject {
        Subject::new("raw epoll", &self.raw_epoll, mode)
    }
    pub fn libevent(&self, mode: &str) -> Subject {
        Subject::new("libevent", &self.libevent, mode)
    }
    pub fn libevent_changelist(&self, mode: &str) -> Subject {
        Subject { changelist: true, ..Subject::new("libevent, changelist", &self.libevent, mode) }
    }
    pub fn all(&self, mode: &str) -> [Subject; 3] {
        let raw = if mode == "rearm" { "rearm-oneshot" } else { mode };
        [self.raw_epoll(raw), self.duolu(mode), self.libevent(mode)]
    }
}

fn compile(source: &Path, directory: &Path, libraries: &[&str]) -> Outcome<PathBuf> {
    let program = directory.join(source.file_stem().ok_or("a source has a name")?);
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-Wall", "-o"]).arg(&program).arg(source).args(libraries);
    match compiler.status() {
        Ok(status) if status.success() => Ok(program),
        Ok(_) => Err(format!("{} does not compile; libevent-dev may be missing", source.display()).into()),
        Err(error) => Err(format!("cc does not run: {error}; install gcc").into()),
    }
}

impl Subject {
    fn new(who: &str, program: &Path, mode: &str) -> Self {
        Subject {
            name: format!("{who}, {mode}"),
            program: program.to_owned(),
            arguments: vec![mode.to_owned()],
            changelist: false,
        }
    }

    /// With further arguments.
    pub fn with(mut self, numbers: &[usize]) -> Self {
        self.arguments.extend(numbers.iter().map(usize::to_string));
        self
    }

    /// The command, under `wrapper` (a program and its arguments).
    pub fn command(&self, wrapper: &[&str]) -> Command {
        let mut command = match wrapper {
            [] => Command::new(&self.program),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.program);
                command
            }
        };
        command
            .args(&self.arguments)
            .env_remove("DUOLU_BACKEND")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if self.changelist {
            command.env("EVENT_EPOLL_USE_CHANGELIST", "1");
        }
        command
    }

    /// Runs once and gives the numbers of its one line.
    pub fn numbers(&self) -> Outcome<Vec<f64>> {
        let output = self.command(&["taskset", "-c", "1"]).stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let enough = output.status.success() && numbers.len() >= 2;
        if enough { Ok(numbers) } else { Err(format!("{} failed: {text:?}", self.name).into()) }
    }

    pub fn start(&self) -> Outcome<Running> {
        let mut child = self.command(&["taskset", "-c", "1"]).spawn()?;
        let input = child.stdin.take().ok_or("a pipe")?;
        let output = BufReader::new(child.stdout.take().ok_or("a pipe")?);
        Ok(Running { child, input, output })
    }
}

/// A subject between windows.
pub struct Running {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// CPU time in nanoseconds, per event, of a window of `count` events.
    pub fn window(&mut self, count: usize) -> Outcome<f64> {
        let before = self.cpu_ns()?;
        writeln!(self.input, "{count}")?;
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a subject ended in the middle of its work".into());
        }
        Ok((self.cpu_ns()? - before) as f64 / count as f64)
    }

    /// What the scheduler charged the process: other programs' time is not in it, their cold caches are.
    fn cpu_ns(&self) -> Outcome<u64> {
        // It is charged when it goes to sleep, which is right after its answer.
        std::thread::sleep(Duration::from_micros(300));
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        Ok(text.split_whitespace().next().ok_or("schedstat has a first field")?.parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
