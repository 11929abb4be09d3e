//! Runs one program, within bounds.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What became of a program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Its standard output.
    pub stdout: String,
    /// Its standard error: shown, not compared.
    pub stderr: String,
    /// "exit status: 0", "signal: 6", "timed out".
    pub end: String,
}

/// Runs `program` with these variables set (None: removed). Its output goes through files: a pipe would fill while nobody reads.
///
/// # Panics
/// If it cannot be started.
pub fn run(program: &Path, variables: &[(&str, Option<&str>)], most: Duration) -> Outcome {
    let files = program.with_extension(format!("{:?}.out", std::thread::current().id()));
    let errors = files.with_extension("err");
    let mut command = Command::new(program);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    command.stdout(File::create(&files).expect("the target directory can be written to"));
    command.stderr(File::create(&errors).expect("the target directory can be written to"));
    let mut child = command.spawn().expect("what was compiled starts");
    let started = Instant::now();
    let end = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break status.to_string(),
            None if started.elapsed() > most => {
                let _ = child.kill();
                let _ = child.wait();
                break format!("timed out after {most:?}");
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    Outcome { stdout: text(&files), stderr: text(&errors), end }
}
