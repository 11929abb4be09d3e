//! What stops a load: each wall is met, and has to be named with its evidence.

mod load_support;

use load_support::*;
use serde_json::Value;
use std::net::TcpListener;
use std::process::Command;

#[test]
#[ignore = "not a test: the server process of others"]
fn child_echo_server() {
    load_support::child_echo_server();
}

#[test]
fn a_server_that_does_not_accept_is_told_by_its_listen_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    for speak in ["echo", "connect"] {
        let run = load(&format!("{address} -c 5 -d 1s --timeout 300ms --json --speak {speak}"));
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        let json = run.json();
        assert_eq!(json["errors"], serde_json::json!({"not_accepted": 5}), "{json}");
        assert_eq!(json["wall"]["name"], "accept queue", "{json}");
        assert_eq!(json["established"], 0);
    }
}

#[test]
fn nobody_listening_is_said_in_a_sentence() {
    let address = free_address();
    for extra in ["", "--churn", "--json", "--speak connect", "-R 100"] {
        let run = load(&format!("{address} -c 10 -d 5s {extra}"));
        assert_eq!(run.code, Some(3), "{extra}");
        let sentence = format!("duolu: connection refused: nobody listens on {address}\n");
        assert_eq!(run.stderr, sentence, "{extra}");
    }
    assert_eq!(errors(&load_json(&format!("{address} -c 10")), "connect_refused"), 10);
}

#[test]
fn the_loaders_own_descriptor_limit_is_named() {
    let (address, _) = echo();
    // An echo would go on in the file tables of rings.
    let run = load_limited(64, &format!("{address} -c 200 -d 300ms --speak connect"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let json = run.json();
    let held = json["established"].as_u64().unwrap();
    assert!((30..64).contains(&held), "{json}");
    assert_eq!(errors(&json, "no_descriptors"), 200 - held, "{json}");
    assert_eq!(json["wall"]["name"], "loader descriptor limit", "{json}");
    let evidence = json["wall"]["evidence"].as_str().unwrap();
    assert!(
        evidence.contains("RLIMIT_NOFILE is 64") && evidence.contains(&format!("at {held} connections")),
        "{json}"
    );
    assert!(json["wall"]["fix"].as_str().unwrap().contains("ulimit -n"), "{json}");
}

#[test]
fn a_server_out_of_descriptors_is_named_and_not_called_a_timeout() {
    for speak in ["echo", "connect"] {
        let (_server, address) = limited_server(64);
        let json = load_json(&format!("{address} -c 120 -d 300ms --speak {speak}"));
        let held = json["established"].as_u64().unwrap();
        assert!((40..64).contains(&held), "{json}");
        assert_eq!(json["errors"], serde_json::json!({"not_accepted": 120 - held}), "{json}");
        assert_eq!(json["wall"]["name"], "server descriptor limit", "{json}");
        let evidence = json["wall"]["evidence"].as_str().unwrap();
        assert!(
            evidence.contains(&format!("process {}", _server.0.id())) && evidence.contains("64"),
            "{json}"
        );
    }
}

#[test]
fn ten_thousand_connections_are_held_by_one_process() {
    use duolu::{EventLoop, Interest, Next};
    use std::io::{Read, Write};
    use std::net::TcpStream;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a loop");
        let listener = duolu::net::ListenOptions::default();
        let listener = duolu::net::listen(([127, 0, 0, 1], 0).into(), &listener).expect("listen");
        sender.send(listener.local_addr().expect("address")).expect("the test waits");
        let accepted = event_loop.accept(listener, |ctx, stream, _| {
            let served = ctx.register(stream, Interest::READ, |_, mut stream: &TcpStream, _| {
                let mut buffer = [0; 4096];
                match stream.read(&mut buffer) {
                    Ok(got) if got > 0 && stream.write_all(&buffer[..got]).is_ok() => Next::Keep,
                    _ => Next::Remove,
                }
            });
            served.expect("registered");
        });
        accepted.expect("accepting");
        event_loop.run().expect("runs");
    });
    let address = receiver.recv().expect("the server's address");
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = 10_000.min(limit - 500);
    let json = load_json(&format!("{address} -c {connections} -d 1s --timeout 20s"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert_eq!(json["established"], connections, "{json}");
    assert!(json["messages"].as_u64() >= Some(connections), "{json}");
}

/// A network of its own with a hundred local ports: where the machine lets us make one, the wall of the ports is met
/// with a hundred connections instead of 28,000.
#[test]
fn ephemeral_ports_are_a_wall_and_more_source_addresses_pass_it() {
    const SCRIPT: &str =
        "ip link set lo up && echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range || exit 77
        \"$1\" --exact child_echo_server --ignored --nocapture > \"$2\" & server=$!
        trap 'kill $server' EXIT
        while ! grep -q 'listening on' \"$2\"; do sleep 0.05; done
        target=$(sed -n 's/.*listening on //p' \"$2\")
        \"$0\" load $target -c 150 -d 200ms --json --source-addresses 127.0.0.1
        \"$0\" load $target -c 350 -d 200ms --json";
    let told = std::env::temp_dir().join(format!("duolu-load-ports-{}", std::process::id()));
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", SCRIPT, duolu()])
        .arg(std::env::current_exe().expect("the path of this test"))
        .arg(&told)
        .env("DUOLU_TEST_CHILD", "1")
        .output();
    let _ = std::fs::remove_file(&told);
    let output = match output {
        Ok(output) if !matches!(output.status.code(), Some(1 | 77)) => output,
        _ if std::env::var_os("DUOLU_TEST_NO_NETNS").is_some_and(|v| v == "1") => return,
        other => {
            panic!("this test needs a network namespace; DUOLU_TEST_NO_NETNS=1 does without it: {other:?}")
        }
    };
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let results: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(results.len(), 2, "{stdout} {}", String::from_utf8_lossy(&output.stderr));
    let one = &results[0];
    // The server listens on one of the hundred.
    let held = one["established"].as_u64().expect("a count");
    assert!((95..100).contains(&held), "{one}");
    assert_eq!(one["errors"], serde_json::json!({"no_ports": 150 - held}), "{one}");
    assert_eq!(one["wall"]["name"], "ephemeral ports", "{one}");
    let evidence = one["wall"]["evidence"].as_str().expect("evidence");
    assert!(
        evidence.contains(&format!("at {held} connections")) && evidence.contains("40000-40099"),
        "{one}"
    );
    let spread = &results[1];
    assert_eq!(
        (&spread["established"], &spread["errors"]),
        (&Value::from(350), &serde_json::json!({})),
        "{spread}"
    );
}
