//! `duolu lab`, the multiplexing half: what it counts is what the kernel saw, and its pages fit a terminal.

use serde_json::Value;
use std::collections::HashMap;
use std::process::{Command, Output, Stdio};
use unicode_width::UnicodeWidthStr;

const DUOLU: &str = env!("CARGO_BIN_EXE_duolu");
const LABS: [&str; 15] = [
    "blocking",
    "select",
    "select-1024",
    "sparse",
    "poll",
    "ready-list",
    "event",
    "epoll-create",
    "epoll-inside",
    "ctl",
    "ptr",
    "lt-et",
    "et-uses",
    "nonblock",
    "callback",
];

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// System calls by the name of the thread that made them.
fn calls_by_thread(trace: &str) -> HashMap<String, HashMap<String, usize>> {
    let mut names: HashMap<&str, String> = HashMap::new();
    let mut calls: HashMap<String, HashMap<String, usize>> = HashMap::new();
    for line in trace.lines() {
        let Some((tid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(rest) = call.strip_prefix("prctl(PR_SET_NAME, \"") {
            names.insert(tid, rest.split('"').next().unwrap_or_default().to_owned());
        } else if let (Some(thread), Some((name, _))) = (names.get(tid), call.split_once('(')) {
            // A call that another thread interrupted is written in two lines; only its first has a parenthesis at once.
            if name
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter == '_' || letter.is_ascii_digit())
            {
                *calls.entry(thread.clone()).or_default().entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    calls
}

#[test]
fn strace_counts_the_same_calls_as_the_lab() {
    let file = std::env::temp_dir().join(format!("duolu-lab-{}.strace", std::process::id()));
    let path = file.to_str().expect("a name in UTF-8");
    let traced = "--trace=epoll_wait,epoll_pwait,recvfrom,prctl";
    let output =
        run("strace", &["-f", "-qq", "-o", path, traced, DUOLU, "lab", "lt-et", "--on-host", "--json"]);
    let trace = std::fs::read_to_string(&file).expect("strace wrote its trace");
    std::fs::remove_file(&file).expect("the trace is ours");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let calls = calls_by_thread(&trace);
    let of = |thread: &str| {
        let own = calls.get(thread).unwrap_or_else(|| panic!("no thread {thread} in {calls:?}"));
        let count = |name: &str| own.get(name).copied().unwrap_or(0);
        (count("epoll_wait") + count("epoll_pwait"), count("recvfrom"))
    };
    // A hundred messages of 1,000 bytes each.
    let counted = ["lt/500", "lt/4096", "et/500", "et/4096", "et-short/500", "et-short/4096"].map(of);
    assert_eq!(counted, [(200, 200), (100, 100), (100, 300), (100, 200), (100, 300), (100, 100)]);
}

#[test]
fn few_descriptors_make_a_smaller_table_and_say_what_is_missing() {
    let limited =
        |name: &str| run("prlimit", &["--nofile=300:300", DUOLU, "lab", name, "--on-host", "--json"]);
    let output = limited("ready-list");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let observed = document["labs"][0]["observed"].as_str().expect("observed");
    assert!(observed.contains("300 (ulimit -Hn)") && observed.contains("at 100 as at 10"), "{observed}");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = limited("select-1024");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("ulimit -Hn 4096"), "{}", text(&output.stderr));
}

#[test]
fn a_machine_that_allows_next_to_nothing_contradicts_no_page() {
    for name in LABS {
        let output = run("prlimit", &["--nofile=40:40", DUOLU, "lab", name, "--on-host"]);
        let code = output.status.code();
        assert!(code == Some(0) || code == Some(3), "{name}: {code:?} {}", text(&output.stdout));
    }
}

#[test]
fn every_page_fits_eighty_columns_in_both_languages() {
    for lang in ["en", "zh"] {
        for name in LABS {
            let output = run(DUOLU, &["lab", name, "--on-host", "--lang", lang]);
            assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
            let page = text(&output.stdout);
            for line in page.lines() {
                assert!(line.width() <= 80, "{name}, {lang}: {line}");
            }
        }
    }
}

#[test]
fn the_notes_scenario_is_drawn() {
    let output = run(DUOLU, &["lab", "lt-et", "--on-host"]);
    let page = text(&output.stdout);
    let ticks: Vec<usize> = page
        .lines()
        .filter(|line| line.starts_with("  event"))
        .map(|line| line.matches('▲').count())
        .collect();
    assert_eq!(ticks, [5, 3], "LT reports five times, ET three times: {page}");
    assert!(page.contains("内存里面还有500b,此时epoll,触发？"), "{page}");
}
