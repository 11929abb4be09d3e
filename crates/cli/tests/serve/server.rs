//! A server that the test started, and ends with it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything here takes, shorter than patience.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub ready: serde_json::Value,
    stderr: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// The command as cargo built it.
pub fn duolu() -> Command {
    Command::new(env!("CARGO_BIN_EXE_duolu"))
}

/// Whether the model is to be tested. io_uring may be switched off (kernel.io_uring_disabled) or forbidden (the seccomp
/// profile of a container): then its tests fail, unless DUOLU_TEST_NO_URING=1 says that it cannot be had.
pub fn can_run(model: &str) -> bool {
    !model.starts_with("io_uring") || !told_to_do_without("DUOLU_TEST_NO_URING")
}

/// Whether the environment says that something the tests need cannot be had.
pub fn told_to_do_without(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

impl Server {
    /// `duolu serve SERVICE --model MODEL --port 0` and more arguments.
    pub fn start(service: &str, model: &str, more: &[&str]) -> Server {
        let mut command = duolu();
        command.args(["serve", service, "--model", model, "--port", "0"]).args(more);
        Server::spawn(&mut command)
    }

    /// Runs a command that ends in `duolu serve`, and waits until it is ready.
    pub fn spawn(command: &mut Command) -> Server {
        command.arg("--json-ready").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the server");
        let stderr = Arc::new(Mutex::new(String::new()));
        let reader = collect(child.stderr.take().expect("its stderr"), stderr.clone());
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        stdout.read_line(&mut line).expect("its first line");
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.wait();
            panic!("not ready: {line:?}, it said {:?}", stderr.lock().unwrap())
        });
        let address = ready["address"].as_str().expect("an address").parse().expect("an address");
        Server { child, address, ready, stderr, reader: Some(reader) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection that gives up rather than hang.
    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub fn signal(&self, signo: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signo).expect("signal the server");
    }

    /// Its end, which must come within `PATIENCE`.
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually("the server ends", || self.child.try_wait().expect("ask for its end"));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader of its stderr");
        }
        status
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        let status = self.wait();
        assert_eq!(status.signal(), None, "{}", self.stderr());
        status.code()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has said so.
    pub fn has_said(&self, text: &str) {
        eventually(text, || self.stderr().contains(text).then_some(()));
    }

    /// The address of its admin endpoint.
    pub fn admin(&self) -> SocketAddr {
        self.ready["admin"].as_str().expect("an admin address").parse().expect("an admin address")
    }

    /// Its child processes, ended ones that nobody reaped included.
    pub fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_ascii_whitespace().map(|pid| pid.parse().expect("a process number")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server said: {}", self.stderr());
        }
    }
}

fn collect(mut from: impl Read + Send + 'static, to: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    })
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Asks until there is an answer, up to `PATIENCE`.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
