//! The walls of tasks and memory, met for real: a control group, a user and an address space that allow no more.
//!
//! They need root: to make a control group, and to become a user whom RLIMIT_NPROC binds. `DUOLU_TEST_NO_ROOT=1` does
//! without.

mod compare_support;

use compare_support::*;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A user that nobody is: RLIMIT_NPROC counts all tasks of a user, and ours are to be the only ones.
const NOBODY_ELSE: &str = "61234";

fn no_root() -> bool {
    std::env::var_os("DUOLU_TEST_NO_ROOT").is_some()
}

/// A control group of the test's own, removed with it.
struct Group(PathBuf);

impl Group {
    /// With a limit in `files`: version 1's name or version 2's.
    fn new(controller: &str, files: [&str; 2], limit: u64) -> Self {
        let name = format!("duolu-test-{}-{controller}-{limit}", std::process::id());
        for folder in [format!("/sys/fs/cgroup/{controller}/{name}"), format!("/sys/fs/cgroup/{name}")] {
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Group(folder.into());
            if files.iter().any(|file| fs::write(group.0.join(file), limit.to_string()).is_ok()) {
                return group;
            }
        }
        panic!(
            "no control group with a limit on {controller} can be made here: root and a cgroup file system that can be written are needed; DUOLU_TEST_NO_ROOT=1 does without"
        );
    }

    /// A shell's words to enter it and become another program.
    fn exec(&self, program: &str) -> String {
        format!("echo $$ > {}/cgroup.procs && exec {program}", self.0.display())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let until = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            thread::sleep(Duration::from_millis(20)); // who was in it has ended, but is not buried yet
        }
    }
}

/// The last cell of a model, which stands at a wall.
fn last_wall(report: &Value, model: &str) -> (String, String, u64) {
    let cell = *cells(report, model).last().unwrap_or_else(|| panic!("{model} was not measured: {report}"));
    let text =
        |field: &str| cell["wall"][field].as_str().unwrap_or_else(|| panic!("no wall: {cell}")).to_owned();
    (text("name"), text("evidence"), cell["established"].as_u64().expect("a number"))
}

#[test]
fn a_control_group_that_allows_no_more_tasks_is_named() {
    if no_root() {
        return;
    }
    let group = Group::new("pids", ["pids.max"; 2], 60);
    let duolu = env!("CARGO_BIN_EXE_duolu");
    let line = format!("{duolu} compare --models fork,thread -c 10,100 -d 300ms --json");
    let output = run(Command::new("sh").arg("-c").arg(group.exec(&line)));
    assert_eq!(output.status.code(), Some(0), "a wall is a result: {output:?}");
    let report = json(&output);
    for (model, name) in [("fork", "processes"), ("thread", "threads")] {
        assert!(cells(&report, model)[0]["wall"].is_null(), "10 are no trouble: {report}");
        let (wall, evidence, held) = last_wall(&report, model);
        assert_eq!(wall, name, "{evidence}");
        assert!(evidence.contains("pids.max of the cgroup allows 60"), "{evidence}");
        assert!((10..60).contains(&held), "{held}: {evidence}");
    }
}

#[test]
fn a_user_who_may_have_no_more_tasks_is_named() {
    if no_root() {
        return;
    }
    // Where another user can reach it.
    let folder = Folder::new("user");
    let duolu = folder.path("duolu");
    let ours = env!("CARGO_BIN_EXE_duolu");
    if fs::hard_link(ours, &duolu).is_err() {
        fs::copy(ours, &duolu).expect("a copy of duolu");
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        NOBODY_ELSE,
        "--regid",
        NOBODY_ELSE,
        "--clear-groups",
        "prlimit",
        "--nproc=60",
        &duolu,
    ]);
    let output = run(command.args("compare --models fork,thread -c 10,100 -d 300ms --json".split(' ')));
    assert_eq!(output.status.code(), Some(0), "a wall is a result: {output:?}");
    let report = json(&output);
    for (model, name) in [("fork", "processes"), ("thread", "threads")] {
        let (wall, evidence, held) = last_wall(&report, model);
        assert_eq!(wall, name, "{evidence}");
        assert!(evidence.contains("RLIMIT_NPROC of the user allows 60"), "{evidence}");
        assert!((10..60).contains(&held), "{held}: {evidence}");
    }
}

#[test]
fn an_address_space_that_is_full_is_memory_and_not_threads() {
    let server = format!(
        "prlimit --as=140000000 {} serve echo --model thread --port {{port}}",
        env!("CARGO_BIN_EXE_duolu")
    );
    let words =
        ["--models", "none", "--also", &format!("mine={server}"), "-c", "10,1k", "-d", "300ms", "--json"];
    let output = run(&mut compare(&words));
    assert_eq!(output.status.code(), Some(0), "a wall is a result: {output:?}");
    let report = json(&output);
    assert!(cells(&report, "mine")[0]["wall"].is_null(), "10 are no trouble: {report}");
    let (wall, evidence, held) = last_wall(&report, "mine");
    assert_eq!(wall, "memory", "{evidence}");
    // Which allocation fails first is chance: a thread's stack is refused and said, or one of its own ends the server.
    assert!(evidence.contains("133 MiB") && evidence.contains("RLIMIT_AS"), "{evidence}");
    assert!(held < 1_000, "{held}: {evidence}");
}

#[test]
fn a_control_group_without_memory_is_named_and_not_a_reset() {
    if no_root() {
        return;
    }
    let group = Group::new("memory", ["memory.limit_in_bytes", "memory.max"], 24 << 20);
    let server =
        group.exec(&format!("{} serve echo --model fork --port {{port}}", env!("CARGO_BIN_EXE_duolu")));
    let words = [
        "--models", "none", "-c", "10,600", "-d", "300ms", "--name", "mine", "--json", "--", "sh", "-c",
        &server,
    ];
    let output = run(&mut compare(&words));
    let report = json(&output);
    assert!(cells(&report, "mine")[0]["wall"].is_null(), "10 are no trouble: {report}");
    let (wall, evidence, held) = last_wall(&report, "mine");
    assert_eq!(wall, "memory", "{evidence}");
    assert!(evidence.contains("24 MiB"), "{evidence}");
    assert!(held < 600, "{held}: {evidence}");
}
