//! memcached: the protocol's own checks, and many clients whose every answer is compared.

use crate::kit::{Folder, Server, has_ours, methods, on_ours, seconds, until, used};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const THREADS: usize = 4;
const CONNECTIONS: usize = 1_000;

/// memcached with four threads on a port that the kernel chooses.
fn start(method: &str) -> (Server, u16) {
    let folder = Folder::new("memcached");
    let mut command = on_ours("memcached", method, &folder);
    command.env("MEMCACHED_PORT_FILENAME", folder.file("ports"));
    let threads = THREADS.to_string();
    command.args([
        "-u",
        "root",
        "-l",
        "127.0.0.1",
        "-p",
        "-1",
        "-U",
        "0",
        "-c",
        "4000",
        "-m",
        "256",
        "-t",
        &threads,
    ]);
    let mut server = Server { child: command.spawn().expect("memcached starts"), folder };
    let port = until("memcached listens", || {
        assert_eq!(server.child.try_wait().expect("our child"), None, "{}", server.folder.complaints());
        let ports = server.folder.read("ports");
        ports.lines().find_map(|line| line.strip_prefix("TCP INET: ")).and_then(|port| port.parse().ok())
    });
    assert!(has_ours(server.child.id()));
    assert!(used(&server.folder, method), "{}", server.folder.read("verbose"));
    (server, port)
}

/// It ends as it does on the other library, and no sanitizer has anything to say.
fn finish(mut server: Server) {
    let status = server.end("INT");
    let said = server.folder.complaints();
    assert!(status.success(), "{status}: {said}");
    let told = server.folder.read("verbose");
    let counted = |line: &str| line.contains(" waits, ") && !line.contains(" 0 events called");
    assert!(told.lines().filter(|line| counted(line)).count() > THREADS, "the loops' counters: {told}");
    assert_eq!(server.folder.reports(), "");
}

#[test]
fn memccapable_passes_54_of_54_on_every_method() {
    for method in methods() {
        let (server, port) = start(method);
        let output = Command::new("memccapable")
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .output()
            .expect("memccapable is installed (make tools)");
        let said = String::from_utf8_lossy(&output.stdout);
        let passed = said.lines().filter(|line| line.ends_with("[pass]")).count();
        assert_eq!((passed, output.status.success()), (54, true), "{method}: {said}");
        finish(server);
    }
}

/// A connection, and what it has stored.
struct Client {
    socket: BufReader<TcpStream>,
    key: String,
    round: usize,
}

/// Sizes around those at which buffers grow and reads are cut.
const SIZES: [usize; 8] = [0, 1, 100, 1_000, 1_448, 4_096, 16_384, 70_000];

impl Client {
    fn new(port: u16, number: usize) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("memcached accepts");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        socket.set_nodelay(true).expect("TCP");
        // Different connections begin with different sizes.
        Client { socket: BufReader::new(socket), key: format!("key-{number}"), round: number }
    }

    fn value(&self) -> Vec<u8> {
        let size = SIZES[self.round % SIZES.len()];
        (0..size).map(|at| b'a' + ((at * 7 + self.round + self.key.len()) % 26) as u8).collect()
    }

    /// A set and a get, at once; every third time in two pieces.
    fn ask(&mut self) {
        let value = self.value();
        let mut request =
            format!("set {} {} 0 {}\r\n", self.key, self.round % 1000, value.len()).into_bytes();
        request.extend_from_slice(&value);
        request.extend_from_slice(format!("\r\nget {}\r\n", self.key).as_bytes());
        let cut = if self.round.is_multiple_of(3) { request.len() / 2 } else { request.len() };
        let mut socket = self.socket.get_ref();
        socket.write_all(&request[..cut]).expect("taken");
        socket.write_all(&request[cut..]).expect("taken");
    }

    fn check(&mut self) {
        let mut line = String::new();
        let mut next = |socket: &mut BufReader<TcpStream>, wanted: &str| {
            line.clear();
            socket.read_line(&mut line).expect("an answer in time");
            assert_eq!(line.trim_end(), wanted);
        };
        let value = self.value();
        next(&mut self.socket, "STORED");
        next(&mut self.socket, &format!("VALUE {} {} {}", self.key, self.round % 1000, value.len()));
        let mut got = vec![0; value.len()];
        self.socket.read_exact(&mut got).expect("the value");
        assert!(got == value, "{}: the value has changed on its way", self.key);
        next(&mut self.socket, "");
        next(&mut self.socket, "END");
        self.round += 1;
    }
}

/// Sets and gets over a thousand connections for a while; how many exchanges there were.
fn load(port: u16, time: Duration) -> usize {
    let until = Instant::now() + time;
    let crowd = |thread: usize| {
        let numbers = (0..CONNECTIONS).filter(move |number| number % THREADS == thread);
        let mut clients: Vec<Client> = numbers.map(|number| Client::new(port, number)).collect();
        let mut done = 0;
        while Instant::now() < until || done < clients.len() {
            clients.iter_mut().for_each(Client::ask);
            clients.iter_mut().for_each(Client::check);
            done += clients.len();
        }
        done
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || crowd(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no client fails")).sum()
    })
}

/// A figure of memcached's own statistics.
fn statistic(port: u16, name: &str) -> u64 {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("memcached accepts");
    socket.write_all(b"stats\r\nquit\r\n").expect("taken");
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("an answer");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().expect("a number")
}

#[test]
fn a_thousand_connections_get_what_they_have_set_on_every_method() {
    for method in methods() {
        // select(2) ends at descriptor 1,024 with C libevent; ours goes on.
        let (server, port) = start(method);
        let done = load(port, Duration::from_secs(seconds()));
        let (sets, hits) = (statistic(port, "cmd_set"), statistic(port, "get_hits"));
        assert_eq!((sets, hits), (done as u64, done as u64), "{method}");
        // Those of the load have gone, and memcached has seen it.
        until("the connections are closed", || (statistic(port, "curr_connections") < 20).then_some(()));
        eprintln!("memcached on {method}: {done} sets and gets over {CONNECTIONS} connections, no error");
        finish(server);
    }
}
