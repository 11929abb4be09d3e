//! `duolu compare` as a person runs it: real servers, real connections, small rungs and short windows.

mod compare_support;

use compare_support::*;
use duolu_sys::child::{Surroundings, signal};
use serde_json::Value;
use std::fs;
use std::process::Stdio;

#[test]
fn the_json_contract_holds_and_prefork_ends_at_its_processes() {
    let output =
        run(&mut compare(&["--models", "thread,prefork", "--connections", "8,40", "-d", "300ms", "--json"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    assert_eq!(report["schema"], 1);
    for field in ["kernel", "cpus", "memory_bytes", "limits", "sysctls", "placement", "duolu"] {
        assert!(!report["machine"][field].is_null(), "{field}");
    }
    let thread = cells(&report, "thread");
    assert_eq!(thread.len(), 2);
    for cell in &thread {
        assert_eq!(cell["established"], cell["connections"]);
        assert_eq!(cell["errors"], 0);
        assert!(cell["wall"].is_null());
        for field in ["rate", "p50_us", "p99_us", "p999_us", "server_cpu_us_per_msg", "loader_cpu"] {
            assert!(cell[field].as_f64().is_some_and(|value| value > 0.0), "{field}: {cell}");
        }
        assert!(cell["server_bytes_per_conn"].as_f64().is_some_and(|bytes| bytes >= 0.0));
        assert_eq!(cell["repeats"], 1);
        assert!(cell["spread"].is_null());
    }
    // A thread's stack and its page table take more than a page.
    assert!(thread[1]["server_bytes_per_conn"].as_f64().unwrap() > 4096.0, "{}", thread[1]);
    let prefork = cells(&report, "prefork");
    let last = prefork.last().expect("prefork was measured");
    assert_eq!(last["wall"]["name"], "more connections than processes", "{last}");
    assert!(last["wall"]["evidence"].as_str().unwrap().contains("16 processes"), "{last}");
}

#[test]
fn a_server_out_of_descriptors_is_told_apart() {
    let models = ["thread", "epoll-et", "io_uring"];
    let output = run(&mut compare(&[
        "--models",
        &models.join(","),
        "--connections",
        "20,200",
        "--server-nofile",
        "64",
        "-d",
        "300ms",
        "--json",
    ]));
    let report = json(&output);
    for model in models {
        if report["unavailable"][model].is_string() {
            continue; // a kernel without io_uring
        }
        let cells = cells(&report, model);
        assert!(cells[0]["wall"].is_null(), "{}", cells[0]);
        let wall = &cells[1]["wall"];
        if model == "io_uring" {
            // No wall for it: its connections are places in the file tables of as many rings as it takes.
            assert!(wall.is_null() && cells[1]["established"] == 200, "{}", cells[1]);
            continue;
        }
        assert_eq!(wall["name"], "server descriptor limit", "{}", cells[1]);
        let evidence = wall["evidence"].as_str().unwrap();
        assert!(evidence.contains("of 64 descriptors"), "{wall}");
        assert!(wall["fix"].as_str().unwrap().contains("ulimit -n"), "{wall}");
        assert!(cells[1]["established"].as_u64().unwrap() <= 64, "{}", cells[1]);
    }
}

#[test]
fn an_interrupted_run_prints_what_it_has_and_leaves_nobody_behind() {
    let child = compare(&["--models", "fork,thread", "--connections", "5,10", "-d", "20s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("duolu starts");
    let (child, pids) = wait_for_descendants(child, 4); // the server, the loader, and children of the server
    signal(child.id(), SIGINT).expect("it runs");
    let output = wait(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report = json(&output);
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["complete"], false);
    wait_until_gone(&pids);
}

#[test]
fn children_do_not_outlive_a_killed_compare() {
    let child = compare(&["--models", "fork", "--connections", "5", "-d", "20s", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("duolu starts");
    let (mut child, pids) = wait_for_descendants(child, 4);
    signal(child.id(), SIGKILL).expect("it runs");
    child.wait().expect("it ends");
    wait_until_gone(&pids);
}

#[test]
fn a_server_that_dies_is_named() {
    let child = compare(&["--models", "thread", "--connections", "5", "-d", "20s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("duolu starts");
    let (child, pids) = wait_for_descendants(child, 2);
    // A child of our child, which has not waited for it.
    signal(pids[0], SIGKILL).expect("the server runs");
    let output = wait(child);
    let report = json(&output);
    let cell = cells(&report, "thread")[0];
    assert_eq!(cell["wall"]["name"], "the server ended", "{cell}");
    assert!(cell["wall"]["evidence"].as_str().unwrap().contains("SIGKILL"), "{cell}");
}

#[test]
fn bad_input_is_a_usage_error_with_a_way_out() {
    for (arguments, hint) in [
        (["--models", "epol-et"], "Did you mean 'epoll-et'?"),
        (["--connections", "0"], "1 to"),
        (["--expect", "speed>1"], "the figures: conns"),
        (["--payload", "2MiB"], "1MiB"),
    ] {
        let output = run(&mut compare(&arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(hint), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn expectations_decide_the_exit_code() {
    let run = |expect| {
        run(&mut compare(&[
            "--models",
            "thread",
            "--connections",
            "10",
            "-d",
            "200ms",
            "--quiet",
            "--expect",
            expect,
        ]))
    };
    let held = run("conns>=10 errors=0 p99<10s");
    assert_eq!(held.status.code(), Some(0), "{held:?}");
    assert!(held.stderr.is_empty(), "{held:?}");
    let broken = run("conns>=1k errors=0");
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(said.contains("conns>=1k does not hold for thread: it is 10"), "{said}");
    assert!(!said.contains("errors=0 does not hold"), "{said}");
}

#[test]
fn one_processor_for_both_is_said() {
    let status = fs::read_to_string("/proc/self/status").expect("our own status");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    let first = list.trim().split([',', '-']).next().and_then(|cpu| cpu.parse().ok()).expect("a processor");
    let mut command = compare(&["--models", "thread", "--connections", "10", "-d", "200ms"]);
    Surroundings { cpus: vec![first], ..Surroundings::default() }.apply(&mut command);
    let output = run(&mut command);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (said, table) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("one processor"), "{said}");
    assert!(table.contains("share CPU") && table.contains("shared one processor"), "{table}");
}

#[test]
fn files_are_written_and_a_stream_has_one_object_a_line() {
    let folder = std::env::temp_dir().join(format!("duolu-compare-{}", std::process::id()));
    let output = run(&mut compare(&[
        "--models",
        "thread",
        "--connections",
        "5,10",
        "-d",
        "200ms",
        "--json-stream",
        "-o",
        folder.to_str().expect("a plain path"),
    ]));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let events: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(kinds, ["machine", "cell", "cell", "end"]);
    let csv = fs::read_to_string(folder.join("result.csv")).expect("result.csv");
    assert_eq!(csv.lines().count(), 3);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("result.json")).expect("result.json"))
            .expect("JSON");
    assert_eq!(cells(&report, "thread").len(), 2);
    fs::remove_dir_all(&folder).expect("our own folder");
}
