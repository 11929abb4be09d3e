//! `duolu load` speaks HTTP and memcached: to small servers of known faults, and to nginx and memcached themselves.

mod load_support;

use load_support::*;
use serde_json::Value;
use std::process::{Command, Stdio};

#[test]
fn http_replies_of_every_framing_are_read_and_compared() {
    let address = http(|_, request| match request % 3 {
        0 => (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(), true),
        1 => (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n".to_vec(),
            true,
        ),
        _ if request < 100 => (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec(), true),
        _ => (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello".to_vec(), false),
    });
    let json = load_json(&format!("http://{address}/a -c 5 -d 500ms"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert!(json["reconnects"].as_u64() > Some(0), "the close is no error: {json}");
    assert_eq!(json["speak"], Value::from("http"), "{json}");
    // One that the server closed at the very end is being opened again, and not held.
    assert!((1..=5).contains(&json["established"].as_u64().expect("a count")), "{json}");
    assert_eq!(json["bytes"], json["messages"].as_u64().unwrap() * 5, "{json}");
}

#[test]
fn http_bodies_that_change_and_statuses_that_refuse_are_found() {
    let address = http(|_, request| {
        let body = if request % 50 == 49 { "hellO" } else { "hello" };
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}").into_bytes(), true)
    });
    let json = load_json(&format!("http://{address}/ -c 5 -d 400ms"));
    assert!(errors(&json, "wrong_bytes") > 0, "{json}");
    assert!(json["first_error"].as_str().unwrap().contains("byte 4 of the body"), "{json}");
    let address = http(|_, request| match request % 10 {
        9 => (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nno!".to_vec(), true),
        _ => (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(), true),
    });
    let json = load_json(&format!("http://{address}/ -c 5 -d 400ms"));
    let refused = errors(&json, "http_status:503");
    assert!(refused > 0 && refused == all_errors(&json), "{json}");
    assert!(json["messages"].as_u64() > Some(refused), "{json}");
    assert_eq!(json["reconnects"], 0, "{json}");
}

#[test]
fn memcached_and_nginx_stand_the_load() {
    let address = free_address();
    let mut memcached = Command::new("memcached");
    memcached.args(["-l", "127.0.0.1", "-U", "0", "-u", "root", "-p", &address.port().to_string()]);
    let _memcached = start(memcached, address);
    for extra in ["-c 50", "-c 5 --payload 100KiB", "-c 20 -R 2000", "-c 5 --churn"] {
        let json = load_json(&format!("{address} --speak memcached -d 400ms {extra}"));
        assert_eq!(json["errors"], serde_json::json!({}), "{extra}: {json}");
        assert!(json["messages"].as_u64() > Some(0), "{extra}: {json}");
    }
    let json = load(&format!("{address} --speak memcached -c 2 -d 400ms --payload 1MiB --json"));
    assert_eq!(json.code, Some(3), "a value that is too large for memcached");
    assert!(json.stderr.contains("too large"), "{}", json.stderr);

    let folder = std::env::temp_dir().join(format!("duolu-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let address = free_address();
    let config = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/log; events {{}} \
         http {{ access_log off; server {{ listen {address}; keepalive_requests 100; \
         location / {{ return 200 'hello'; }} }} }}",
        folder.display()
    );
    std::fs::write(folder.join("conf"), config).expect("the configuration");
    let mut nginx = Command::new("/usr/sbin/nginx");
    nginx.arg("-c").arg(folder.join("conf")).stderr(Stdio::null());
    let server = start(nginx, address);
    let json = load_json(&format!("http://{address}/ -c 20 -d 600ms"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert!(
        json["messages"].as_u64() > Some(0) && json["bytes"] == json["messages"].as_u64().unwrap() * 5,
        "{json}"
    );
    let json = load_json(&format!("http://{address}/ -c 5 -d 400ms --churn"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    drop(server);
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let complaints: Vec<_> = log
        .lines()
        .filter(|line| !line.contains("[notice]") && !line.contains("[alert] could not open"))
        .collect();
    assert!(complaints.is_empty(), "nginx says nothing about how connections end: {complaints:?}");
    let _ = std::fs::remove_dir_all(folder);
}
