//! Runs every example in examples/rust as its reader would, and looks at what it says and does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Far more than any example needs on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A running example. However the test ends, it is ended, by its own process id.
struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(path_of(name))
            .args(arguments)
            .env_remove("DUOLU_BACKEND")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Example { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("the example says something in time")
    }

    /// Everything it says until it closes its output.
    fn rest(&self) -> Vec<String> {
        let end = Instant::now() + LIMIT;
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            said.push(line);
        }
        said
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill(1)").success());
    }

    fn exit(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the example does not end");
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo puts examples beside the directory of the tests.
fn path_of(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this test");
    let profile = this.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps");
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build -p duolu --examples", path.display());
    path
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT).expect("the server listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream.set_write_timeout(Some(LIMIT)).expect("a timeout");
    stream
}

#[test]
fn the_echo_server_gives_everything_back() {
    gives_everything_back("echo_server");
}

#[test]
fn the_stream_echo_gives_everything_back() {
    gives_everything_back("stream_echo");
}

fn gives_everything_back(name: &str) {
    let server = Example::start(name, &["127.0.0.1:0"]);
    let line = server.line();
    let address = line.strip_prefix("listening on ").and_then(|text| text.parse().ok()).expect(&line);
    let mut idle = connect(address);
    // More than the buffers of two sockets hold, and nothing is read meanwhile: the server has to wait for room.
    let sent: Vec<u8> = (0..20_000_000u32).map(|at| (at % 251) as u8).collect();
    let stream = connect(address);
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).expect("the server goes on reading");
            stream.shutdown(Shutdown::Write).expect("an open socket");
        });
        std::thread::sleep(Duration::from_millis(100));
        (&stream).read_to_end(&mut received).expect("all of it, and the end");
    });
    assert!(received == sent, "{} of {} bytes came back, or others", received.len(), sent.len());
    idle.write_all(b"still served").expect("the other connection");
    let mut reply = [0; 12];
    idle.read_exact(&mut reply).expect("an echo");
    assert_eq!(&reply, b"still served");
}

#[cfg(feature = "tls")]
#[test]
fn the_tls_echo_gives_everything_back_and_says_what_it_sees() {
    use rustls::pki_types::pem::PemObject;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let dir = std::env::temp_dir().join(format!("duolu-tls-echo-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name).display().to_string());
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let server = Example::start("tls_echo", &[&certificate, &key, "127.0.0.1:0"]);
    let line = server.line();
    let address = line.strip_prefix("listening on ").and_then(|text| text.parse().ok()).expect(&line);

    let mut roots = rustls::RootCertStore::empty();
    let root = rustls::pki_types::CertificateDer::from_pem_slice(made.cert.pem().as_bytes());
    roots.add(root.expect("a root")).expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let session = rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("a session");
    let mut stream = rustls::StreamOwned::new(session, connect(address));
    for round in 0..20 {
        let sent: Vec<u8> = (0..100_000u32).map(|at| ((at + round) % 251) as u8).collect();
        stream.write_all(&sent).expect("it reads");
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).expect("an echo");
        assert!(received == sent);
    }
    let line = server.line();
    assert!(line.starts_with("127.0.0.1:") && line.contains(": TLS 1.3 with TLS13_"), "{line}");

    connect(address).write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it reads");
    let line = server.line();
    assert!(
        line.ends_with(": the client speaks plain HTTP to a TLS port: it should ask for https://"),
        "{line}"
    );

    let mut swapped = Example::start("tls_echo", &[&key, &certificate, "127.0.0.1:0"]);
    assert!(!swapped.exit().success());
    let mut said = String::new();
    swapped.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(said.contains("key.pem holds a key, but no certificate"), "{said}");
    std::fs::remove_dir_all(&dir).expect("ours");
}

#[test]
fn the_udp_echo_sends_every_message_back() {
    for at in ["0.0.0.0:0", "[::]:0"] {
        let server = Example::start("udp_echo", &[at]);
        let line = server.line();
        let port = line
            .strip_prefix("listening on ")
            .and_then(|text| text.parse::<SocketAddr>().ok())
            .expect(&line)
            .port();
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        client.set_read_timeout(Some(LIMIT)).expect("a timeout");
        // Connected, so that it hears the one it has asked only: the server answers from there.
        client.connect(("127.0.0.99", port)).expect("a socket");
        for size in [0, 1, 1000, 60_000] {
            let sent: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            client.send(&sent).expect("it is sent");
            let mut received = vec![0; 65_536];
            let bytes = client.recv(&mut received).expect("an echo");
            assert!(received[..bytes] == sent);
        }
    }
}

#[test]
fn the_echo_server_says_why_it_cannot_listen() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("a port").to_string();
    let mut server = Example::start("echo_server", &[&address]);
    assert!(!server.exit().success());
    let mut said = String::new();
    server.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(said.contains(&format!("cannot listen on {address}: Address already in use")), "{said}");
}

fn listening(server: &Example) -> SocketAddr {
    let line = server.line();
    line.strip_prefix("listening on ").and_then(|text| text.parse().ok()).expect(&line)
}

#[test]
fn who_chats_hears_the_others() {
    let server = Example::start("chat", &["127.0.0.1:0"]);
    let address = listening(&server);
    // What Carl causes, who comes again and again, is not heard.
    let line = |from: &mut BufReader<TcpStream>| loop {
        let mut line = String::new();
        from.read_line(&mut line).expect("a line in time");
        if !line.contains("Carl") {
            return line;
        }
    };
    let mut ann = BufReader::new(connect(address));
    ann.get_mut().write_all(b"Ann\n").expect("it reads");
    // She is there as soon as she hears of somebody.
    ann.get_ref().set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let end = Instant::now() + LIMIT;
    let mut heard = String::new();
    while !heard.ends_with('\n') {
        assert!(Instant::now() < end, "nothing is heard");
        connect(address).write_all(b"Carl\n").expect("it reads");
        let _ = ann.read_line(&mut heard); // or later
    }
    assert!(heard.contains("Carl"), "{heard}");
    ann.get_ref().set_read_timeout(Some(LIMIT)).expect("a timeout");
    let mut bob = BufReader::new(connect(address));
    bob.get_mut().write_all(b"Bob\r\nhello, ").expect("it reads");
    bob.get_mut().write_all(b"Ann\nand how are you?\n").expect("it reads");
    let heard: Vec<String> = (0..3).map(|_| line(&mut ann)).collect();
    assert_eq!(heard, ["* Bob is here\n", "Bob: hello, Ann\n", "Bob: and how are you?\n"]);
    ann.get_mut().write_all(b"fine\n").expect("it reads");
    assert_eq!(line(&mut bob), "Ann: fine\n");
    drop(bob);
    assert_eq!(line(&mut ann), "* Bob has left\n");
    // A line without end is not kept for ever.
    let mut endless = connect(address);
    let _ = endless.write_all(&[b'x'; 100_000]);
    let mut rest = Vec::new();
    assert!(endless.read_to_end(&mut rest).is_err() || rest.is_empty());
}

#[test]
fn the_proxy_keeps_both_ways_and_ends_them_apart() {
    // The server reads to the end before it answers: half-close, or it would never.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = listener.local_addr().expect("a port");
    let proxy = Example::start("proxy", &["127.0.0.1:0", &target.to_string()]);
    let address = listening(&proxy);
    let sent: Vec<u8> = (0..20_000_000u32).map(|at| (at % 251) as u8).collect();
    let (mut client, mut server) = (connect(address), None);
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        let answered = scope.spawn(|| {
            let (mut socket, _) = listener.accept().expect("the proxy connects");
            socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
            let mut all = Vec::new();
            socket.read_to_end(&mut all).expect("all, and the end");
            all.reverse();
            socket.write_all(&all).expect("the client reads");
            socket
        });
        client.write_all(&sent).expect("it is taken");
        client.shutdown(Shutdown::Write).expect("an open socket");
        // The server's end is open until all of its answer has come.
        while received.len() < sent.len() {
            let mut bytes = [0; 65536];
            let got = client.read(&mut bytes).expect("the answer");
            assert!(got > 0, "{} bytes came", received.len());
            received.extend_from_slice(&bytes[..got]);
        }
        server = Some(answered.join().expect("no panic"));
    });
    assert!(received.iter().rev().eq(&sent), "other bytes came back");
    drop(server);
    assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
    drop(listener);
    // It may be reset before connect(2) has returned.
    if let Ok(mut unlucky) = TcpStream::connect_timeout(&address, LIMIT) {
        unlucky.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let _ = unlucky.write_all(b"x");
        match unlucky.read(&mut [0; 1]) {
            Ok(got) => assert_eq!(got, 0, "nobody serves it"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it is ended in time"),
        }
    }
}

#[test]
fn a_download_is_whole_and_not_faster_than_it_may_be() {
    let file = std::env::temp_dir().join(format!("duolu-download-{}", std::process::id()));
    let content: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&file, &content).expect("a file");
    let server = Example::start("download", &[file.to_str().expect("UTF-8"), "200", "127.0.0.1:0"]);
    let address = listening(&server);
    let began = Instant::now();
    let downloads: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                let mut socket = connect(address);
                socket.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
                let mut reply = Vec::new();
                socket.read_to_end(&mut reply).expect("all of it");
                reply
            })
        })
        .collect();
    for download in downloads {
        let reply = download.join().expect("no panic");
        let body = reply.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        assert!(reply.starts_with(b"HTTP/1.0 200 OK\r\n") && reply[body..] == content);
    }
    std::fs::remove_file(&file).expect("it is there");
    // 300,000 bytes at 200 KiB a second, less a tenth of a second's: 1.36 s at least, whatever else the machine does.
    assert!(began.elapsed() >= Duration::from_millis(1300), "{:?}", began.elapsed());
}

/// What a reader can take in at once.
#[test]
fn examples_are_short() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rust");
    for entry in std::fs::read_dir(directory).expect("the examples") {
        let path = entry.expect("an example").path();
        let lines = std::fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines < 80, "{} has {lines} lines", path.display());
    }
}

#[test]
fn timers_fire_and_the_loop_ends() {
    let mut example = Example::start("timer", &[]);
    let said = example.rest();
    assert!(example.exit().success());
    let ticks: Vec<&String> = said.iter().filter(|line| line.starts_with("tick ")).collect();
    assert_eq!(ticks, ["tick 1", "tick 2", "tick 3", "tick 4", "tick 5"]);
    let tries = said.iter().filter(|line| line.starts_with("tried")).count();
    assert_eq!((tries, said.iter().filter(|line| line.starts_with("once")).count()), (5, 1), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("nothing is pending any more"));
    assert!(!said.iter().any(|line| line.contains("nobody")));
}

#[test]
fn signals_are_told_and_end_it_in_good_order() {
    for end in ["-TERM", "-INT"] {
        let mut example = Example::start("signal", &[]);
        assert_eq!(example.line(), format!("waiting for signals as process {}", example.child.id()));
        for _ in 0..2 {
            example.signal("-HUP");
            assert_eq!(example.line(), "read the configuration again (1 signals)");
        }
        example.signal(end);
        assert_eq!(example.line(), format!("SIG{}: ending", &end[1..]));
        assert_eq!(example.rest(), ["read 2 times; good bye"]);
        assert!(example.exit().success());
    }
}

#[test]
fn results_from_other_threads_arrive() {
    let mut example = Example::start("cross_thread_post", &[]);
    let said = example.rest();
    assert!(example.exit().success());
    assert_eq!(said.iter().filter(|line| *line == "a worker is done").count(), 4);
    assert_eq!(said.last().map(String::as_str), Some("the sum is 500000500000"));
}
