//! The clients people have at hand: netcat against echo, wrk against http, on every model. (curl is in `http`.)

use crate::server::Server;
use std::io::Write;
use std::process::{Command, Stdio};

crate::for_each_model!(netcat_hears_its_echo, wrk_counts_no_error);

/// `nc -N` half-closes after its input, as Ctrl-D does: all that was sent must still come back.
fn netcat_hears_its_echo(model: &str) {
    let server = Server::start("echo", model, &[]);
    let (host, port) = (server.address.ip().to_string(), server.address.port().to_string());
    let mut nc = Command::new("nc")
        .args(["-N", "-w", "10", &host, &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nc is needed for this test: apt-get install netcat-openbsd");
    let said = "多路\n".repeat(2_000);
    nc.stdin.take().expect("piped").write_all(said.as_bytes()).expect("written");
    let output = nc.wait_with_output().expect("ended");
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).expect("what was said"), said);
}

/// prefork has as many processes as wrk has connections here, or wrk would wait for the others.
fn wrk_counts_no_error(model: &str) {
    let server = Server::start("http", model, &[]);
    let url = format!("http://{}/", server.address);
    let output = Command::new("wrk")
        .args(["-t1", "-c10", "-d1s", &url])
        .output()
        .expect("wrk is needed for this test: apt-get install wrk");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    for trouble in ["Socket errors", "Non-2xx"] {
        assert!(!report.contains(trouble), "{report}");
    }
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: u64 = requests.and_then(|(count, _)| count.parse().ok()).expect("a count of requests");
    assert!(requests >= 10, "{report}");
}
