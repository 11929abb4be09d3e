//! Running `duolu compare` as a person does, bounded in time, with nobody left behind.

#![allow(dead_code)] // each test program uses its part

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[path = "../support/wait.rs"]
mod wait;
pub use wait::{PATIENCE, wait};

pub const SIGINT: i32 = 2;
pub const SIGKILL: i32 = 9;

pub fn compare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duolu"));
    command.arg("compare").args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end, but not longer than [`PATIENCE`].
pub fn run(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("duolu starts");
    wait(child)
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The figures of a model, by rung.
pub fn cells<'a>(report: &'a Value, model: &str) -> Vec<&'a Value> {
    let results = report["results"].as_array().expect("results");
    results.iter().filter(|cell| cell["model"] == model).collect()
}

pub fn descendants(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    children.iter().flat_map(|&child| std::iter::once(child).chain(descendants(child))).collect()
}

/// Waits until compare has so many descendants; the first is the server, which is started first.
pub fn wait_for_descendants(mut child: Child, least: usize) -> (Child, Vec<u32>) {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = descendants(child.id());
        if found.len() >= least {
            return (child, found);
        }
        if child.try_wait().expect("its state").is_some() || Instant::now() > until {
            let _ = child.kill();
            panic!("only {found:?}: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

pub fn wait_until_gone(pids: &[u32]) {
    let until = Instant::now() + PATIENCE;
    let alive = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
    };
    while let Some(pid) = pids.iter().find(|pid| alive(pid)) {
        assert!(Instant::now() < until, "process {pid} outlived compare");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A folder of the test's own, gone when the test is over.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("duolu-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder of our own");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a plain path").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process of the test's that is ended with it.
pub struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it said on stderr.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it printed on stdout.
pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
