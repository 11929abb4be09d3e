//! `--processes`: workers with descriptors of their own, and nobody left behind whatever happens.

use crate::metric::metric;
use crate::server::{PATIENCE, Server, can_run, duolu, eventually};
use rustix::process::{Pid, Signal};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const MODELS: [&str; 4] = ["poll", "epoll-lt", "epoll-et", "io_uring"];
const THREE: &[&str] = &["--processes", "--workers", "3", "--drain", "19s"];

fn ask(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).expect("send");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).expect("receive");
    assert_eq!(answer, text);
}

fn asked(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut streams: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
    streams.iter_mut().for_each(|stream| ask(stream, b"hello"));
    streams
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid as i32).expect("a process number");
    rustix::process::kill_process(pid, Signal::KILL).expect("a child of our own server");
}

fn is_gone(pid: &u32) -> bool {
    !std::path::Path::new(&format!("/proc/{pid}/fd/0")).exists()
}

#[test]
fn every_worker_serves_and_the_counters_are_of_all() {
    for model in MODELS.into_iter().filter(|model| can_run(model)) {
        for accept in ["shared", "reuseport"] {
            let more = [THREE, &["--accept", accept, "--admin", "0"]].concat();
            let mut server = Server::start("echo", model, &more);
            assert_eq!((&server.ready["processes"], &server.ready["workers"]), (&true.into(), &3.into()));
            let streams = asked(&server, 60);
            assert_eq!(metric(server.admin(), "duolu_connections_open"), 60, "{model} {accept}");
            // With the admin endpoint's; a worker's sockets are its own, so the parent holds none of the sixty.
            let children = server.children();
            assert_eq!(children.len(), 4, "{model}");
            let descriptors = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).expect("ours").count();
            assert!(descriptors(server.pid()) < 30, "{model}");
            if accept == "reuseport" && model != "io_uring" {
                let busy = children.iter().filter(|pid| descriptors(**pid) > 20).count();
                assert!(busy >= 2, "{model}: the kernel spreads sixty over more than one");
            }
            drop(streams);
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code(), Some(0), "{model} {accept}");
            assert!(children.iter().all(is_gone), "{model} {accept}: nobody is left");
        }
    }
}

#[test]
fn it_drains_on_sigterm_and_ends_now_on_the_second_sigint() {
    for model in MODELS.into_iter().filter(|model| can_run(model)) {
        let mut server = Server::start("echo", model, THREE);
        let mut early = asked(&server, 12);
        server.signal(Signal::TERM);
        eventually("new connections are refused", || {
            TcpStream::connect(server.address).is_err().then_some(())
        });
        early.iter_mut().for_each(|stream| ask(stream, b"meanwhile"));
        drop(early);
        assert_eq!(server.exit_code(), Some(0), "{model}");
        assert!(!server.stderr().contains("cut"), "{}", server.stderr());

        let mut server = Server::start("echo", model, THREE);
        let (_held, children) = (asked(&server, 12), server.children());
        server.signal(Signal::INT);
        eventually("new connections are refused", || {
            TcpStream::connect(server.address).is_err().then_some(())
        });
        server.signal(Signal::INT);
        assert_eq!(server.exit_code(), Some(130), "{model}");
        assert!(children.iter().all(is_gone), "{model}: nobody is left");
    }
}

#[test]
fn a_killed_worker_is_replaced_and_whoever_waits_for_it_is_served() {
    let more = ["--processes", "--workers", "2", "--admin", "0", "--drain", "1s"];
    let server = Server::start("echo", "epoll-lt", &more);
    let workers: Vec<u32> = server.children().into_iter().skip(1).collect(); // the first is the admin endpoint
    assert_eq!(workers.len(), 2);
    let held = asked(&server, 40);
    std::thread::sleep(Duration::from_millis(1100)); // a short life is not replaced at once
    kill(workers[0]);
    // Some of these are the dead one's share: they wait in its queue.
    let _late = asked(&server, 40);
    let now = server.children();
    assert!(now.contains(&workers[1]) && !now.contains(&workers[0]), "{now:?}");
    let open = held.iter().filter(|stream| still_open(stream)).count();
    assert!(open > 0 && open < 40, "{open} of 40 were the other's");
    assert_eq!(metric(server.admin(), "duolu_connections_open"), open as u64 + 40);
    let open = 40 - open;
    server.has_said(&format!(
        "process {} was killed by signal 9, and its {open} connections with it, another takes its place",
        workers[0]
    ));
}

fn still_open(mut stream: &TcpStream) -> bool {
    stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0])).is_ok()
}

#[test]
fn workers_die_with_their_parent() {
    let mut server = Server::start("echo", "epoll-et", &[THREE, &["--admin", "0"]].concat());
    let (streams, children) = (asked(&server, 9), server.children());
    server.signal(Signal::KILL);
    server.wait();
    for mut stream in streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read(&mut [0]);
    }
    eventually("its children are gone", || children.iter().all(is_gone).then_some(()));
}

#[test]
fn as_many_workers_as_the_connections_need() {
    let start = |limit: u32, words: &str| {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\" {words}");
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            &script,
            env!("CARGO_BIN_EXE_duolu"),
            "serve",
            "echo",
            ":0",
            "--model",
            "epoll-lt",
        ]);
        Server::spawn(&mut command)
    };
    // 532 are counted on with 600 descriptors, 468 where they are spread by a hash.
    let server = start(564, "--processes --max-connections 2000");
    assert_eq!((&server.ready["workers"], &server.ready["accept"]), (&5.into(), &"reuseport".into()));
    server.has_said("5 processes (accept reuseport)");
    let server = start(564, "--processes --max-connections 532");
    assert_eq!(server.ready["workers"], 1);
    let server = start(564, "--max-connections 2000");
    server.has_said(
        "one process can be counted on for 532 connections, not for 2,000: --processes --workers 5",
    );
}

#[test]
fn processes_of_what_has_processes_are_a_mistake() {
    for model in ["fork", "prefork", "thread"] {
        let output = duolu()
            .args(["serve", "echo", ":0", "--processes", "--model", model])
            .output()
            .expect("duolu runs");
        assert_eq!(output.status.code(), Some(2), "{model}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--processes is for the event-driven models"), "{said}");
    }
}
