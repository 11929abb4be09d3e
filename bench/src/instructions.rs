//! Instructions in user space, counted by callgrind: the same on every run and every machine.

use crate::Outcome;
use crate::subjects::Subject;
use std::io::Write;
use std::process::Stdio;

const SHORT: u64 = 10_000;
const LONG: u64 = 60_000;

/// The difference of a long and a short run, so that start and end drop out.
pub fn per_event(subject: &Subject) -> Outcome<f64> {
    Ok((collected(subject, LONG)? - collected(subject, SHORT)?) as f64 / (LONG - SHORT) as f64)
}

fn collected(subject: &Subject, count: u64) -> Outcome<u64> {
    let valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let mut child = match subject.command(&valgrind).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Err(format!("valgrind does not run: {error}; install valgrind").into()),
    };
    let mut input = child.stdin.take().ok_or("a pipe")?;
    writeln!(input, "{count}")?;
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let number =
        said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number.trim());
    match number {
        Some(number) if output.status.success() => Ok(number.parse()?),
        _ => Err(format!("{} under callgrind: {said}", subject.name).into()),
    }
}
