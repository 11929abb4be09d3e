//! unbound: two threads, each with a base of its own, resolve by UDP and TCP. What they ask is an authority of the test's
//! own, which truncates and loses.

use crate::kit::{Folder, PATIENCE, Server, free_port, has_ours, methods, on_ours, until, used};
use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A question is asked again after so long, where it may be lost.
const SHORT: Duration = Duration::from_millis(500);
const LOCAL: [u8; 4] = [192, 0, 2, 7];
const FAR: [u8; 4] = [192, 0, 2, 99];

/// A question for the address of a name (RFC 1035, 4.1).
fn question(name: &str, id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The authority's answer: names with "cut" want TCP.
fn answer(question: &[u8], by_tcp: bool) -> Vec<u8> {
    let end = question[12..].iter().position(|byte| *byte == 0).expect("a name") + 12 + 5;
    let cut = !by_tcp && question[12..end].windows(3).any(|part| part == b"cut");
    let mut message = question[..2].to_vec();
    message.extend([if cut { 0x86 } else { 0x84 }, 0, 0, 1, 0, u8::from(!cut), 0, 0, 0, 0]);
    message.extend(&question[12..end]);
    if !cut {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(FAR);
    }
    message
}

fn read_one(socket: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut size = [0; 2];
    socket.read_exact(&mut size)?;
    let mut message = vec![0; u16::from_be_bytes(size).into()];
    socket.read_exact(&mut message)?;
    Ok(message)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// Who knows what is below far.duolu; ends with the test.
struct Authority {
    port: u16,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Authority {
    fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        let socket = UdpSocket::bind(("127.0.0.1", port)).expect("the same port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
        listener.set_nonblocking(true).expect("a socket");
        let over = Arc::new(AtomicBool::new(false));
        let (udp_over, tcp_over) = (over.clone(), over.clone());
        let udp = std::thread::spawn(move || {
            let (mut message, mut lost) = ([0; 1_500], HashSet::new());
            while !udp_over.load(Ordering::Relaxed) {
                let Ok((size, from)) = socket.recv_from(&mut message) else { continue };
                let question = &message[..size];
                // Each of these once.
                let lose =
                    question.windows(4).any(|part| part == b"lost") && lost.insert(question[12..].to_vec());
                if !lose {
                    socket.send_to(&answer(question, false), from).expect("sent");
                }
            }
        });
        let tcp = std::thread::spawn(move || {
            while !tcp_over.load(Ordering::Relaxed) {
                let Ok((mut socket, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                socket.set_nonblocking(false).expect("a socket");
                socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a limit");
                while let Ok(question) = read_one(&mut socket) {
                    if socket.write_all(&framed(&answer(&question, true))).is_err() {
                        break;
                    }
                }
            }
        });
        Authority { port, over, threads: vec![udp, tcp] }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the authority has failed");
        }
    }
}

fn start(method: &str, authority: u16) -> (Server, u16) {
    let (folder, port) = (Folder::new("unbound"), free_port());
    let place = folder.file("");
    let settings = format!(
        "server:\n num-threads: 2\n interface: 127.0.0.1\n port: {port}\n chroot: \"\"\n directory: \"{place}\"\n \
         username: \"\"\n pidfile: \"\"\n use-syslog: no\n do-ip6: no\n do-not-query-localhost: no\n \
         module-config: \"iterator\"\n local-zone: \"here.duolu.\" static\n local-data: \"a.here.duolu. A 192.0.2.7\"\n\
         stub-zone:\n name: \"far.duolu.\"\n stub-addr: 127.0.0.1@{authority}\n\
         remote-control:\n control-enable: yes\n control-use-cert: no\n control-interface: {place}control\n"
    );
    fs::write(folder.file("settings"), settings).expect("our own folder");
    let mut command = on_ours("/usr/sbin/unbound", method, &folder);
    command.args(["-d", "-p", "-c", &folder.file("settings")]);
    let mut server = Server { child: command.spawn().expect("unbound is installed (make tools)"), folder };
    until("unbound listens", || {
        assert_eq!(server.child.try_wait().expect("our child"), None, "{}", server.folder.complaints());
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    assert!(has_ours(server.child.id()));
    // It listens before its threads have their bases.
    until("its bases are made", || used(&server.folder, method).then_some(()));
    (server, port)
}

/// Asks by UDP and gives the last four bytes of what comes, the address.
fn address(port: u16, name: &str) -> [u8; 4] {
    address_within(PATIENCE, port, name).unwrap_or_else(|error| panic!("{name}: no answer: {error}"))
}

fn address_within(limit: Duration, port: u16, name: &str) -> io::Result<[u8; 4]> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("loopback");
    socket.connect(("127.0.0.1", port)).expect("loopback");
    socket.set_read_timeout(Some(limit)).expect("a limit");
    socket.send(&question(name, 77)).expect("sent");
    let mut message = [0; 1_500];
    let size = socket.recv(&mut message)?;
    assert_eq!(message[..2], [0, 77]);
    Ok(message[size - 4..size].try_into().expect("four"))
}

/// What unbound-control says.
fn control(server: &Server, ask: &[&str]) -> String {
    let mut command = Command::new("/usr/sbin/unbound-control");
    let output = command.args(["-c", &server.folder.file("settings")]).args(ask).output();
    let output = output.expect("unbound-control comes with unbound");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{ask:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn unbound_resolves_on_every_method() {
    for method in methods() {
        let authority = Authority::new();
        let (mut server, port) = start(method, authority.port);
        assert_eq!(address(port, "a.here.duolu"), LOCAL);
        assert_eq!(address(port, "plain.far.duolu"), FAR);
        assert_eq!(address(port, "cut.far.duolu"), FAR, "{method}: by TCP, as the answer was cut off");
        assert_eq!(address(port, "lost.far.duolu"), FAR, "{method}: asked again, as no answer came");

        // Many at once over one connection, answered in whatever order.
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let name = |id: u16| {
            if id.is_multiple_of(2) { "a.here.duolu".to_owned() } else { format!("t{id}.far.duolu") }
        };
        let questions: Vec<u8> = (0..200).flat_map(|id| framed(&question(&name(id), id))).collect();
        socket.write_all(&questions).expect("taken");
        let mut open: HashSet<u16> = (0..200).collect();
        while !open.is_empty() {
            let message = read_one(&mut socket).expect("an answer");
            let id = u16::from_be_bytes([message[0], message[1]]);
            assert!(open.remove(&id), "{method}: {id} is answered twice");
            assert!(
                message.ends_with(if id.is_multiple_of(2) { &LOCAL } else { &FAR }),
                "{method}: {message:?}"
            );
        }
        // And over UDP, from several at once.
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    (0..50)
                        .for_each(|at| assert_eq!(address(port, &format!("u{thread}-{at}.far.duolu")), FAR));
                });
            }
        });

        // Its control: a pipe between the threads, and a reload, which makes the bases anew.
        assert!(control(&server, &["stats_noreset"]).contains("\ntotal.num.queries=404\n"), "{method}");
        control(&server, &["local_data", "b.here.duolu", "A", "192.0.2.7"]);
        assert_eq!(address(port, "b.here.duolu"), LOCAL);
        control(&server, &["reload"]);
        // What a thread was asking when it ended is answered by nobody (with C libevent as well: one in 30).
        until("the new bases resolve", || {
            address_within(SHORT, port, "after.far.duolu").ok().filter(|it| *it == FAR)
        });
        let status = server.end("TERM");
        assert!(status.success(), "{method}: {status}: {}", server.folder.complaints());
        assert_eq!(server.folder.reports(), "");
    }
}
