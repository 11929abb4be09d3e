//! deploy/duolu.socket and duolu.service: systemd takes them, a server lives within what they allow, and a port is handed over.

use crate::network::in_network;
use crate::server::{Server, can_run, connect, duolu, eventually, told_to_do_without};
use crate::wait::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const UNITS: [&str; 2] = ["duolu.service", "duolu.socket"];
const MODELS: [&str; 10] = [
    "fork",
    "prefork",
    "thread",
    "select",
    "poll",
    "epoll-lt",
    "epoll-et",
    "epoll-oneshot",
    "io_uring-poll",
    "io_uring",
];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
    fs::read_to_string(path).expect("a unit")
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("duolu-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(command: &mut Command) -> Output {
    wait(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts"),
    )
}

#[test]
fn systemd_takes_the_units_and_finds_them_tight() {
    let folder = Folder::new("units");
    let paths = UNITS.map(|name| {
        let path = folder.0.join(name);
        let here = duolu().get_program().to_str().expect("UTF-8").to_owned();
        fs::write(&path, unit(name).replace("/usr/local/bin/duolu", &here)).expect("written");
        path
    });
    // It calls an unknown key a warning, and succeeds.
    let verified = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&paths));
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    // Its scale: 0 (locked in) to 100 (may do anything).
    let judged = run(Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", "--threshold=20"])
        .arg(&paths[0]));
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

/// The calls in groups (systemd-analyze(1), syscall-filter) and on their own.
fn calls(words: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for word in words.split_whitespace() {
        if !word.starts_with('@') {
            all.insert(word.to_owned());
            continue;
        }
        let listed = run(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter", word]));
        assert!(listed.status.success(), "{listed:?}");
        let listed = String::from_utf8(listed.stdout).expect("UTF-8");
        let members = listed.lines().skip(1).filter(|line| !line.trim_start().starts_with('#'));
        all.extend(calls(&members.collect::<Vec<_>>().join(" ")));
    }
    all
}

/// What SystemCallFilter= of the service leaves.
fn allowed() -> BTreeSet<String> {
    let (mut allowed, service) = (calls("@default"), unit("duolu.service"));
    for words in service.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match words.strip_prefix('~') {
            Some(words) => allowed = &allowed - &calls(words),
            None => allowed.extend(calls(words)),
        }
    }
    assert!(allowed.contains("accept4") && !allowed.contains("mount"), "{allowed:?}");
    allowed
}

#[test]
fn every_model_gets_by_with_the_calls_that_the_unit_allows() {
    let (allowed, folder) = (allowed(), Folder::new("calls"));
    let processes: &[&str] = &["--processes", "--workers", "2"];
    let ways = MODELS.map(|model| (model, [].as_slice())).into_iter().chain([("epoll-et", processes)]);
    for (model, more) in ways.filter(|(model, _)| can_run(model)) {
        let table = folder.0.join("table");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-c", "-o"]).arg(&table).arg(duolu().get_program());
        command.args(["serve", "http", "--port", "0", "--admin", "127.0.0.1:0", "--model", model]).args(more);
        let mut server = Server::spawn(&mut command);
        for address in [server.address, server.address, server.admin()] {
            let mut stream = connect(address);
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("send");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{model}: {answer}");
        }
        let pid = server.ready["pid"].as_i64().and_then(|pid| Pid::from_raw(pid as i32)).expect("a pid");
        kill_process(pid, Signal::TERM).expect("the server, a child of strace");
        assert_eq!(server.exit_code(), Some(0), "{model}: {}", server.stderr());
        let table = fs::read_to_string(&table).expect("a table");
        let rows = table.lines().skip(2).take_while(|line| !line.starts_with("---"));
        let used: BTreeSet<String> =
            rows.filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect();
        assert!(used.len() > 10, "{model}: {table}");
        // Of execve systemd is the caller.
        let beyond: Vec<_> = used.difference(&allowed).filter(|call| *call != "execve").collect();
        assert!(beyond.is_empty(), "{model}: {beyond:?} of {used:?}");
    }
}

const WEB: &str = "127.0.0.1:8080";
const ADMIN: &str = "127.0.0.1:9090";

/// systemd's own way of handing over, without a service manager.
fn activate(flags: &[&str], server: &[&str]) -> Command {
    let mut command = Command::new("systemd-socket-activate");
    command.args(flags).arg(duolu().get_program()).arg("serve").args(server);
    command
}

/// The first connection is what makes systemd start the server.
fn knock() -> TcpStream {
    let address: SocketAddr = WEB.parse().expect("an address");
    eventually("systemd listens", || TcpStream::connect(address).ok());
    connect(address)
}

#[test]
fn every_model_takes_the_port_and_the_admin_socket_of_systemd() {
    if told_to_do_without("DUOLU_TEST_NO_NETNS") {
        return;
    }
    for model in
        ["fork", "prefork", "thread", "poll", "epoll-et", "io_uring"].into_iter().filter(|it| can_run(it))
    {
        // A network of its own, where every port is free.
        in_network(|| {
            let first = std::thread::spawn(knock);
            let mut command =
                activate(&["-l", WEB, "-l", ADMIN, "--fdname=web:admin"], &["echo", "--model", model]);
            let mut server = Server::spawn(&mut command);
            assert_eq!(server.address.to_string(), WEB, "{model}");
            assert_eq!((&server.ready["inherited"], &server.ready["admin"]), (&true.into(), &ADMIN.into()));
            assert_eq!(server.ready["pid"], server.pid(), "{model}: it became the server");
            let mut stream = first.join().expect("whoever knocked");
            stream.write_all(b"x").expect("send");
            stream.read_exact(&mut [0]).expect("it waited in the queue, and is served");
            drop(stream);
            server.signal(Signal::TERM);
            assert_eq!(server.exit_code(), Some(0), "{model}: {}", server.stderr());
        });
    }
}

#[test]
fn a_datagram_socket_of_systemd_is_refused_by_its_name() {
    if told_to_do_without("DUOLU_TEST_NO_NETNS") {
        return;
    }
    in_network(|| {
        let mut command = activate(&["--datagram", "-l", WEB], &["echo"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        // Until it listens nobody is there to get it; after that it is woken once.
        eventually("systemd is woken and the server has ended", || {
            let _ = socket.send_to(b"x", WEB);
            child.try_wait().expect("its state")
        });
        let output = wait(child);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("descriptor 3") && said.contains("ListenDatagram="), "{said}");
    });
}
