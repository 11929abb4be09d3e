//! The wall clock jumps: someone sets it, or NTP does, a day ahead and a day back. Timers go by the monotonic
//! clock and must notice nothing. libfaketime moves the wall clock of a child process while its loop runs.

use crate::{MS, loop_on};
use duolu::{BackendKind, Exit, Next};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

const FILE: &str = "FAKETIME_TIMESTAMP_FILE";
const DAY: Duration = Duration::from_secs(86_400);

pub fn trap(kind: BackendKind) {
    if let Some(file) = std::env::var_os(FILE) {
        return jump(kind, Path::new(&file));
    }
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "this needs libfaketime: apt-get install faketime");
    let file = std::env::temp_dir().join(format!("duolu-clock-jump-{}", std::process::id()));
    std::fs::write(&file, "+0d").expect("written");
    let status = Command::new(std::env::current_exe().expect("this test"))
        .args(["--trap", "clock_jump", kind.name()])
        .env("LD_PRELOAD", library)
        .env(FILE, &file)
        .env("FAKETIME_NO_CACHE", "1")
        // One name for libfaketime 0.9.10, one for later ones.
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .status();
    let _ = std::fs::remove_file(&file);
    assert!(status.expect("started").success());
}

/// Ten periods; the wall clock jumps ahead after three of them and back after six.
fn jump(kind: BackendKind, file: &Path) {
    let file = file.to_owned();
    let mut event_loop = loop_on(kind, Vec::new());
    let mut turns = 0;
    event_loop.every(5 * MS, move |ctx| {
        turns += 1;
        let jump = match turns {
            3 => "+1d",
            6 => "-1d",
            _ => "",
        };
        if !jump.is_empty() {
            std::fs::write(&file, jump).expect("written");
        }
        ctx.data().push(SystemTime::now());
        if turns == 10 { Next::Remove } else { Next::Keep }
    });
    let start = Instant::now();
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    let took = start.elapsed();
    assert!(took >= 50 * MS && took < DAY / 2, "ten periods of 5 ms took {took:?}");
    let walls = event_loop.data();
    let ahead = walls[2].duration_since(walls[1]).expect("ahead");
    let back = walls[5].duration_since(walls[6]).err().map_or(DAY, |error| error.duration());
    assert!(ahead > DAY / 2 && walls[6] < walls[1] && back > Duration::ZERO, "the wall clock did jump");
}
