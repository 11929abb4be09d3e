//! What cannot be shown, or not all of it: exit codes, and sentences that say why and what to do.

use crate::kit::*;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A port that the kernel has just had free.
fn free_port() -> u16 {
    fresh_listener("127.0.0.1").local_addr().expect("address").port()
}

#[test]
fn garbage_is_a_usage_error_that_says_what_to_write() {
    for (args, part) in [
        (":http", "write :8080"),
        (":0", "1 to 65535"),
        (":99999", "1 to 65535"),
        ("::1", "[::1]:8080"),
        (":80 --state asleep", "CLOSE-WAIT"),
        (":80 --count 3", "--json-stream"),
        (":80 --json-stream --interval 1ms", "10ms"),
        (":80 -4 -6", "--ipv6"),
    ] {
        let run = states(args);
        assert_eq!(run.code, Some(2), "{args}: {}", run.stderr);
        assert!(run.stderr.contains(part) && run.stdout.is_empty(), "{args}: {}", run.stderr);
    }
}

#[test]
fn a_port_that_nobody_uses_is_said_and_still_valid_json() {
    let port = free_port();
    let run = states(&format!(":{port}"));
    assert_eq!(run.code, Some(3));
    assert!(
        run.stderr.starts_with(&format!("duolu: nothing listens or is connected on :{port}")),
        "{}",
        run.stderr
    );
    assert!(run.stdout.is_empty());
    let run = states(&format!(":{port} --json"));
    assert_eq!((run.code, run.json()["sockets"].as_array().map(Vec::len)), (Some(3), Some(0)));
    assert_eq!((run.json()["schema"].as_u64(), run.json()["port"].as_u64()), (Some(1), Some(port.into())));
}

#[test]
fn a_port_of_udp_only_is_told_that_udp_has_no_states() {
    // The kernel's choice for UDP does not look at TCP, whose TIME-WAIT would be listed (and this not be the only use).
    let listener = fresh_listener("127.0.0.1");
    let _socket = UdpSocket::bind(listener.local_addr().expect("address")).expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let run = states(&format!(":{port}"));
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.contains("bound for UDP only") && run.stderr.contains("ss -uanp"), "{}", run.stderr);
}

#[test]
fn another_address_of_the_port_is_named() {
    let stage = Stage::new();
    let run = states(&format!("127.0.0.9:{}", stage.port));
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.contains(&format!("127.0.0.1:{} listens on that port", stage.port)), "{}", run.stderr);
}

#[test]
fn a_process_that_is_not_there_is_said() {
    let stage = Stage::new();
    let mut child = Command::new("true").spawn().expect("true runs");
    let pid = child.id();
    child.wait().expect("it ends");
    let run = states(&format!(":{} --pid {pid}", stage.port));
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.contains(&format!("there is no process {pid}")), "{}", run.stderr);
}

#[test]
fn where_netlink_is_closed_proc_answers_and_that_is_said() {
    let stage = Stage::new();
    let (_client, _server) = stage.pair();
    // The only socket that `states` makes is netlink's.
    let without = |args: &str| {
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=socket",
            "-e",
            "inject=socket:error=EPERM",
        ]);
        strace.arg(DUOLU).arg("states").args(args.split_whitespace()).env("LC_ALL", "C.UTF-8");
        let run = Run::of(strace.output().expect("strace runs; make tools installs it"));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run
    };
    let less = without(&format!(":{} --json", stage.port)).json();
    let more = stage.json();
    assert_eq!(
        (less["source"].as_str(), more["source"].as_str()),
        (Some("/proc/net/tcp"), Some("sock_diag"))
    );
    assert_eq!(less["counts"], more["counts"]);
    for (less, more) in less["sockets"].as_array().unwrap().iter().zip(more["sockets"].as_array().unwrap()) {
        let other = more["local"] != less["local"] || more["remote"] != less["remote"];
        let more = if other {
            socket(
                &crate::kit::json(&format!(":{}", stage.port)),
                less["local"].as_str().unwrap().parse().unwrap(),
            )
            .clone()
        } else {
            more.clone()
        };
        for key in ["state", "pid", "fd", "process", "recv_q", "uid", "role"] {
            assert_eq!(less[key], more[key], "{key}");
        }
        for key in ["mss", "pmtu", "rtt_us", "cwnd", "snd_wnd", "wscale"] {
            assert!(less[key].is_null(), "{key}");
        }
    }
    let text = without(&format!(":{}", stage.port)).stdout;
    assert!(text.contains("Read from /proc/net/tcp") && text.contains("seccomp"), "{text}");
}

#[test]
fn sockets_of_other_users_are_shown_and_what_unlocks_their_names_is_said() {
    if std::env::var_os("DUOLU_TEST_NO_ROOT").is_some_and(|value| value == "1") {
        return;
    }
    let stage = Stage::new();
    let (client, _server) = stage.pair();
    // The folder of the build may be closed to others.
    let copy = std::env::temp_dir().join(format!("duolu-states-{}", std::process::id()));
    std::fs::copy(DUOLU, &copy).expect("copied");
    let as_nobody = |args: &str| {
        let mut command = Command::new(&copy);
        command.arg("states").args(args.split_whitespace()).env("LC_ALL", "C.UTF-8").uid(65_534).gid(65_534);
        let failed =
            "only root can run a program as another user; DUOLU_TEST_NO_ROOT=1 does without this test";
        Run::of(command.output().expect(failed))
    };
    let json = as_nobody(&format!(":{} --json --wide", stage.port));
    let text = as_nobody(&format!(":{}", stage.port));
    let process = as_nobody(&format!(":{} --pid {}", stage.port, std::process::id()));
    std::fs::remove_file(&copy).expect("removed");
    assert_eq!((json.code, text.code), (Some(0), Some(0)), "{}", text.stderr);
    let json = json.json();
    let ours = socket(&json, client.local_addr().unwrap());
    assert!(
        ours["pid"].is_null() && ours["uid"].as_u64().is_some() && ours["rtt_us"].as_u64().is_some(),
        "{ours}"
    );
    assert_eq!(json["unread"]["sockets"].as_u64(), Some(3));
    assert!(json["unread"]["unlock"].as_str().is_some_and(|unlock| unlock.contains("CAP_SYS_PTRACE")));
    let text = text.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("Who holds 3 of these sockets is not to be seen"), "{text}");
    assert!(text.contains("run as the user who owns them, or as root"), "{text}");
    assert_eq!(process.code, Some(3));
    assert!(process.stderr.contains("may not be read"), "{}", process.stderr);
}
