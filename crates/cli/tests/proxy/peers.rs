//! Real neighbours: HAProxy and nginx speak the PROXY protocol with us on either side, and memcached, nginx, our own
//! services, curl, wrk and `duolu load` go through us.

use crate::kit::{accept, proxy, upstream};
use crate::server::{Server, connect, eventually};
use crate::support::{finish, start};
use duolu::proxy_protocol::{Header, MAX_V2_BYTES, Parsed, Peer, parse};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

/// HAProxy with these lines for its proxies; `{port}` is where it listens.
fn haproxy(lines: &str) -> crate::support::Server {
    start(|port, folder| {
        let text = format!(
            "global\n  maxconn 400\ndefaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n{}\n",
            lines.replace("{port}", &port.to_string())
        );
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f", &folder.file("haproxy.cfg", &text)]);
        command
    })
}

/// nginx with one server.
fn nginx(server: &str) -> crate::support::Server {
    start(|port, folder| {
        let path = folder.path();
        let server = server.replace("{port}", &port.to_string());
        let text = format!(
            "daemon off;\nworker_processes 1;\npid {path}/pid;\nerror_log stderr;\nevents {{ worker_connections 400; }}\n\
             http {{\n  access_log off;\n  client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path \
             {path}/c;\n  uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;\n  server {{ {server} }}\n}}\n"
        );
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-e", "stderr", "-p", path, "-c", &folder.file("nginx.conf", &text)]);
        command
    })
}

fn told(mut stream: &TcpStream) -> Header {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes, MAX_V2_BYTES).expect("a header") {
            Parsed::Complete(header, _) => return header,
            Parsed::Partial { at_least } => {
                let have = bytes.len();
                bytes.resize(at_least, 0);
                stream.read_exact(&mut bytes[have..]).expect("the rest");
            }
        }
    }
}

/// The body of a GET.
fn get(address: SocketAddr) -> (SocketAddr, String) {
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim().to_owned();
    (stream.local_addr().unwrap(), body)
}

#[test]
fn haproxy_in_front_tells_us_who_has_come() {
    let (listener, to) = upstream();
    let ours = proxy("epoll-lt", &["--to", &to, "--proxy-in", "require", "--proxy-out", "v1"]);
    for how in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let front = haproxy(&format!(
            "listen l\n  mode tcp\n  unique-id-format %{{+X}}o%ci\n  bind 127.0.0.1:{{port}}\n  server s {} {how}",
            ours.address
        ));
        let mut client = connect(SocketAddr::from(([127, 0, 0, 1], front.port)));
        client.write_all(b"hello").unwrap();
        let upstream = accept(&listener);
        let Peer::Inet { source, destination, .. } = told(&upstream).peer else {
            panic!("{how}: no address")
        };
        assert_eq!(source, client.local_addr().unwrap(), "{how}");
        assert_eq!(destination.port(), front.port, "{how}");
        crate::kit::read_exactly(&upstream, b"hello");
        (&upstream).write_all(b"and back").unwrap();
        crate::kit::read_exactly(&client, b"and back");
    }
}

/// Its own connections it announces as LOCAL.
#[test]
fn haproxys_health_checks_pass() {
    let echo = Server::start("echo", "epoll-lt", &[]);
    let to = echo.address.to_string();
    let ours = proxy("epoll-lt", &["--to", &to, "--proxy-in", "require"]);
    let _front = haproxy(&format!(
        "listen l\n  mode tcp\n  bind 127.0.0.1:{{port}}\n  option tcp-check\n  tcp-check send PING\n  tcp-check expect \
         string PING\n  server s {} send-proxy-v2 check inter 100ms",
        ours.address
    ));
    eventually("three checks have been answered", || {
        ours.signal(rustix::process::Signal::USR1);
        let said = ours.stderr();
        let sent = said.lines().rev().find_map(|line| line.split_once(", sent bytes ")).map(|(_, rest)| rest);
        let count = sent.and_then(|rest| rest.split([',', ' ']).next()?.parse::<u64>().ok());
        std::thread::sleep(std::time::Duration::from_millis(50));
        (count >= Some(12)).then_some(())
    });
    assert!(!ours.stderr().contains("is refused"), "{}", ours.stderr());
}

#[test]
fn haproxy_behind_us_believes_us() {
    let back = haproxy(
        "frontend f\n  mode http\n  bind 127.0.0.1:{port} accept-proxy\n  http-request return status 200 content-type \
         text/plain lf-string \"%[src]:%[src_port]\"",
    );
    let to = format!("127.0.0.1:{}", back.port);
    for version in ["v1", "v2"] {
        let ours = proxy("epoll-lt", &["--to", &to, "--proxy-out", version]);
        let (who, said) = get(ours.address);
        assert_eq!(said, who.to_string(), "{version}");
    }
}

#[test]
fn nginx_behind_us_believes_us() {
    let back = nginx(
        "listen 127.0.0.1:{port} proxy_protocol; location / { return 200 \"$proxy_protocol_addr:$proxy_protocol_port\"; }",
    );
    let to = format!("127.0.0.1:{}", back.port);
    for version in ["v1", "v2"] {
        let ours = proxy("epoll-lt", &["--to", &to, "--proxy-out", version]);
        let (who, said) = get(ours.address);
        assert_eq!(said, who.to_string(), "{version}");
    }
}

#[test]
fn curl_and_wrk_see_no_difference_to_nginx_itself() {
    let back = start_page();
    let to = format!("127.0.0.1:{}", back.port);
    let ours = proxy("epoll-lt", &["--to", &to, "--workers", "2"]);
    let url = format!("http://{}/", ours.address);
    let output = finish(Command::new("curl").args(["-sS", "--max-time", "20", &url, &url]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a pagea page", "{output:?}");
    is_clean(&finish(Command::new("wrk").args(["-t1", "-c20", "-d1s", &url])));
}

fn start_page() -> crate::support::Server {
    nginx("listen 127.0.0.1:{port}; keepalive_requests 1000000; location / { return 200 'a page'; }")
}

#[test]
fn wrk_through_us_to_our_own_http() {
    let http = Server::start("http", "epoll-et", &[]);
    let to = http.address.to_string();
    for model in ["poll", "epoll-lt"] {
        let ours = proxy(model, &["--to", &to]);
        let url = format!("http://{}/", ours.address);
        is_clean(&finish(Command::new("wrk").args(["-t1", "-c20", "-d1s", &url])));
    }
}

fn is_clean(output: &std::process::Output) {
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for trouble in ["Socket errors", "Non-2xx"] {
        assert!(!report.contains(trouble), "{report}");
    }
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: u64 = requests.and_then(|(count, _)| count.parse().ok()).expect("a count of requests");
    assert!(requests >= 10, "{report}");
}

/// Every reply's bytes are checked by the loader.
#[test]
fn our_own_load_goes_through_to_echo_and_memcached() {
    let echo = Server::start("echo", "epoll-et", &[]);
    let memcached = start(|port, _| {
        let mut command = Command::new("memcached");
        command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-u", "root", "-t", "1", "-m", "64"]);
        command
    });
    let memcached_at = format!("127.0.0.1:{}", memcached.port);
    for (to, more) in
        [(echo.address.to_string(), &["--payload", "16KiB"][..]), (memcached_at, &["--speak", "memcached"])]
    {
        let ours = proxy("epoll-lt", &["--to", &to]);
        let target = ours.address.to_string();
        let mut command = crate::server::duolu();
        command.args(["load", &target, "-c", "40", "-d", "1s", "--json"]).args(more);
        let output = finish(&mut command);
        assert!(output.status.success(), "{output:?}");
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(result["established"], 40, "{result}");
        assert_eq!(result["errors"], serde_json::json!({}), "{result}");
        assert!(result["messages"].as_u64() >= Some(100), "{result}");
    }
}
