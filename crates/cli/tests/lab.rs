//! `duolu lab` as its readers meet it.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const DUOLU: &str = env!("CARGO_BIN_EXE_duolu");
/// As CONTRIBUTING.md has it.
fn no_network_namespaces() -> bool {
    std::env::var_os("DUOLU_TEST_NO_NETNS").is_some_and(|value| value == "1")
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).env_remove("LC_ALL").env_remove("LC_MESSAGES").env("LANG", "C.UTF-8");
    command.output().expect("it starts")
}

fn lab(arguments: &[&str]) -> Output {
    run(Command::new(DUOLU).arg("lab").args(arguments))
}

/// The same where no network of one's own can be had: root of a user namespace that allows none.
fn lab_without_networks(arguments: &[&str]) -> Output {
    let script = format!("echo 0 > /proc/sys/user/max_net_namespaces && exec {DUOLU} lab \"$@\"");
    run(Command::new("unshare").args(["-Ur", "sh", "-c", &script, "sh"]).args(arguments))
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

fn array<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn names(labs: &[Value]) -> Vec<&str> {
    labs.iter().map(|lab| lab["name"].as_str().expect("a name")).collect()
}

/// The fields that others rely on, and reality as the page says.
fn check_contract(lab: &Value) {
    for text in ["name", "notes", "expected", "observed", "why"] {
        assert!(lab[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {lab:#}");
    }
    assert!(
        ["right", "imprecise", "wrong", "answered"].contains(&lab["verdict"].as_str().expect("a verdict"))
    );
    let claims = array(lab, "claims");
    assert!(
        !claims.is_empty()
            && claims.iter().all(|claim| (1..=56).contains(&claim.as_u64().expect("a number")))
    );
    assert_eq!(lab["held"], true, "{lab:#}");
}

#[test]
fn all_labs_hold_on_this_machine() {
    let arguments: &[&str] =
        if no_network_namespaces() { &["--all", "--json", "--on-host"] } else { &["--all", "--json"] };
    let output = lab(arguments);
    let document = json(&output);
    assert_eq!((&document["schema"], &document["complete"]), (&Value::from(1), &Value::from(true)));
    let labs = array(&document, "labs");
    labs.iter().for_each(check_contract);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let listed = json(&lab(&["--json"]));
    let listed = array(&listed, "available");
    if no_network_namespaces() {
        assert!(labs.len() < listed.len() && !array(&document, "not_possible").is_empty());
    } else {
        assert_eq!(names(labs), names(listed), "every one, in the order of the list");
        assert!(array(&document, "not_possible").is_empty(), "{document:#}");
    }
    assert_eq!(array(&document, "claims").len(), 56);
}

#[test]
fn the_list_names_every_lab_in_both_languages() {
    let listed = json(&lab(&["--json"]));
    let (english, chinese) = (lab(&[]), lab(&["--lang", "zh"]));
    for name in names(array(&listed, "available")) {
        assert!(out(&english).contains(name) && out(&chinese).contains(name), "{name}");
    }
    assert!(out(&chinese).contains("笔记的说法"), "{}", out(&chinese));
    assert_eq!((english.status.code(), chinese.status.code()), (Some(0), Some(0)));
}

#[test]
fn one_lab_shows_the_notes_words_its_ladder_and_why() {
    for (lang, words) in
        [("en", ["expected", "observed · held", "FIN-WAIT-2 ┃"]), ("zh", ["预期", "符合预期", "客户端 :"])]
    {
        let output = lab(&["half-close", "--lang", lang]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let page = out(&output);
        for word in words.iter().chain(&["close() 能半关闭 但是有不足", "┃ CLOSE-WAIT", "EPIPE"]) {
            assert!(page.contains(word), "{word} in {page}");
        }
        let widest = page.lines().map(unicode_width::UnicodeWidthStr::width).max();
        assert!(widest <= Some(80), "{widest:?}: {page}");
    }
    let by_locale =
        Command::new(DUOLU).args(["lab"]).env("LC_ALL", "zh_CN.UTF-8").output().expect("it starts");
    assert!(out(&by_locale).contains("笔记的说法"), "{by_locale:?}");
}

#[test]
fn the_ladder_is_of_packets_that_were_seen() {
    if no_network_namespaces() {
        return;
    }
    let page = out(&lab(&["time-wait", "--lang", "en"]));
    for seen in ["FIN again", "✕", "LAST-ACK", "─ RST ─", "ECONNRESET"] {
        assert!(page.contains(seen), "{seen} in {page}");
    }
    assert!(!page.contains("Dashed"), "{page}");
    let on_host = out(&lab(&["time-wait", "--on-host", "--lang", "en"]));
    assert!(on_host.contains("Dashed") && on_host.contains("observed · held"), "{on_host}");
}

#[test]
fn a_name_that_is_no_lab_suggests_one() {
    let output = lab(&["half-clsoe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("duolu lab half-close"), "{}", err(&output));
    assert!(out(&output).is_empty());
    let output = lab(&["nothing-like-any-of-them"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("duolu lab lists them"), "{}", err(&output));
    assert_eq!(lab(&["half-close", "--all"]).status.code(), Some(2));
    assert_eq!(lab(&["-o", "x.svg"]).status.code(), Some(2));
}

#[test]
fn what_needs_a_permission_says_what_unlocks_it_and_contradicts_nothing() {
    if no_network_namespaces() {
        return;
    }
    let one = lab_without_networks(&["mss"]);
    assert_eq!(one.status.code(), Some(3), "{} {}", out(&one), err(&one));
    assert!(err(&one).contains("as root"), "{}", err(&one));
    let all = lab_without_networks(&["--all", "--json"]);
    assert_eq!(all.status.code(), Some(0), "{}", err(&all));
    let document = json(&all);
    array(&document, "labs").iter().for_each(check_contract);
    let missing = array(&document, "not_possible");
    assert!(names(missing).contains(&"mss"), "{missing:?}");
    assert!(missing.iter().all(|lab| lab["why"].as_str().is_some_and(|why| why.contains("root"))));
}

#[test]
fn a_user_without_rights_can_do_what_root_can() {
    let am_root = fs::read_to_string("/proc/self/status").expect("status").contains("\nUid:\t0\t0");
    if no_network_namespaces() || !am_root || std::env::var_os("DUOLU_TEST_NO_ROOT").is_some_and(|v| v == "1")
    {
        return;
    }
    // The build's folder may be closed to others: a copy of the program is not.
    let folder = Folder::new("user");
    let copy = folder.0.join("duolu");
    // Made by another process: one that this process had open for writing might be inherited by another test's child,
    // and then cannot be run (ETXTBSY).
    assert!(Command::new("cp").arg(DUOLU).arg(&copy).status().expect("cp").success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    let output = run(command.args(["lab", "time-wait", "--json"]));
    // Where users may not make namespaces the experiment is the same, on the machine's own loopback.
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    array(&json(&output), "labs").iter().for_each(check_contract);
}

#[test]
fn drawings_are_whole_and_load_nothing() {
    let folder = Folder::new("svg");
    let file = folder.0.join("half-close.svg");
    let output = lab(&["half-close", "-o", file.to_str().expect("plain")]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let svg = fs::read_to_string(&file).expect("written");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for word in
        ["FIN-WAIT-2", "prefers-color-scheme: dark", "close() 能半关闭 但是有不足", "shutdown(SHUT_WR)"]
    {
        assert!(svg.contains(word), "{word}");
    }
    let output = lab(&["close-order", "-o", folder.0.to_str().expect("plain"), "--quiet"]);
    assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()));
    let page = fs::read_to_string(folder.0.join("index.html")).expect("written");
    for word in ["<main lang=\"en\"", "<main lang=\"zh-CN\"", "default-src 'none'", "TIME-WAIT"] {
        assert!(page.contains(word), "{word}");
    }
    for text in [&svg, &page] {
        let addresses = text.matches("http").count() - text.matches("http-equiv").count();
        assert_eq!(addresses, text.matches("http://www.w3.org/2000/svg").count(), "nothing is loaded");
    }
    for (name, word) in [("close-order.svg", "client :"), ("close-order.zh.svg", "客户端 :")] {
        assert!(fs::read_to_string(folder.0.join(name)).expect(name).contains(word), "{name}");
    }
    assert_eq!(lab(&["half-close", "-o", "/proc/nowhere/x.svg"]).status.code(), Some(3));
    assert_eq!(lab(&["half-close", "-o", "picture.png"]).status.code(), Some(2));
}

#[test]
fn interrupted_it_tells_what_was_done_and_leaves_nobody_behind() {
    let mut command = Command::new(DUOLU);
    command.args(["lab", "--all", "--lang", "en"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // The first line is told when the first experiment is over: others are to come.
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    reader.read_line(&mut text).expect("a line");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
    duolu_sys::child::signal(child.id(), 2).expect("it runs");
    reader.read_to_string(&mut text).expect("the rest");
    assert_eq!(child.wait().expect("its end").code(), Some(130), "{text}");
    assert!(text.contains("interrupted before") && text.contains("held"), "{text}");
    let alive = |pid: &&str| PathBuf::from(format!("/proc/{pid}")).exists();
    assert_eq!(children.split_whitespace().find(alive), None);
}

/// A folder of the test's own that anybody may read, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("duolu-lab-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder of our own");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
