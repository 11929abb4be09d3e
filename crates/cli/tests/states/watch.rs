//! `--watch` on a terminal of its own (a pty): it ends when it is told to, and gives the terminal back as it was.

use crate::kit::*;
use rustix::fs::OFlags;
use rustix::fs::{Mode, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

/// Leaves the alternate screen, shows the cursor.
const GIVEN_BACK: [&str; 2] = ["\x1b[?1049l", "\x1b[?25h"];

/// duolu on a pty. Ended with the test, whatever becomes of it.
struct Watching {
    child: Child,
    keyboard: File,
    terminal: OwnedFd,
    before: Termios,
    screen: Arc<Mutex<String>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watching {
    fn start(args: &str) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("ptsname");
        let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the terminal");
        resize(&terminal, 80, 24);
        let before = tcgetattr(&terminal).expect("its settings");
        let end = || Stdio::from(terminal.try_clone().expect("a duplicate"));
        let child = command(args).env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end()).spawn();
        let screen = Arc::new(Mutex::new(String::new()));
        let keyboard = File::from(master);
        let (mut reader, sink) = (keyboard.try_clone().expect("a duplicate"), Arc::clone(&screen));
        // Ends with the pty: EIO once nobody has the terminal open any more.
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(got @ 1..) = reader.read(&mut part) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..got]));
            }
        });
        Watching { child: child.expect("duolu runs"), keyboard, terminal, before, screen }
    }

    /// Waits until this text was written.
    fn shows(&self, text: &str) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !self.screen.lock().unwrap().contains(text) {
            let so_far = || self.screen.lock().unwrap().clone();
            assert!(std::time::Instant::now() < end, "{text:?} is not in {:?}", so_far());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Forgets what was written so far.
    fn forget(&self) {
        self.screen.lock().unwrap().clear();
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typed");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("ours");
    }

    fn end(&mut self) -> ExitStatus {
        until("the end", || self.child.try_wait().expect("ours"))
    }

    fn is_given_back(&self) {
        GIVEN_BACK.iter().for_each(|sequence| self.shows(sequence));
        let now = tcgetattr(&self.terminal).expect("its settings");
        assert_eq!(now.local_modes, self.before.local_modes, "echo, lines, signals");
        assert_eq!(now.input_modes, self.before.input_modes);
        assert_eq!(now.output_modes, self.before.output_modes);
    }
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a size");
}

#[test]
fn q_ends_it_and_the_terminal_is_as_it_was() {
    let stage = Stage::new();
    let mut watching = Watching::start(&format!(":{} --watch --interval 100ms", stage.port));
    watching.shows("[ESTABLISHED");
    let raw = tcgetattr(&watching.terminal).expect("its settings");
    assert_ne!(raw.local_modes, watching.before.local_modes, "keys come one by one");
    // What happens shows: a connection, and the table with both its ends.
    let (_client, server) = stage.pair();
    watching.press("\t");
    watching.shows(&server.peer_addr().unwrap().port().to_string());
    watching.press("q");
    assert_eq!(watching.end().code(), Some(0));
    watching.is_given_back();
}

#[test]
fn a_signal_or_ctrl_c_ends_it_in_order() {
    for way in [Some(Signal::TERM), Some(Signal::INT), Some(Signal::HUP), None] {
        let mut watching = Watching::start("--watch --via sample");
        watching.shows("[ESTABLISHED");
        match way {
            Some(signal) => watching.signal(signal),
            None => watching.press("\x03"),
        }
        assert_eq!(watching.end().code(), Some(130), "{way:?}");
        watching.is_given_back();
    }
}

#[test]
fn a_terminal_that_goes_away_without_a_signal_ends_it() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("ptsname");
    let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the terminal");
    resize(&terminal, 80, 24);
    let end = || Stdio::from(terminal.try_clone().expect("a duplicate"));
    let mut command = command("--watch --via sample");
    let child = command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end()).spawn();
    let mut window = File::from(master);
    let mut child = Ended(child.expect("duolu runs"));
    let (mut shown, mut part) = (String::new(), [0; 4096]);
    while !shown.contains("[ESTABLISHED") {
        let got = window.read(&mut part).expect("the screen");
        shown.push_str(&String::from_utf8_lossy(&part[..got]));
    }
    drop(window);
    let status = until("the end", || child.0.try_wait().expect("ours"));
    assert_eq!(status.code(), Some(130), "{status}: in order, and not by a signal");
}

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_stops_without_the_terminal_and_goes_on_with_it() {
    for by_key in [false, true] {
        let mut watching = Watching::start("--watch --via sample");
        watching.shows("[ESTABLISHED");
        if by_key {
            watching.press("\x1a")
        } else {
            watching.signal(Signal::TSTP)
        }
        let stat = format!("/proc/{}/stat", watching.child.id());
        let stopped = || std::fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "));
        until("it stops", || stopped().then_some(()));
        watching.is_given_back();
        watching.forget();
        watching.signal(Signal::CONT);
        watching.shows("[ESTABLISHED");
        watching.press("q");
        assert_eq!(watching.end().code(), Some(0));
        watching.is_given_back();
    }
}

#[test]
fn a_smaller_window_gets_what_fits() {
    let mut watching = Watching::start("--watch --via sample");
    watching.shows("[ESTABLISHED");
    watching.forget();
    resize(&watching.terminal, 60, 20);
    watching.signal(Signal::WINCH);
    watching.shows("needs 78 columns");
    watching.press("q");
    assert_eq!(watching.end().code(), Some(0));
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let run = states("--watch");
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("--json-stream") && run.stderr.contains("-o FILE.html"), "{}", run.stderr);
    let run = states("--watch --json");
    assert_eq!(run.code, Some(2), "one of the two");
    let run = states("--watch --interval 1ms");
    assert_eq!(run.code, Some(2));
}

#[test]
fn whoever_may_not_read_the_tracepoint_is_told_what_unlocks_it() {
    if std::env::var_os("DUOLU_TEST_NO_ROOT").is_some_and(|value| value == "1") {
        return;
    }
    let folder = std::env::temp_dir();
    let file = folder.join(format!("duolu-states-{}.html", std::process::id()));
    let stage = Stage::new();
    // Nobody's number, without any capability.
    let run = |via: &str| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]);
        command
            .args([DUOLU, "states", &format!(":{}", stage.port), "-d", "200ms", "--via", via, "-o"])
            .arg(&file);
        command.env("LC_ALL", "C.UTF-8");
        Run::of(command.output().expect("setpriv"))
    };
    let refused = run("trace");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("inet_sock_set_state") && refused.stderr.contains("sudo"),
        "{}",
        refused.stderr
    );
    let sampled = run("auto");
    assert_eq!(sampled.code, Some(0), "{}", sampled.stderr);
    let page = std::fs::read_to_string(&file).expect("the page");
    std::fs::remove_file(&file).expect("ours");
    assert!(page.contains("inferred from one look") && page.contains("sudo"), "the page says so as well");
}
