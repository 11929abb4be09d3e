//! Five networks of the test's own: the balancer in the middle, with a cable to the clients and to each of three servers.

use crate::server::eventually;
use duolu_sys::netns::enter_next_network;
use duolu_sys::veth::Network;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};

/// The servers' names in deploy/haproxy.cfg; number N is 10.77.N.2.
pub const NAMES: [&str; 3] = ["one", "two", "three"];
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

pub struct Networks {
    pub clients: Network,
    pub servers: [Network; 3],
}

/// Runs `work` in a thread with a network of its own, where every port is free.
pub fn in_network<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        enter_next_network()
            .expect("this test needs a network namespace; DUOLU_TEST_NO_NETNS=1 does without it");
        work()
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The same with cables: `work` runs in the balancer's network.
pub fn in_networks<T: Send>(work: impl FnOnce(Networks) -> T + Send) -> T {
    in_network(|| {
        let cable = |number: u8| {
            let network = Network::new().expect("a network");
            let (here, there) = (Ipv4Addr::new(10, 77, number, 1), Ipv4Addr::new(10, 77, number, 2));
            let name = format!("to-{number}");
            network.connect((&name, here), ("eth0", there)).expect("a cable");
            network
        };
        work(Networks { clients: cable(0), servers: [cable(1), cable(2), cable(3)] })
    })
}

/// A program that ends with the test.
pub struct Running(Option<Child>);

impl Running {
    pub fn spawn(command: &mut Command) -> Running {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Running(Some(child.expect("it starts")))
    }

    /// Fails with what it said if it has ended.
    fn is_still_there(&mut self) {
        let ended = self.0.as_mut().is_some_and(|child| child.try_wait().expect("its state").is_some());
        if ended {
            panic!("it has ended: {:?}", self.0.take().map(|child| child.wait_with_output()));
        }
    }

    /// What it prints from now on.
    pub fn lines(&mut self) -> impl Iterator<Item = String> {
        let stdout = self.0.as_mut().and_then(|child| child.stdout.take());
        BufReader::new(stdout.expect("its stdout")).lines().map_while(Result::ok)
    }

    /// SIGINT, and what it said.
    pub fn interrupt(self) -> Output {
        self.end(rustix::process::Signal::INT)
    }

    /// SIGTERM, for programs that leave signals as they find them: SIGINT is ignored in what runs in the background.
    pub fn terminate(self) -> Output {
        self.end(rustix::process::Signal::TERM)
    }

    fn end(mut self, signal: rustix::process::Signal) -> Output {
        let child = self.0.take().expect("not ended yet");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).expect("ours until it is waited for");
        super::wait::wait(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// HAProxy with deploy/haproxy.cfg as it stands there, and a socket to ask it.
pub struct Haproxy {
    process: Running,
    folder: std::path::PathBuf,
}

impl Haproxy {
    /// In the calling thread's network.
    pub fn start() -> Haproxy {
        let folder = std::env::temp_dir().join(format!("duolu-deploy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let asked = folder.join("ask.cfg");
        let socket = folder.join("ask").display().to_string();
        std::fs::write(&asked, format!("global\n  stats socket {socket} mode 600 level admin\n"))
            .expect("written");
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/haproxy.cfg");
        let mut command = Command::new("/usr/sbin/haproxy");
        let process = Running::spawn(command.args(["-db", "-f", config, "-f"]).arg(asked));
        let mut haproxy = Haproxy { process, folder };
        eventually("it can be asked", || {
            haproxy.process.is_still_there();
            haproxy.stat("web", "FRONTEND", "status")
        });
        haproxy
    }

    /// A column of "show stat" (management guide, 9.1): for a server, or FRONTEND, or BACKEND.
    pub fn stat(&self, proxy: &str, name: &str, column: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.folder.join("ask")).ok()?; // not yet
        std::io::Write::write_all(&mut socket, b"show stat\n").ok()?;
        let mut table = String::new();
        socket.read_to_string(&mut table).ok()?;
        let mut lines =
            table.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
        let at = lines.next()?.iter().position(|title| *title == column).expect("a column that there is");
        let row = lines.find(|row| row.first() == Some(&proxy) && row.get(1) == Some(&name))?;
        row.get(at).map(|value| (*value).to_owned())
    }

    pub fn count(&self, proxy: &str, name: &str, column: &str) -> u64 {
        let value = self.stat(proxy, name, column).expect("it answers");
        value.parse().unwrap_or(0) // empty where nothing is counted
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
