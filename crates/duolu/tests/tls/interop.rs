//! openssl and curl at the other end.

use crate::ca::{Authority, authority, issued};
use crate::wire::pattern;
use duolu::stream::Layered;
use duolu::tls::{Client, Server, ServerBuilder};
use duolu::{Context, EventLoop, Stream, StreamEvent, StreamOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Far more than anything here needs on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Files that go away with it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("duolu-interop-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Dir(path)
    }
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A child that ends with it, by its own id.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of these tests on a thread of its own, ended when this goes away. What its streams report comes by `told`.
struct Served {
    address: SocketAddr,
    handle: duolu::Handle<()>,
    thread: Option<std::thread::JoinHandle<()>>,
    told: std::sync::mpsc::Receiver<String>,
}

fn serve(
    tls: ServerBuilder,
    handler: impl Fn(&Sender<String>, &mut Stream<'_>, StreamEvent) + Clone + Send + 'static,
) -> Served {
    let tls = tls.build().expect("a server");
    let (ready, started) = channel();
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a loop");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a port");
        event_loop
            .accept(listener, move |ctx: &mut Context<()>, socket, _| {
                let (handler, tell) = (handler.clone(), tell.clone());
                let handle =
                    move |_: &mut Context<()>, stream: &mut Stream<'_>, event| handler(&tell, stream, event);
                ctx.stream(tls.accept(socket).expect("a session"), StreamOptions::new(), handle)
                    .expect("a stream");
            })
            .expect("a listener");
        ready.send((address, event_loop.handle())).expect("somebody waits");
        event_loop.run().expect("a run");
    });
    let (address, handle) = started.recv_timeout(LIMIT).expect("it starts");
    Served { address, handle, thread: Some(thread), told }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.handle.post(|ctx| ctx.stop());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}

/// Runs it with that on its standard input, which then ends.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start ({error}): make tools"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input)); // dropped then: an end
    let output = child.wait_with_output().expect("it ends");
    let _ = feeder.join();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Says hello with what was agreed upon, gives back everything, and ends when the client has said good bye.
fn echo_until_bye(tell: &Sender<String>, stream: &mut Stream<'_>, event: StreamEvent) {
    match event {
        StreamEvent::Connected => {
            let info = stream.tls().expect("it stands");
            let alpn = info.alpn.map(|name| text(&name)).unwrap_or_default();
            let certificates = info.peer_certificates.len();
            let name = info.server_name.unwrap_or_default();
            let resumed = info.resumed;
            tell.send(format!("{} {name} {alpn} {certificates} {resumed}", info.version)).expect("a test");
        }
        StreamEvent::Read => {
            let bye = stream.input().find(b"bye\n", 0, usize::MAX) != Ok(None);
            stream.echo();
            if bye {
                stream.close();
            }
        }
        StreamEvent::Error(..) => {
            let _ = tell.send(stream.layer_error().map(ToString::to_string).unwrap_or_default());
        }
        _ => {}
    }
}

#[test]
fn openssl_s_client_talks_to_our_server() {
    let clients = Authority::new("the clients'");
    let known = clients.for_clients();
    let dir = Dir::new("s_client");
    let roots = dir.file("roots.pem", &authority().pem);
    let [certificate, key] = [dir.file("cert.pem", &known.certificate), dir.file("key.pem", &known.key)];
    let builder =
        Server::builder(issued().identity()).alpn(["duolu/1"]).ask_for_client_certificate(clients.roots());
    let served = serve(builder, echo_until_bye);
    let address = served.address.to_string();
    let mut sent = pattern(300_000);
    sent.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    sent.extend_from_slice(b"\nbye\n");
    for (version, with_certificate) in
        [("-tls1_3", false), ("-tls1_2", false), ("-tls1_3", true), ("-tls1_2", true)]
    {
        let mut arguments = vec![
            "s_client",
            "-connect",
            &address,
            "-servername",
            "server.test",
            "-CAfile",
            &roots,
            "-verify_return_error",
            "-verify_hostname",
            "server.test",
            "-alpn",
            "other,duolu/1",
            "-quiet",
            version,
        ];
        if with_certificate {
            arguments.extend(["-cert", &certificate, "-key", &key]);
        }
        let output = run("openssl", &arguments, &sent);
        assert!(output.stdout == sent, "{} bytes came back; {}", output.stdout.len(), text(&output.stderr));
        assert!(output.status.success(), "{}", text(&output.stderr));
        let version = if version == "-tls1_3" { "TLS 1.3" } else { "TLS 1.2" };
        let expected = format!("{version} server.test duolu/1 {} false", usize::from(with_certificate));
        assert_eq!(served.told.recv_timeout(LIMIT).as_deref(), Ok(&*expected));
    }
}

#[test]
fn openssl_s_client_comes_back_with_a_ticket() {
    let dir = Dir::new("resume");
    let roots = dir.file("roots.pem", &authority().pem);
    let session = dir.0.join("session").display().to_string();
    let served = serve(Server::builder(issued().identity()), echo_until_bye);
    let address = served.address.to_string();
    for version in ["-tls1_3", "-tls1_2"] {
        for resumed in [false, true] {
            let which = if resumed { "-sess_in" } else { "-sess_out" };
            let arguments = [
                "s_client",
                "-connect",
                &address,
                "-servername",
                "server.test",
                "-CAfile",
                &roots,
                "-quiet",
                version,
                which,
                &session,
            ];
            let output = run("openssl", &arguments, b"hello\nbye\n");
            assert_eq!(text(&output.stdout), "hello\nbye\n", "{}", text(&output.stderr));
            let told = served.told.recv_timeout(LIMIT).expect("it stands");
            assert!(told.ends_with(&resumed.to_string()), "{version} {told}");
        }
    }
}

#[test]
fn openssl_breaks_it_off_and_we_say_why() {
    let dir = Dir::new("alert");
    let other = dir.file("roots.pem", &Authority::new("somebody else").pem);
    let served = serve(Server::builder(issued().identity()), echo_until_bye);
    let address = served.address.to_string();
    let arguments = ["s_client", "-connect", &address, "-CAfile", &other, "-verify_return_error", "-quiet"];
    let output = run("openssl", &arguments, b"hello\n");
    assert!(!output.status.success());
    let told = served.told.recv_timeout(LIMIT).expect("an error");
    assert!(
        told.contains("the client does not believe the authority of this server's certificate"),
        "{told}"
    );
    // Nothing in common: TLS 1.1 is gone, where openssl itself would still try it.
    let arguments = ["s_client", "-connect", &address, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-quiet"];
    assert!(!run("openssl", &arguments, b"hello\n").status.success());
}

/// An openssl s_server that turns lines around, and its address.
fn s_server(dir: &Dir, more: &[&str]) -> (Running, SocketAddr) {
    let [certificate, key] =
        [dir.file("cert.pem", &issued().certificate), dir.file("key.pem", &issued().key)];
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", &certificate, "-key", &key, "-rev"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl: make tools");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let running = Running(child);
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ACCEPT ").and_then(|address| address.trim().parse().ok()));
    std::thread::spawn(move || lines.for_each(drop));
    (running, address.expect("it tells its address"))
}

#[test]
fn our_client_talks_to_openssl_s_server() {
    let dir = Dir::new("s_server");
    for version in ["-tls1_3", "-tls1_2"] {
        let (_server, address) = s_server(&dir, &[version, "-alpn", "duolu/1"]);
        let client = Client::builder(authority().roots()).alpn(["duolu/1"]).build().expect("a client");
        for round in 0..2 {
            let mut event_loop = EventLoop::with_data(Vec::<u8>::new()).expect("a loop");
            let session = client.session("server.test").expect("a session");
            let connected = event_loop.connect_through(
                address,
                |socket| Layered::new(socket, session),
                StreamOptions::new(),
                move |ctx: &mut Context<Vec<u8>>, stream: &mut Stream<'_>, event| match event {
                    StreamEvent::Connected => {
                        let info = stream.tls().expect("it stands");
                        assert_eq!(info.alpn.as_deref(), Some(&b"duolu/1"[..]));
                        assert_eq!(info.resumed, round > 0);
                        stream.write_all(b"many roads\n").expect("open");
                    }
                    StreamEvent::Read => {
                        let front = stream.front().to_vec();
                        stream.consume(front.len());
                        ctx.data().extend(front);
                        if ctx.data().ends_with(b"\n") {
                            stream.close();
                            ctx.stop();
                        }
                    }
                    StreamEvent::Written => {}
                    other => panic!("{other:?}: {:?}", stream.layer_error()),
                },
            );
            connected.expect("it begins");
            event_loop.exit_after(LIMIT);
            event_loop.run().expect("a run");
            assert_eq!(text(event_loop.data()), "sdaor ynam\n", "{version} {round}");
        }
    }
}

fn curl(roots: &str, name: &str, address: SocketAddr, more: &[&str]) -> Output {
    let resolve = format!("{name}:{}:127.0.0.1", address.port());
    let url = format!("https://{name}:{}/", address.port());
    let mut arguments =
        vec!["-sS", "--noproxy", "*", "--max-time", "30", "--cacert", roots, "--resolve", &resolve, &url];
    arguments.extend(more);
    run("curl", &arguments, b"")
}

#[test]
fn curl_gets_a_page_by_https() {
    let dir = Dir::new("curl");
    let roots = dir.file("roots.pem", &authority().pem);
    let served = serve(Server::builder(issued().identity()).alpn(["http/1.1"]), |_, stream, event| {
        if event == StreamEvent::Read && stream.input().find(b"\r\n\r\n", 0, usize::MAX) != Ok(None) {
            stream.consume(usize::MAX);
            let page = pattern(3_000_000);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len()).expect("open");
            stream.write_all(&page).expect("open");
        }
    });
    for version in ["--tlsv1.3", "--tlsv1.2"] {
        let most = if version == "--tlsv1.2" { "1.2" } else { "1.3" };
        let output = curl(&roots, "server.test", served.address, &[version, "--tls-max", most]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(output.stdout == pattern(3_000_000), "{} bytes", output.stdout.len());
    }
    let output = curl(&roots, "wrong.test", served.address, &[]);
    assert_eq!(
        output.status.code(),
        Some(60),
        "the peer's certificate cannot be verified: {}",
        text(&output.stderr)
    );
}

/// Somebody who has Debian's ca-certificates can verify the world.
#[test]
fn the_systems_roots_are_found() {
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    assert!(bundle.exists(), "ca-certificates: make tools");
    let client = Client::new().expect("roots");
    // And these do not know the tests' own authority.
    let mut line = crate::wire::Line::new(
        client.session("server.test").expect("a session"),
        crate::ca::server().session().expect("a session"),
    );
    let begun = Instant::now();
    line.run(usize::MAX, usize::MAX);
    assert!(
        line.client.alert_of().contains("not believed here"),
        "{} {:?}",
        line.client.alert_of(),
        begun.elapsed()
    );
}
