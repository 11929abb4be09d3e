//! The comparison: duolu, raw epoll in C and C libevent at the same work, on this machine, in one run.
//!
//! Prints Markdown: what bench/RESULTS.md holds is what this printed. `duolu-bench [ROUNDS]`, 40 by default.

mod instructions;
mod spread;
mod subjects;
mod windows;

use spread::Spread;
use std::error::Error;
use std::process::Command;
use subjects::{Programs, Subject};
use windows::compare;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// As libevent's own bench.
const PIPES: usize = 100;

fn main() -> Outcome {
    let rounds = match std::env::args().nth(1) {
        Some(text) => {
            text.parse().map_err(|_| format!("usage: duolu-bench [ROUNDS]; {text:?} is no number"))?
        }
        None => 40,
    };
    let programs = Programs::build()?;
    provenance()?;
    instruction_table(&programs)?;
    for (title, floor, others) in rings(&programs) {
        time_table(title, &floor, &others, rounds)?;
    }
    timer_table(&programs, (rounds / 4).clamp(3, 9))?;
    memory_table(&programs)
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or("unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn provenance() -> Outcome {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown");
    println!("- Linux {}, {} CPUs ({model})", said_by("uname", &["-r"]), said_by("nproc", &[]));
    println!("- libevent {}, {}", said_by("pkg-config", &["--modversion", "libevent"]), first_line("cc"));
    println!("- {}, {}", first_line("rustc"), said_by("valgrind", &["--version"]));
    println!("- load when it began: {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    Ok(())
}

fn first_line(program: &str) -> String {
    said_by(program, &["--version"]).lines().next().unwrap_or("unknown").to_owned()
}

fn instruction_table(programs: &Programs) -> Outcome {
    println!("\n### Userland instructions per event\n");
    println!("| | 1 active of {PIPES} | 10 | 100 |\n|---|---|---|---|");
    let modes = ["persistent", "rearm", "stream"];
    for (mode, subject) in
        modes.iter().flat_map(|mode| programs.all(mode).map(move |subject| (mode, subject)))
    {
        print!("| {} |", subject.name);
        for active in [1, 10, 100] {
            let work: &[usize] = if *mode == "stream" { &[PIPES, active, 64] } else { &[PIPES, active] };
            print!(" {:.0} |", instructions::per_event(&subject.clone().with(work))?);
        }
        println!();
    }
    Ok(())
}

/// Title, the floor, and what is compared with it.
fn rings(programs: &Programs) -> Vec<(&'static str, Subject, Vec<Subject>)> {
    let work = [PIPES, 10];
    let raw = |mode: &str| programs.raw_epoll(mode).with(&work);
    let duolu = |mode: &str| programs.duolu(mode).with(&work);
    let libevent = |mode: &str| programs.libevent(mode).with(&work);
    let mut itself = raw("persistent");
    itself.name = "raw epoll against itself".into();
    let stream = |bytes: usize| {
        let work = [50, 50, bytes];
        let mut itself = programs.raw_epoll("stream").with(&work);
        itself.name = "raw epoll against itself".into();
        let others =
            vec![itself, programs.duolu("stream").with(&work), programs.libevent("stream").with(&work)];
        (programs.raw_epoll("stream").with(&work), others)
    };
    let [(raw_64, streams_64), (raw_16k, streams_16k)] = [64, 16 * 1024].map(stream);
    vec![
        ("A message of 64 B over 50 TCP streams, both ends in the process", raw_64, streams_64),
        ("A message of 16 KiB", raw_16k, streams_16k),
        ("A persistent event", raw("persistent"), vec![itself, duolu("persistent"), libevent("persistent")]),
        (
            "A non-persistent event, re-armed in its callback, against a persistent one on raw epoll",
            raw("persistent"),
            vec![
                duolu("rearm"),
                duolu("rearm-oneshot"),
                raw("rearm-oneshot"),
                raw("rearm-del-add"),
                libevent("rearm"),
                programs.libevent_changelist("rearm").with(&work),
            ],
        ),
        (
            "Removing and adding an unchanged event",
            raw("readd"),
            vec![duolu("readd"), libevent("readd"), programs.libevent_changelist("readd").with(&work)],
        ),
    ]
}

fn time_table(title: &str, floor: &Subject, others: &[Subject], rounds: usize) -> Outcome {
    println!("\n### {title}\n");
    println!("| | ns of CPU time per event | against the floor, pair by pair |\n|---|---|---|");
    let measured = compare(floor, others, rounds)?;
    println!("| {} | {} | 1 |", floor.name, measured.floor);
    for (subject, (own, ratio)) in others.iter().zip(&measured.others) {
        println!("| {} | {own} | {} |", subject.name, ratio.precise());
    }
    Ok(())
}

fn timer_table(programs: &Programs, rounds: usize) -> Outcome {
    println!("\n### Timers, ns each\n");
    println!("| | timers | create | add | fire | fired, out of order |\n|---|---|---|---|---|---|");
    for count in [1_000, 100_000, 1_000_000] {
        let subjects = [programs.duolu("timers").with(&[count]), programs.libevent("timers").with(&[count])];
        let mut results = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (subject, rows) in subjects.iter().zip(&mut results) {
                rows.push(subject.numbers()?);
            }
        }
        for (subject, rows) in subjects.iter().zip(&results) {
            let column = |at: usize| Spread::of(rows.iter().map(|row| row[at]).collect());
            let last = rows.last().ok_or("no round")?;
            let order = last.get(4).map_or(String::new(), |disorder| format!(", {disorder}"));
            let (create, add, fire) = (column(0), column(1), column(2));
            println!("| {} | {count} | {create} | {add} | {fire} | {}{order} |", subject.name, last[3]);
        }
    }
    Ok(())
}

fn memory_table(programs: &Programs) -> Outcome {
    for (title, mode) in [("an idle event", "memory"), ("an idle stream", "stream-memory")] {
        println!("\n### Memory of {title}, bytes\n");
        println!("| | how many | from the allocator | resident |\n|---|---|---|---|");
        for count in [8_000, 10_000, 16_000] {
            for subject in [programs.duolu(mode).with(&[count]), programs.libevent(mode).with(&[count])] {
                let numbers = subject.numbers()?;
                println!("| {} | {count} | {:.0} | {:.0} |", subject.name, numbers[0], numbers[1]);
            }
        }
    }
    Ok(())
}
