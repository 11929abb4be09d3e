//! The admin endpoint (`--admin`): /metrics for Prometheus, /healthz and /readyz for whoever supervises.
//!
//! One request at a time, each bounded in time and size: a thread of its own beside threads and loops, a process of
//! its own beside processes (a fork would copy a thread's locks in whatever state they are).

use super::board::{Board, Count};
use super::fork::in_child;
use super::setup::Setup;
use crate::failure::Failure;
use duolu_sys::process::Fork;
use duolu_sys::worker::fork_worker;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long a request may take, reading and writing together.
const LIMIT: Duration = Duration::from_secs(2);
/// A longer request head is not for us, in bytes.
const HEAD_BYTES: usize = 8 * 1024;

struct Admin {
    board: Board,
    started: Instant,
    /// The labels of the information metric.
    labels: String,
}

/// Starts the endpoint in a thread, if there is to be one. The thread ends with the process.
pub fn start_thread(setup: &mut Setup) -> Result<(), Failure> {
    let Some(listener) = setup.admin.take() else { return Ok(()) };
    let admin = Admin::new(setup);
    let spawned = std::thread::Builder::new().name("admin".to_owned()).spawn(move || admin.serve(&listener));
    spawned.map(drop).map_err(|error| Failure::cannot(format!("no thread for the admin endpoint: {error}")))
}

/// Starts the endpoint in a child process, if there is to be one. It dies with the parent. Called while the service's
/// sockets are still in `setup`: the child closes its copies, or the port would listen on after the server stops.
pub fn start_process(setup: &mut Setup) -> Result<(), Failure> {
    let Some(listener) = setup.admin.take() else { return Ok(()) };
    let admin = Admin::new(setup);
    match fork_worker() {
        Ok(Fork::Parent(_)) => Ok(()),
        Ok(Fork::Child) => {
            setup.listeners.clear();
            in_child(|| admin.serve(&listener))
        }
        Err(error) => Err(Failure::cannot(format!("no process for the admin endpoint: {error}"))),
    }
}

impl Admin {
    fn new(setup: &Setup) -> Self {
        let announce = &setup.announce;
        let labels = format!(
            "service=\"{}\",model=\"{}\",workers=\"{}\"",
            announce.service, announce.model, announce.workers
        );
        Admin { board: setup.board, started: Instant::now(), labels }
    }

    fn serve(&self, listener: &TcpListener) {
        loop {
            match listener.accept() {
                // A peer that fails is its own trouble.
                Ok((stream, _)) => drop(self.answer(&stream)),
                Err(_) => std::thread::sleep(Duration::from_millis(75)),
            }
        }
    }

    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        stream.set_write_timeout(Some(LIMIT))?;
        let head = read_head(stream)?;
        let (method, path) = target(&head);
        let (status, body) = match path {
            _ if !matches!(method, "GET" | "HEAD") => {
                ("405 Method Not Allowed", "GET and HEAD only\n".to_owned())
            }
            "/metrics" => ("200 OK", self.metrics()),
            "/healthz" => ("200 OK", "ok\n".to_owned()),
            "/readyz" if self.board.leaving() => ("503 Service Unavailable", "draining\n".to_owned()),
            "/readyz" => ("200 OK", "ready\n".to_owned()),
            _ => ("404 Not Found", "here are /metrics, /healthz and /readyz\n".to_owned()),
        };
        let length = body.len();
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        if method != "HEAD" {
            answer.push_str(&body);
        }
        stream.write_all(answer.as_bytes())
    }

    /// The text exposition format of Prometheus, version 0.0.4.
    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, labels: &str, value: f64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}");
        };
        metric(
            "duolu_server_info",
            "gauge",
            "What is served, and how.",
            &format!("{{{}}}", self.labels),
            1.0,
        );
        let uptime = self.started.elapsed().as_millis() as f64 / 1e3;
        metric("duolu_uptime_seconds", "gauge", "Time since the start.", "", uptime);
        metric("duolu_connections_open", "gauge", "Connections open now.", "", self.board.open() as f64);
        for (count, name, help) in Count::ALL {
            metric(name, "counter", help, "", self.board.sum(count) as f64);
        }
        let _ = writeln!(
            text,
            "# HELP duolu_worker_connections_open Connections open now, of each worker.\n\
             # TYPE duolu_worker_connections_open gauge"
        );
        for worker in 0..self.board.workers() {
            let open = self.board.open_of(worker);
            let _ = writeln!(text, "duolu_worker_connections_open{{worker=\"{worker}\"}} {open}");
        }
        text
    }
}

/// Reads up to the end of the request's head, the peer's end, or the limits.
fn read_head(mut stream: &TcpStream) -> std::io::Result<String> {
    let deadline = Instant::now() + LIMIT;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < HEAD_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut piece)? {
            0 => break,
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Method and path, without the query.
fn target(head: &str) -> (&str, &str) {
    let mut words = head.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    (method, target.split('?').next().unwrap_or_default())
}
