//! Servers of all kinds, started by the tests and ended with them, and `duolu why` run as a person does.

#![allow(dead_code, reason = "each test file takes what it needs")]

use duolu_sys::child::signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

#[path = "../support/wait.rs"]
mod wait;
pub use wait::{PATIENCE, wait};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
const DUOLU: &str = env!("CARGO_BIN_EXE_duolu");

/// A server in a process of its own, with a folder of its own.
pub struct Server {
    pub child: Child,
    pub port: u16,
    folder: Folder,
}

impl Drop for Server {
    /// SIGTERM first, so that a master ends its workers; nobody is left behind.
    fn drop(&mut self) {
        let family = family(self.child.id());
        let _ = signal(self.child.id(), SIGTERM);
        let until = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in family.into_iter().skip(1) {
            let _ = signal(pid, SIGKILL); // its parent is gone, and it was ours
        }
    }
}

/// A process and its descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(pid).chain(children.flat_map(family)).collect()
}

/// A folder of the test's own, open to every user, gone with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("duolu-why-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder of our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("our own");
        Folder(path)
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        path.to_str().expect("a plain path").to_owned()
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody has now, and that no other test of this program is given. Somebody else may take it before the
/// server does: [`start`] then tries another.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        if GIVEN.lock().expect("no panic").insert(port) {
            return port;
        }
    }
}

/// Starts a server that is told its port, and waits until it takes connections.
pub fn start(command: impl Fn(u16, &Folder) -> Command) -> Server {
    let mut said = String::new();
    for _ in 0..5 {
        let (port, folder) = (free_port(), Folder::new());
        let mut command = command(port, &folder);
        let log = fs::File::create(folder.0.join("log")).expect("a log");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error} (make tools installs it)"));
        let mut server = Server { child, port, folder };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if server.child.try_wait().expect("its state").is_some() {
                break;
            }
            if listens(server.child.id(), port) {
                // It may have bound and not be in its loop yet.
                thread::sleep(Duration::from_millis(100));
                return server;
            }
            thread::sleep(Duration::from_millis(10));
        }
        said = fs::read_to_string(server.folder.0.join("log")).unwrap_or_default();
    }
    panic!("it does not listen: {said}");
}

/// Whether this process or one of its descendants listens there; without a connection, which would be the first.
fn listens(pid: u32, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    let inode = |line: &str| -> Option<String> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listening = fields.get(3) == Some(&"0A") && fields.get(1)?.ends_with(&wanted);
        listening.then(|| format!("socket:[{}]", fields[9]))
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let found: Vec<String> = tables.iter().flat_map(|text| text.lines().skip(1).filter_map(inode)).collect();
    let holds = |pid: u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|link| found.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    !found.is_empty() && family(pid).into_iter().any(holds)
}

/// `duolu serve echo` on a model.
pub fn serve(model: &str, more: &[&str]) -> Server {
    start(|port, _| {
        let mut command = Command::new(DUOLU);
        command.args(["serve", "echo", "-q", "--model", model, "--port", &port.to_string()]).args(more);
        command
    })
}

/// One of the servers with a fault.
pub fn faulty(fault: &str, limit: Option<u32>) -> Server {
    start(|port, folder| {
        let script = folder.file("faulty.py", include_str!("faulty.py"));
        let mut command = match limit {
            Some(limit) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={limit}:{limit}")).arg("python3");
                command
            }
            None => Command::new("python3"),
        };
        command.args([&script, fault, &port.to_string()]);
        command
    })
}

pub fn connect(port: u16, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connect")).collect()
}

/// Says something and waits for the same to come back.
pub fn echo(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.write_all(b"duolu\n").expect("written");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"duolu\n");
}

/// Waits until the other side has accepted so many.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// `duolu why` with these arguments, in English unless they say otherwise.
pub fn why(arguments: &[&str]) -> Output {
    finish(Command::new(DUOLU).arg("why").args(arguments).env("LC_ALL", "C.UTF-8").env_remove("COLUMNS"))
}

/// Runs a command to its end, but not for ever.
pub fn finish(command: &mut Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait(child)
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What it says of a port, which it must be able to say.
pub fn told(port: u16) -> Value {
    let output = why(&[&format!(":{port}"), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    json(&output)
}

/// The same, looked at again while it is not as expected: a thread may be between two calls.
pub fn told_until(port: u16, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = told(port);
        if holds(&report) || Instant::now() > until {
            return report;
        }
    }
}

/// The epoll instance that watches connections.
pub fn loop_of(report: &Value) -> &Value {
    let epolls = report["epolls"].as_array().expect("epolls");
    let busy = |epoll: &&Value| epoll["connections"].as_u64() > Some(0);
    epolls.iter().find(busy).unwrap_or_else(|| panic!("no epoll watches connections: {report:#}"))
}

/// The epoll instance that watches the listener.
pub fn accepting(report: &Value) -> &Value {
    let epolls = report["epolls"].as_array().expect("epolls");
    epolls.iter().find(|epoll| !epoll["listener"].is_null()).unwrap_or_else(|| panic!("{report:#}"))
}

pub fn next_wall(report: &Value) -> (String, u64) {
    let next = &report["next_wall"];
    let name = next["name"].as_str().unwrap_or_else(|| panic!("no next wall: {report:#}"));
    (name.to_owned(), next["at"].as_u64().expect("a number of connections"))
}

/// What it says is wrong with the server. What the kernel counts for the whole machine, other tests included, and the
/// quota of whoever runs the tests are not its fault.
pub fn warnings(report: &Value) -> Vec<&str> {
    let others = ["handshakes-dropped", "memory-pressure", "cpu-throttled"];
    let all = report["warnings"].as_array().expect("warnings");
    let names = all.iter().filter_map(|warning| warning["name"].as_str());
    names.filter(|name| !others.contains(name)).collect()
}

/// A program that Debian puts where no PATH leads.
pub fn postgres(program: &str) -> PathBuf {
    let versions =
        fs::read_dir("/usr/lib/postgresql").expect("the package postgresql (make tools installs it)");
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|entry| entry.path().join("bin").join(program))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().expect("a version of PostgreSQL")
}

/// Runs a command as somebody who is not root.
pub fn as_user(user: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    let passwd = fs::read_to_string("/etc/passwd").expect("users");
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user)).expect("this user");
    let group = line.split(':').nth(3).expect("a group");
    command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]).arg(program);
    command
}

/// Where the other end of a connection is.
pub fn local(stream: &TcpStream) -> SocketAddr {
    stream.local_addr().expect("an address")
}
