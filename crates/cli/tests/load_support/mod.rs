//! Small servers in the test's own process, right ones and wrong ones, and a way to run `duolu load` against them.

#![allow(dead_code, reason = "each test file takes what it needs")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Accepts for as long as the test runs, a thread for each connection.
pub fn serve(service: impl Fn(u64, TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    let address = listener.local_addr().expect("its address");
    let service = Arc::new(service);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let service = service.clone();
            std::thread::spawn(move || service(number as u64, stream));
        }
    });
    address
}

/// An echo that gives what it sends back to `change` first; it ends when `change` says false.
pub fn echo_with(mut stream: TcpStream, mut change: impl FnMut(&mut Vec<u8>) -> bool) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let got = stream.read(&mut buffer)?;
        if got == 0 {
            return Ok(());
        }
        let mut reply = buffer[..got].to_vec();
        let go_on = change(&mut reply);
        stream.write_all(&reply)?;
        if !go_on {
            return Ok(());
        }
    }
}

/// A right echo that counts connections whose end was not a clean end of file.
pub fn echo() -> (SocketAddr, Arc<AtomicU64>) {
    let failures = Arc::new(AtomicU64::new(0));
    let counted = failures.clone();
    let address = serve(move |_, stream| {
        if echo_with(stream, |_| true).is_err() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (address, failures)
}

/// What a run of `duolu load` came to.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
        }
    }

    /// The one object on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: stdout '{}' stderr '{}'", self.stdout, self.stderr))
    }
}

pub fn duolu() -> &'static str {
    env!("CARGO_BIN_EXE_duolu")
}

/// Runs `duolu load` with these words.
pub fn load(words: &str) -> Run {
    Run::of(Command::new(duolu()).arg("load").args(words.split_whitespace()).output().expect("duolu runs"))
}

/// The same with `--json`; gives the object.
pub fn load_json(words: &str) -> Value {
    load(&format!("{words} --json")).json()
}

/// The same with so many descriptors at most.
pub fn load_limited(descriptors: u32, words: &str) -> Run {
    let script = format!("ulimit -n {descriptors}; exec \"$0\" load {words} --json");
    Run::of(Command::new("sh").args(["-c", &script, duolu()]).output().expect("sh runs"))
}

/// The number of errors of one kind.
pub fn errors(json: &Value, kind: &str) -> u64 {
    json["errors"][kind].as_u64().unwrap_or(0)
}

/// All errors.
pub fn all_errors(json: &Value) -> u64 {
    json["errors"].as_object().expect("errors").values().filter_map(Value::as_u64).sum()
}

/// A process that ends with the test.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that says on which port it listens by listening there; waits until it does.
pub fn start(mut command: Command, address: SocketAddr) -> Owned {
    let child = Owned(command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| {
        panic!("{:?} cannot be started ({error}): run `make tools`", command.get_program())
    }));
    for _ in 0..200 {
        if TcpStream::connect(address).is_ok() {
            return child;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    panic!("{:?} does not listen on {address}", command.get_program());
}

/// A port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// This test binary again, as an echo server in a process of its own with so many descriptors at most.
pub fn limited_server(descriptors: u32) -> (Owned, SocketAddr) {
    let script =
        format!("ulimit -n {descriptors}; exec \"$0\" --exact child_echo_server --ignored --nocapture");
    let this = std::env::current_exe().expect("the path of this test");
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .arg(this)
        .env("DUOLU_TEST_CHILD", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    let stdout = child.stdout.take().expect("piped");
    let child = Owned(child);
    let address = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("listening on ")?.1.trim().parse().ok())
        .expect("the child tells its address");
    (child, address)
}

/// What [`limited_server`] runs: an echo that keeps accepting and, out of descriptors, waits a little.
pub fn child_echo_server() {
    if std::env::var_os("DUOLU_TEST_CHILD").is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
    println!("listening on {}", listener.local_addr().expect("its address"));
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                std::thread::spawn(move || echo_with(stream, |_| true));
            }
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
}

/// A server of one HTTP reply; `reply` gives the bytes for request number n of a connection, and whether to go on.
pub fn http(reply: impl Fn(u64, u64) -> (Vec<u8>, bool) + Send + Sync + 'static) -> SocketAddr {
    serve(move |connection, mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
        for request in 0.. {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
            }
            let (bytes, go_on) = reply(connection, request);
            if stream.write_all(&bytes).is_err() || !go_on {
                return;
            }
        }
    })
}
