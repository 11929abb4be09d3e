//! `duolu lab` as its readers meet it.

use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn lab(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duolu"));
    command.arg("lab").args(arguments).stdin(Stdio::null()).env_remove("LC_ALL").env("LANG", "C.UTF-8");
    command.output().expect("duolu starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn all_labs_hold_on_this_machine() {
    let output = lab(&["--all", "--json"]);
    let document = json(&output);
    for lab in document["labs"].as_array().expect("labs") {
        assert_eq!(lab["held"], true, "{lab:#}");
    }
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn a_name_that_is_no_lab_suggests_one() {
    let output = lab(&["half-clsoe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("duolu lab half-close"), "{}", err(&output));
}

#[test]
fn the_notes_own_words_are_quoted_in_both_languages() {
    for lang in ["en", "zh"] {
        let output = lab(&["half-close", "--lang", lang]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert!(out(&output).contains("close() 能半关闭 但是有不足"), "{lang}: {}", out(&output));
    }
}
