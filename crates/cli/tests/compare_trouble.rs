//! `duolu compare` where it may not do what it would: pin, write, be read. A sentence that says who is at fault, the
//! right exit code, and what was measured is kept.

mod compare_support;

use compare_support::*;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const SMALL: [&str; 6] = ["--models", "poll", "-c", "5", "-d", "150ms"];

#[test]
fn who_may_not_pin_measures_unpinned_and_says_so() {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=sched_setaffinity"]);
    strace.args(["-e", "inject=sched_setaffinity:error=EPERM", env!("CARGO_BIN_EXE_duolu"), "compare"]);
    let output = run(strace.args(SMALL).arg("--json"));
    assert_eq!(output.status.code(), Some(0), "is strace installed (make tools)? {output:?}");
    let told = said(&output);
    assert_eq!(told.matches("no permission to pin").count(), 1, "once, not for each process: {told}");
    let report = json(&output);
    if report["machine"]["cpus"] == 1 {
        return; // nobody is pinned to the only processor
    }
    assert_eq!(report["machine"]["placement"]["pinned"], false);
    let refused = report["machine"]["placement"]["refused"].as_str().expect("why");
    assert!(refused.contains("Operation not permitted"), "{refused}");
    assert!(cells(&report, "poll")[0]["wall"].is_null(), "it was measured all the same");
}

#[test]
fn a_folder_that_cannot_be_written_is_said_before_anything_is_measured() {
    let folder = Folder::new("trouble-folder");
    let file = folder.path("file");
    fs::write(&file, "mine").expect("write");
    for (place, code, hint) in [
        (file.clone(), 2, "is a file; name a folder"),
        (format!("{file}/below"), 3, "cannot write into"),
        ("/proc/nobody-writes-here".to_owned(), 3, "cannot write into"),
    ] {
        let output = run(compare(&SMALL).args(["-o", &place]));
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(said(&output).contains(hint) && said(&output).contains(&place), "{}", said(&output));
        assert!(output.stdout.is_empty());
    }
    assert_eq!(fs::read_to_string(&file).expect("still there"), "mine");
    // No file is made anywhere else: a TMPDIR that cannot be written is no trouble.
    let output = run(compare(&SMALL).args(["--quiet", "--json"]).env("TMPDIR", "/proc/nobody-writes-here"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_disk_that_is_full_costs_no_figures_and_leaves_no_part() {
    if std::env::var_os("DUOLU_TEST_NO_ROOT").is_some() {
        return; // the disk is a tmpfs in a mount namespace of the test's own
    }
    let folder = Folder::new("trouble-disk");
    let disk = folder.path("");
    let duolu = env!("CARGO_BIN_EXE_duolu");
    for (size, kept) in [("4k", ""), ("40k", "result.csv result.json ")] {
        let script = format!(
            "mount -t tmpfs -o size={size} none {disk} && cd {disk} && {duolu} compare {} -o out; echo \"exit $?\"; \
             echo files $(ls -A out) .",
            SMALL.join(" ")
        );
        let output = run(Command::new("unshare").args(["-m", "sh", "-c", &script]));
        let text = printed(&output);
        assert!(said(&output).contains("No space left on device"), "{output:?}");
        assert!(text.contains("poll held all 5 connections"), "the table is there: {text}");
        assert!(text.contains("exit 3") && text.contains(&format!("files {kept}.")), "{text}");
    }
}

#[test]
fn an_output_that_is_full_is_no_success_and_a_reader_that_left_is_no_failure() {
    for format in [&[][..], &["--json"], &["--json-stream"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let child =
            compare(&SMALL).args(format).stdout(full).stderr(Stdio::piped()).spawn().expect("duolu starts");
        let output = wait(child);
        assert_eq!(output.status.code(), Some(3), "{format:?}: {output:?}");
        assert!(said(&output).contains("cannot write the result to stdout"), "{format:?}: {}", said(&output));
    }
    for format in [&[][..], &["--json"]] {
        let mut command = compare(&SMALL);
        let mut child =
            command.args(format).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("duolu starts");
        drop(child.stdout.take());
        let output = wait(child);
        assert_eq!(output.status.code(), Some(0), "{format:?}: {output:?}");
    }
}

#[test]
fn a_stream_that_nobody_reads_ends_the_run_unless_its_files_are_wanted() {
    let folder = Folder::new("trouble-stream");
    let words = ["--models", "thread,poll,epoll-et", "-c", "5", "-d", "200ms", "--json-stream"];
    for (wanted, models) in [(false, 1), (true, 3)] {
        let mut command = compare(&words);
        if wanted {
            command.args(["-o", &folder.path("out")]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("duolu starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its stdout")).read_line(&mut first).expect("a line");
        assert!(first.contains("\"event\":\"machine\""), "{first}");
        let output = wait(child);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let lines = said(&output);
        let measured = lines.lines().filter(|line| line.contains("msg/s")).count();
        assert_eq!(measured, models, "{lines}");
    }
    let text = fs::read_to_string(folder.path("out/result.json")).expect("the result");
    assert!(text.contains("\"complete\": true") && text.contains("epoll-et"));
}

#[test]
fn expectations_that_make_no_sense_are_told_with_an_example() {
    for (expectation, hint) in [
        ("p99", "compares nothing; write conns>=10k"),
        ("p99<", "is not a duration"),
        ("p99<5parsecs", "write 30s, 500ms"),
        ("conns>=many", "many"),
        ("", "nothing is expected"),
        ("speed>1", "the figures: conns"),
    ] {
        let output = run(compare(&SMALL).args(["--expect", expectation]));
        assert_eq!(output.status.code(), Some(2), "{expectation}: {output:?}");
        assert!(said(&output).contains(hint), "{expectation}: {}", said(&output));
        assert!(output.stdout.is_empty());
    }
}
