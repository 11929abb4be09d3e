//! Service managers and supervisors: the admin endpoint, sockets handed over, the notify socket.

use crate::server::{Server, can_run, connect, duolu, eventually};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

/// Status and body of a GET.
pub fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

fn request(address: SocketAddr, text: &str) -> (u16, String) {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let length = format!("Content-Length: {}", body.len());
    assert!(head.lines().any(|line| line == length) || text.starts_with("HEAD"), "{head}");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_admin_endpoint_counts_and_knows_the_end() {
    for model in
        ["fork", "prefork", "thread", "poll", "epoll-et", "io_uring"].into_iter().filter(|it| can_run(it))
    {
        let server = Server::start("echo", model, &["--admin", "127.0.0.1:0", "--drain", "19s"]);
        let admin = server.admin();
        assert_eq!(fetch(admin, "/healthz"), (200, "ok\n".to_owned()));
        assert_eq!(fetch(admin, "/readyz?verbose"), (200, "ready\n".to_owned()));
        assert_eq!(fetch(admin, "/").0, 404);
        assert_eq!(request(admin, "HEAD /metrics HTTP/1.1\r\n\r\n"), (200, String::new()));
        assert_eq!(request(admin, "POST /metrics HTTP/1.1\r\n\r\n").0, 405);
        let mut streams = [server.connect(), server.connect(), server.connect()];
        for stream in &mut streams {
            stream.write_all(&[7; 1000]).unwrap();
            stream.read_exact(&mut [0; 1000]).unwrap();
        }
        let [first, ..] = streams;
        drop(first);
        // A server counts what it sent after it sent it.
        let metrics = eventually("two are open, and all is counted", || {
            let (status, text) = fetch(admin, "/metrics");
            assert_eq!(status, 200);
            let counted =
                value(&text, "duolu_connections_open") == 2.0 && value(&text, "duolu_messages_total") >= 3.0;
            counted.then_some(text)
        });
        assert_eq!(value(&metrics, "duolu_connections_accepted_total"), 3.0, "{metrics}");
        assert_eq!(value(&metrics, "duolu_received_bytes_total"), 3000.0, "{metrics}");
        assert_eq!(value(&metrics, "duolu_sent_bytes_total"), 3000.0, "{metrics}");
        assert!(
            metrics.contains(&format!("duolu_server_info{{service=\"echo\",model=\"{model}\"")),
            "{metrics}"
        );
        let turns = value(&metrics, "duolu_loop_turns_total");
        assert_eq!(turns > 0.0, matches!(model, "poll" | "epoll-et" | "io_uring"), "{metrics}");
        server.signal(Signal::TERM);
        eventually("it says that it drains", || (fetch(admin, "/readyz").0 == 503).then_some(()));
        assert_eq!(fetch(admin, "/healthz").0, 200, "alive while it drains");
    }
}

/// The value of a metric without labels. Every metric has a type and a help line.
fn value(metrics: &str, name: &str) -> f64 {
    assert!(
        metrics.contains(&format!("# TYPE {name} ")) && metrics.contains(&format!("# HELP {name} ")),
        "{name}"
    );
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

/// Models that can run here; those with a loop also with processes for workers.
fn ways(models: &[&'static str]) -> Vec<(&'static str, &'static [&'static str])> {
    const PROCESSES: &[&str] = &["--processes", "--workers", "2"];
    let with_loop = |model: &str| !["fork", "prefork", "thread"].contains(&model);
    let plain = models.iter().map(|model| (*model, [].as_slice()));
    let processes = models.iter().filter(|model| with_loop(model)).map(|model| (*model, PROCESSES));
    plain.chain(processes).filter(|(model, _)| can_run(model)).collect()
}

/// A shell that passes its stdin on as descriptor 3, as systemd would, and becomes the server.
fn with_socket(socket: OwnedFd, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 0</dev/null"]);
    command.arg(duolu().get_program()).args(arguments).stdin(Stdio::from(socket));
    command
}

#[test]
fn sockets_of_a_service_manager_are_used_and_left_to_it() {
    for (model, more) in ways(&["fork", "prefork", "thread", "epoll-et", "io_uring"]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The address on the command line gives way.
        let arguments = [&["serve", "echo", "--model", model, "--port", "1"], more].concat();
        let mut server = Server::spawn(&mut with_socket(listener.try_clone().unwrap().into(), &arguments));
        assert_eq!(server.address, address, "{model}");
        assert_eq!(server.ready["inherited"], true, "{model}");
        server.has_said("(the service manager's socket)");
        let mut stream = connect(address);
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        drop(stream);
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code(), Some(0), "{model}: {}", server.stderr());
        // The service manager's socket still listens: a new server takes over without a refused connection.
        let mut waiting = connect(address);
        let _next = Server::spawn(&mut with_socket(listener.into(), &arguments));
        waiting.write_all(b"x").unwrap();
        waiting.read_exact(&mut [0]).expect("served by the next server");
    }
}

/// It would be ready with an error for ever: a server that only skips that keeps a core busy, and serves nobody.
#[test]
fn a_handed_over_socket_that_is_shut_ends_the_server() {
    for (model, more) in
        ways(&["fork", "prefork", "thread", "select", "epoll-et", "io_uring-poll", "io_uring"])
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let arguments = [&["serve", "echo", "--model", model], more].concat();
        let mut server = Server::spawn(&mut with_socket(listener.try_clone().unwrap().into(), &arguments));
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
        assert_eq!(server.exit_code(), Some(3), "{model}: {}", server.stderr());
        assert!(server.stderr().contains("shut it down"), "{model}: {}", server.stderr());
    }
}

#[test]
fn a_handed_over_descriptor_that_is_no_listener_is_named() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let output = with_socket(file.into(), &["serve", "echo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("descriptor 3") && text.contains("ListenStream="), "{text}");
}

#[test]
fn the_service_manager_hears_of_readiness_and_of_the_end() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("duolu-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(crate::server::PATIENCE)).unwrap();
    let mut hear = {
        let mut bytes = [0; 256];
        move || {
            let count = socket.recv(&mut bytes).expect("a word from the server");
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        }
    };
    let mut command = duolu();
    command.args(["serve", "http", "--port", "0"]).env("NOTIFY_SOCKET", format!("@{name}"));
    let mut server = Server::spawn(&mut command);
    assert_eq!(hear(), "READY=1\n");
    server.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1\n");
    assert_eq!(server.exit_code(), Some(0));
}
