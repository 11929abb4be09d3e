//! Connections to look at, and `duolu states` run on them.

use serde_json::Value;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub const DUOLU: &str = env!("CARGO_BIN_EXE_duolu");

/// How a run ended.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }
}

/// `duolu states ARGS` in English.
pub fn command(args: &str) -> Command {
    let mut command = Command::new(DUOLU);
    command.arg("states").args(args.split_whitespace());
    command.env("LC_ALL", "C.UTF-8");
    command
}

pub fn states(args: &str) -> Run {
    Run::of(command(args).output().expect("duolu runs"))
}

pub fn json(args: &str) -> Value {
    let run = states(&format!("{args} --json"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run.json()
}

pub fn count(json: &Value, state: &str) -> u64 {
    json["counts"][state].as_u64().unwrap_or_else(|| panic!("no count of {state}: {}", json["counts"]))
}

/// The socket whose own end is `local`.
pub fn socket(json: &Value, local: SocketAddr) -> &Value {
    let sockets = json["sockets"].as_array().expect("sockets");
    let own = |socket: &&Value| socket["local"] == local.to_string() && socket["state"] != "LISTEN";
    sockets.iter().find(own).unwrap_or_else(|| panic!("{local} is not in {json}"))
}

/// A listener of its own on a port that the kernel chose.
pub struct Stage {
    pub listener: TcpListener,
    pub port: u16,
}

impl Stage {
    pub fn on(address: &str) -> Self {
        let listener = fresh_listener(address);
        let port = listener.local_addr().expect("address").port();
        Stage { listener, port }
    }

    pub fn new() -> Self {
        Self::on("127.0.0.1")
    }

    /// A client's end and a server's.
    pub fn pair(&self) -> (TcpStream, TcpStream) {
        let client = self.client();
        (client, self.listener.accept().expect("accept").0)
    }

    /// Connected, and not accepted.
    pub fn client(&self) -> TcpStream {
        TcpStream::connect(self.listener.local_addr().expect("address")).expect("connect")
    }

    pub fn json(&self) -> Value {
        json(&format!(":{}", self.port))
    }
}

/// On a port that nobody else has to do with: another test's clients may have left theirs in TIME-WAIT, on this number.
pub fn fresh_listener(address: &str) -> TcpListener {
    for _ in 0..1000 {
        let listener = TcpListener::bind((address, 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        let table = |name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
        let rows = table("tcp") + &table("tcp6");
        if rows.matches(&format!(":{port:04X} ")).count() == 1 {
            return listener;
        }
    }
    panic!("every port has somebody in TIME-WAIT");
}

/// Asks until `done`, for what the kernel does a little later.
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(result) = done() {
            return result;
        }
        assert!(Instant::now() < end, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
