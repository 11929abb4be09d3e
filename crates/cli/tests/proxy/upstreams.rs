//! Upstreams that refuse, do not answer, take turns, or go away.

use crate::kit::{accept, nobody, proxy, read_all, read_exactly, through, upstream};
use crate::server::{Server, connect, eventually};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

crate::for_each_model!(whoever_is_refused_is_reset, one_that_refuses_is_passed_over);

/// A new connection is reset before it gets a byte, perhaps before the connect has returned.
fn is_cut(address: SocketAddr) -> bool {
    match TcpStream::connect(address) {
        Ok(client) => read_all(&client) == (vec![], true),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn whoever_is_refused_is_reset(model: &str) {
    let to = nobody().to_string();
    let proxy = proxy(model, &["--to", &to]);
    for _ in 0..3 {
        assert!(is_cut(proxy.address), "cut, and not an empty answer");
    }
    for words in [
        &format!("cannot connect to {to}: Connection refused"),
        "no upstream takes the connection of 127.0.0.1:",
    ] {
        eventually(words, || proxy.stderr().contains(words).then_some(()));
    }
}

fn one_that_refuses_is_passed_over(model: &str) {
    let ((listener, to), dead) = (upstream(), nobody().to_string());
    let proxy = proxy(model, &["--to", &dead, "--to", &to]);
    for _ in 0..6 {
        let mut client = connect(proxy.address);
        client.write_all(b"sent before anybody has answered").unwrap();
        read_exactly(&accept(&listener), b"sent before anybody has answered");
    }
    eventually("the other one had its turn", || proxy.stderr().contains("cannot connect").then_some(()));
}

#[test]
fn they_take_turns() {
    let all = [upstream(), upstream(), upstream()];
    let [one, two, three] = &all;
    let proxy = proxy("epoll-lt", &["--to", &one.1, "--to", &two.1, "--to", &three.1]);
    let clients: Vec<TcpStream> = (0..9).map(|_| connect(proxy.address)).collect();
    for (listener, _) in &all {
        (0..3).for_each(|_| drop(accept(listener)));
    }
    drop(clients);
}

/// A listener whose queue is full answers no SYN: what a firewall that drops packets looks like.
#[test]
fn one_that_does_not_answer_is_given_up_in_time() {
    let silent =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&silent, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&silent, 0).unwrap();
    let silent = TcpListener::from(silent);
    let address = silent.local_addr().unwrap();
    let _queue: Vec<_> = (0..4).map(|_| duolu::net::connect(address, None).unwrap()).collect();
    let (listener, to) = upstream();
    let arguments = ["--to", &address.to_string(), "--to", &to, "--connect-timeout", "1s"];
    let proxy = proxy("epoll-lt", &arguments);
    for _ in 0..3 {
        let mut client = connect(proxy.address);
        client.write_all(b"patience").unwrap();
        read_exactly(&accept(&listener), b"patience");
    }
    let words = format!("cannot connect to {address}: no answer within 1s (--connect-timeout)");
    eventually(&words, || proxy.stderr().contains(&words).then_some(()));
}

#[test]
fn an_upstream_that_is_killed_cuts_its_connections_and_no_more() {
    let mut echo = Server::start("echo", "epoll-lt", &[]);
    let to = echo.address.to_string();
    let proxy = proxy("epoll-lt", &["--to", &to]);
    let mut clients: Vec<TcpStream> = (0..5).map(|_| connect(proxy.address)).collect();
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
        read_exactly(client, b"hello");
    }
    echo.signal(rustix::process::Signal::KILL);
    echo.wait();
    for client in &clients {
        assert!(read_all(client).0.is_empty());
    }
    eventually("it is refused now", || is_cut(proxy.address).then_some(()));
    proxy.has_said("Connection refused");
}

#[test]
fn usage_errors_say_what_would_do() {
    for (arguments, words) in [
        (&["proxy"][..], "--to HOST:PORT"),
        (&["proxy", "--to", "127.0.0.1"], "the port is missing"),
        (&["proxy", "--to", ":1", "--model", "fork"], "epoll-lt (the default)"),
        (&["proxy", "--to", ":1", "--idle", "0"], "--idle 0"),
        (&["proxy", "--to", ":1", "--rate", "0"], "--rate 0"),
        (&["proxy", "--to", ":1", "--buffer", "1"], "1KiB is the least"),
        (&["proxy", "--to", ":1", "--proxy-in", "maybe"], "require"),
        (&["echo", "--to", ":1"], "--to is for 'duolu serve proxy'"),
        (&["http", "--proxy-out", "v1"], "--proxy-out is for 'duolu serve proxy'"),
    ] {
        let output = crate::server::duolu().arg("serve").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?} should mention {words}: {text}");
    }
    let it = through("epoll-lt", &[]);
    let own = it.proxy.address.to_string();
    let output = crate::server::duolu().args(["serve", "proxy", "--to", &own, &own]).output().unwrap();
    assert_ne!(output.status.code(), Some(0), "one listens there already");
}
