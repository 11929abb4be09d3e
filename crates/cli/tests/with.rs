//! `duolu with` as its users meet it: what runs is the program itself, on our library; what cannot get it is refused
//! with the reason.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const DUOLU: &str = env!("CARGO_BIN_EXE_duolu");

/// Says which file it has libevent from.
const WHICH: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <event2/event.h>
#include <stdio.h>
int main(void) {
  Dl_info info;
  if (!dladdr((void *)event_base_new, &info)) return 1;
  puts(info.dli_fname);
  return 0;
}
"#;

/// A folder of the test's own, gone with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("duolu-with-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("made");
        Folder(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("plain").to_owned()
    }

    /// Compiles a program; gives its path.
    fn cc(&self, name: &str, text: &str, options: &[&str]) -> String {
        let (source, program) = (self.file(&format!("{name}.c")), self.file(name));
        fs::write(&source, text).expect("written");
        let built = Command::new("cc").args(["-o", &program, &source]).args(options).output().expect("cc");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    }
}

fn libraries() -> &'static str {
    duolu_conform::ours().folder.to_str().expect("plain")
}

/// `duolu with` our library.
fn with() -> Command {
    let mut command = Command::new(DUOLU);
    command.args(["with", "--libs", libraries()]).stdin(Stdio::null());
    for variable in ["LC_ALL", "LC_MESSAGES", "LANG", "LD_LIBRARY_PATH", "DUOLU_VERBOSE"] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    with().args(arguments).output().expect("it starts")
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8").trim_end()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refused(arguments: &[&str], why: &[&str]) {
    let output = run(arguments);
    let said = err(&output);
    assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
    assert!(why.iter().all(|why| said.contains(why)), "{arguments:?}: {said}");
    assert_eq!(out(&output), "", "nothing has run");
}

#[test]
fn a_program_gets_our_library_and_without_it_the_systems() {
    let folder = Folder::new("which");
    let program = folder.cc("which", WHICH, &["-levent"]);
    let plain = Command::new(&program).output().expect("it starts");
    assert!(!out(&plain).starts_with(libraries()), "{plain:?}");
    let output = run(&[&program]);
    assert_eq!(out(&output), format!("{}/libevent-2.1.so.7", libraries()));
    assert_eq!(err(&output), "", "without -v nothing is said");
    // Also where only the names of its parts are asked for.
    let parts = folder.cc("parts", WHICH, &["-Wl,--no-as-needed", "-levent_core", "-levent_pthreads"]);
    let output = run(&["-v", "--", &parts]);
    assert!(out(&output).starts_with(libraries()), "{output:?}");
    let said = err(&output);
    assert!(said.contains("libevent_core-2.1.so.7") && said.contains(libraries()), "{said}");
    let output = run(&["-v", "--lang", "zh", &parts]);
    assert!(err(&output).contains("使用"), "{}", err(&output));
    // By its name, from PATH.
    let output = with().arg("which").env("PATH", format!("{}:/usr/bin", folder.0.display())).output();
    assert!(out(&output.expect("it starts")).starts_with(libraries()));
}

#[test]
fn it_becomes_the_program() {
    let shell = |script: &str| run(&["/bin/sh", "-c", script]);
    assert_eq!(shell("exit 7").status.code(), Some(7));
    assert_eq!(shell("kill -TERM $$").status.signal(), Some(15));
    let child = with().args(["sh", "-c", "echo $$"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let pid = child.id();
    assert_eq!(out(&child.wait_with_output().expect("its output")), pid.to_string());
    // The program's own arguments are not looked at, not even those that look like ours.
    assert_eq!(out(&run(&["echo", "-v", "--libs", "--help"])), "-v --libs --help");
    assert_eq!(out(&run(&["--", "echo", "--", "-n"])), "-- -n");
    // Its name is what it was called, not where it was found.
    assert_eq!(out(&run(&["bash", "-c", "echo $BASH_ARGV0 $0"])), "bash bash");
}

#[test]
fn what_it_starts_inherits_the_library() {
    let mut quiet = with();
    let quiet = quiet.args(["sh", "-c", "echo $LD_LIBRARY_PATH $DUOLU_VERBOSE."]);
    let shown = |command: &mut Command| out(&command.output().expect("it starts")).to_owned();
    assert_eq!(shown(quiet), format!("{} .", libraries()));
    assert_eq!(shown(quiet.env("LD_LIBRARY_PATH", "/a:/b")), format!("{}:/a:/b .", libraries()));
    let mut verbose = with();
    let verbose = verbose.args(["-v", "sh", "-c", "echo $DUOLU_VERBOSE."]);
    assert_eq!(shown(verbose), "1.");
    assert_eq!(shown(verbose.env("DUOLU_VERBOSE", "/tmp/log")), "/tmp/log.");
}

#[test]
fn a_program_without_libevent_runs_and_is_told_of() {
    let output = run(&["-v", "true"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(err(&output).contains("does not link libevent"), "{}", err(&output));
    assert_eq!(err(&run(&["true"])), "");
}

#[test]
fn a_script_is_run_and_its_interpreter_judged() {
    let folder = Folder::new("script");
    let program = folder.cc("which", WHICH, &["-levent"]);
    let script = folder.file("script");
    fs::write(&script, format!("#!/bin/sh\nexec {program}\n")).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own");
    let output = run(&["-v", &script]);
    assert!(out(&output).starts_with(libraries()), "{output:?}");
    assert!(err(&output).contains("(/bin/sh)"), "{}", err(&output));
}

#[test]
fn what_cannot_be_run_is_refused() {
    refused(&["duolu-no-such-program"], &["no program duolu-no-such-program", "spelt"]);
    refused(&["./duolu-no-such-program"], &["no such file"]);
    refused(&["/"], &["is a folder"]);
    refused(&["/etc/passwd"], &["chmod +x"]);
    let none = Command::new(DUOLU).arg("with").output().expect("it starts");
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    let nowhere =
        Command::new(DUOLU).args(["with", "--libs", "/nowhere", "true"]).output().expect("it starts");
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(err(&nowhere).contains("/nowhere"), "{}", err(&nowhere));
}

#[test]
fn without_a_layout_beside_it_it_says_what_makes_one() {
    let folder = Folder::new("alone");
    let copy = folder.file("duolu");
    fs::copy(DUOLU, &copy).expect("copied");
    let output = Command::new(&copy).args(["with", "true"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("make dist"), "{}", err(&output));
    symlink(Path::new(libraries()).join("libevent-2.1.so.7"), folder.file("libevent-2.1.so.7"))
        .expect("linked");
    assert!(Command::new(&copy).args(["with", "true"]).status().expect("it starts").success());
}

#[test]
fn what_no_library_path_reaches_is_refused() {
    let folder = Folder::new("unreached");
    let still = folder.cc("static", "int main(void) { return 0; }", &["-static"]);
    refused(&[&still], &["statically linked", "dynamically"]);
    let pie = folder.cc("static-pie", "int main(void) { return 0; }", &["-static-pie"]);
    refused(&[&pie], &["statically linked"]);
    // An older libevent: only its name is of interest.
    let old = folder.file("libevent-2.0.so.5");
    folder.cc(
        "libevent-2.0.so.5",
        "int event_init(void) { return 0; }",
        &["-shared", "-Wl,-soname,libevent-2.0.so.5"],
    );
    let of_old = folder.cc("old", "int event_init(void); int main(void) { return event_init(); }", &[&old]);
    let output = with().env("LD_LIBRARY_PATH", &folder.0).arg(&of_old).output().expect("it starts");
    assert!(err(&output).contains("libevent-2.0.so.5, whose ABI is another"), "{}", err(&output));
    // RPATH comes before LD_LIBRARY_PATH, RUNPATH after it.
    let theirs = folder.0.join("theirs");
    fs::create_dir(&theirs).expect("made");
    let system =
        out(&Command::new(folder.cc("which", WHICH, &["-levent"])).output().expect("it starts")).to_owned();
    fs::copy(&system, theirs.join("libevent-2.1.so.7")).expect("copied");
    let path = format!("-Wl,-rpath,{}", theirs.display());
    let rpath = folder.cc("rpath", WHICH, &["-levent", "-Wl,--disable-new-dtags", &path]);
    refused(&[&rpath], &["RPATH", theirs.to_str().expect("plain"), "patchelf"]);
    let runpath = folder.cc("runpath", WHICH, &["-levent", "-Wl,--enable-new-dtags", &path]);
    assert!(out(&run(&[&runpath])).starts_with(libraries()));
}

#[test]
fn a_program_with_somebody_elses_rights_is_refused() {
    if std::env::var_os("DUOLU_TEST_NO_ROOT").is_some_and(|value| value == "1") {
        return;
    }
    let folder = Folder::new("rights");
    let program = folder.cc("which", WHICH, &["-levent"]);
    std::os::unix::fs::chown(&program, Some(65534), Some(65534)).expect("root may");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("root may");
    refused(&[&program], &["set-user-ID 65534", "drops LD_LIBRARY_PATH"]);
    // It is true of the loader: that is what it would have got.
    let alone = Command::new(&program).env("LD_LIBRARY_PATH", libraries()).output().expect("it starts");
    assert!(!out(&alone).starts_with(libraries()), "{alone:?}");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755)).expect("root may");
    refused(&[&program], &["set-group-ID 65534"]);
    std::os::unix::fs::chown(&program, Some(0), Some(0)).expect("root may");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).expect("root may");
    assert!(out(&run(&[&program])).starts_with(libraries()), "root's own rights are no other rights");
}
