//! coturn: relay threads, each with a base of its own, and what its own client sends through it.

use crate::kit::{Folder, Server, free_port, has_ours, methods, on_ours, until, used};
use std::net::{TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};

/// turnserver with two relay threads.
fn start(method: &str) -> (Server, u16) {
    let (folder, port) = (Folder::new("coturn"), free_port());
    let mut command = on_ours("turnserver", method, &folder);
    command.args(["-n", "--simple-log", "--log-file", &folder.file("log"), "--pidfile", &folder.file("pid")]);
    command.args(["--userdb", &folder.file("users"), "-u", "duolu:secret", "-r", "duolu", "-a", "-m", "2"]);
    command.args(["-L", "127.0.0.1", "-E", "127.0.0.1", "-p", &port.to_string(), "--allow-loopback-peers"]);
    command.args(["--no-tls", "--no-dtls", "--no-cli"]);
    let mut server = Server { child: command.spawn().expect("coturn is installed (make tools)"), folder };
    until("turnserver listens", || {
        assert_eq!(server.child.try_wait().expect("our child"), None, "{}", server.folder.complaints());
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    assert!(has_ours(server.child.id()));
    // coturn asks for the changelist, which is in the name.
    let name = if method == "epoll" { "epoll (with changelist)" } else { method };
    assert!(used(&server.folder, name), "{}", server.folder.read("verbose"));
    (server, port)
}

/// A peer that sends everything back; ended with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What coturn's client has sent and received in the end.
fn messages(said: &str) -> Option<(u64, u64)> {
    let line = said.lines().rev().find(|line| line.contains("tot_send_msgs="))?;
    let number = |name: &str| {
        let rest = line.split_once(name)?.1;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number("tot_send_msgs=")?, number("tot_recv_msgs=")?))
}

/// How often a client may give up: it does where answers are slow to come, as from under a sanitizer on a busy machine.
const TRIES: usize = 3;

/// Coturn's own client: four sessions or more of ten messages each.
fn client(port: u16, peer: u16, how: &str) {
    let mut client = Command::new("turnutils_uclient");
    client.args(["-u", "duolu", "-w", "secret", "-p", &port.to_string(), "-r", &peer.to_string()]);
    client.args(["-m", "4", "-n", "10", "-l", "700", "-e", "127.0.0.1"]);
    if !how.is_empty() {
        client.arg(how);
    }
    client.arg("127.0.0.1");
    let mut output = client.output().expect("it comes with coturn");
    for _ in 1..TRIES {
        if !output.status.success() {
            output = client.output().expect("it comes with coturn");
        }
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{how}: {said}{}", String::from_utf8_lossy(&output.stderr));
    let (sent, received) = messages(&said).unwrap_or_else(|| panic!("{how}: {said}"));
    assert_eq!(sent, received, "{how}: {said}");
    assert!(sent >= 40, "{how}: {said}");
}

fn relay(method: &str) {
    let (mut server, port) = start(method);
    let peer_port = free_port();
    let mut peer = Command::new("turnutils_peer");
    peer.args(["-L", "127.0.0.1", "-p", &peer_port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let peer = Peer(peer.spawn().expect("it comes with coturn"));
    until("the peer is there", || UdpSocket::bind(("127.0.0.1", peer_port)).is_err().then_some(()));
    // By UDP; by TCP; from client to client; allocations of TCP, whose relayed connections are bufferevents.
    std::thread::scope(|scope| {
        for how in ["", "-t", "-y", "-T"] {
            scope.spawn(move || client(port, peer_port, how));
        }
    });
    drop(peer);
    server.end("TERM");
    assert_eq!(server.folder.reports(), "", "{method}");
}

/// All at once, as the client takes its time.
#[test]
fn coturn_relays_every_message_on_every_method() {
    std::thread::scope(|scope| {
        for method in methods() {
            scope.spawn(move || relay(method));
        }
    });
}
