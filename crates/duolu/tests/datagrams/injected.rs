//! What a kernel or a device answers that this one does not: by strace(1), which has system calls fail.

use crate::stage::{World, pattern};
use std::process::Command;

/// In the child only.
const CHILD: &str = "DUOLU_TEST_INJECTED_CHILD";

/// (What sendmmsg fails with, and when; how many calls it takes at least.)
const FAULTS: [(&str, &str); 5] = [
    ("EIO, the device computes no checksums", "error=EIO:when=1"),
    ("EINVAL, the segment does not fit the path", "error=EINVAL:when=1"),
    ("EMSGSIZE, the same from Linux 6.14 on", "error=EMSGSIZE:when=1"),
    ("ENOBUFS, nobody tells when there is room", "error=ENOBUFS:when=1..3"),
    ("EAGAIN, though writable was told", "error=EAGAIN:when=1..3"),
];

#[test]
fn sending_goes_on_after_what_is_no_ones_fault() {
    for (what, fault) in FAULTS {
        let this = std::env::current_exe().expect("this test");
        let trace = std::env::temp_dir().join(format!("duolu-injected-{}", std::process::id()));
        let ran = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "--signal=none",
                "-e",
                "trace=sendmmsg",
                "-e",
                &format!("inject=sendmmsg:{fault}"),
                "-o",
            ])
            .arg(&trace)
            .arg(this)
            .args(["--exact", "injected::child", "--ignored", "--test-threads=1"])
            .env(CHILD, "1")
            .output();
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => {
                panic!("strace, which has system calls fail, does not run: {error}; install strace")
            }
        };
        let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
        let calls = std::fs::read_to_string(&trace).expect("strace's output");
        std::fs::remove_file(&trace).expect("strace's output");
        assert!(ran.status.success(), "{what}: {said}\n{calls}");
        assert!(calls.contains("(INJECTED)"), "{what}: nothing was injected\n{calls}");
    }
}

/// Not a test of its own: what runs under strace.
#[test]
#[ignore = "run by sending_goes_on_after_what_is_no_ones_fault, under strace"]
fn child() {
    assert!(std::env::var_os(CHILD).is_some(), "a child");
    let mut s = World::EPOLL.stage(1).expect("a loop");
    let (_, to) = s.listen(1);
    let (client, _) = s.listen(2);
    let bytes = pattern(20 * 300);
    for round in 1..=2 {
        s.with(client, |socket| socket.send_segments(to, &bytes, 300).expect("room"));
        s.until("all segments", |s| s.received(1).len() == 20 * round);
    }
    assert!(s.received(1).concat() == [&bytes[..], &bytes].concat());
    assert_eq!(s.told(2), [], "nothing was lost");
    assert_eq!(s.with(client, |socket| socket.stats()).sent, 40);
}
