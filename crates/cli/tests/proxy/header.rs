//! The PROXY protocol in and out.

use crate::kit::{accept, proxy, read_all, read_exactly, through, upstream};
use crate::server::{Server, connect, eventually};
use duolu::proxy_protocol::{Header, MAX_V2_BYTES, Parsed, Peer, Tlvs, Version, kind, parse};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub fn header(version: Version, source: &str, destination: &str) -> Vec<u8> {
    encoded(&Header::tcp(version, source.parse().unwrap(), destination.parse().unwrap()))
}

fn encoded(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(&mut bytes).unwrap();
    bytes
}

/// Reads a header and what follows it, up to the length that is wanted.
pub fn read_header(mut stream: &TcpStream, body: &[u8]) -> Header {
    let mut bytes = Vec::new();
    let (header, used) = loop {
        match parse(&bytes, MAX_V2_BYTES).expect("a header") {
            Parsed::Complete(header, used) => break (header, used),
            Parsed::Partial { at_least } => {
                let have = bytes.len();
                bytes.resize(at_least, 0);
                stream.read_exact(&mut bytes[have..]).expect("the rest of it");
            }
        }
    };
    assert_eq!(used, bytes.len());
    read_exactly(stream, body);
    header
}

crate::for_each_form!(the_clients_address_is_told, a_header_is_taken_and_passed_on);

fn the_clients_address_is_told(model: &str) {
    for (name, version) in [("v1", Version::V1), ("v2", Version::V2)] {
        let mut it = through(model, &["--proxy-out", name]);
        it.client.write_all(b"hello").unwrap();
        let told = read_header(&it.upstream, b"hello");
        assert_eq!(told, Header::tcp(version, it.client.local_addr().unwrap(), it.proxy.address));
    }
}

fn a_header_is_taken_and_passed_on(model: &str) {
    for (out, written) in [("v1", Version::V1), ("v2", Version::V2)] {
        let it = through_with_header(model, &["--proxy-in", "require", "--proxy-out", out]);
        for (version, source, destination) in [
            (Version::V1, "192.0.2.1:1234", "198.51.100.2:80"),
            (Version::V2, "192.0.2.1:1234", "198.51.100.2:80"),
            (Version::V1, "[2001:db8::1]:1234", "[2001:db8::2]:80"),
            (Version::V2, "[2001:db8::1]:1234", "[2001:db8::2]:80"),
        ] {
            let mut client = connect(it.0.address);
            client.write_all(&[header(version, source, destination), b"hello".to_vec()].concat()).unwrap();
            let upstream = accept(&it.1);
            let told = read_header(&upstream, b"hello");
            assert_eq!(told, Header::tcp(written, source.parse().unwrap(), destination.parse().unwrap()));
            (&upstream).write_all(b"and back").unwrap();
            read_exactly(&client, b"and back");
        }
    }
}

fn through_with_header(model: &str, more: &[&str]) -> (Server, std::net::TcpListener) {
    let (listener, to) = upstream();
    (proxy(model, &[&["--to", &to], more].concat()), listener)
}

/// A header may come in as many pieces as it has bytes; TLVs are for us, a right checksum is right.
#[test]
fn a_header_may_come_byte_by_byte() {
    let (proxy, listener) = through_with_header("epoll-lt", &["--proxy-in", "require", "--proxy-out", "v2"]);
    let mut long = Header::tcp(Version::V2, "192.0.2.9:9".parse().unwrap(), "192.0.2.8:8".parse().unwrap());
    long.tlvs.push(kind::AUTHORITY, b"example.org").unwrap();
    long.tlvs.push(kind::CRC32C, &[0; 4]).unwrap();
    for bytes in [encoded(&long), header(Version::V1, "192.0.2.9:9", "192.0.2.8:8")] {
        let mut client = connect(proxy.address);
        for byte in bytes.chunks(1) {
            client.write_all(byte).unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
        client.write_all(b"x").unwrap();
        let told = read_header(&accept(&listener), b"x");
        assert_eq!(told, Header { tlvs: Tlvs::new(), ..long.clone() });
    }
}

#[test]
fn who_is_local_or_unknown_is_told_as_such() {
    let (second, listener) = through_with_header("epoll-lt", &["--proxy-in", "require", "--proxy-out", "v2"]);
    let mut local = connect(second.address);
    local
        .write_all(&encoded(&Header { version: Version::V2, peer: Peer::Local, tlvs: Tlvs::new() }))
        .unwrap();
    local.write_all(b"check").unwrap();
    assert_eq!(read_header(&accept(&listener), b"check").peer, Peer::Local);
    // Who does not say for whom he comes is told of himself.
    let mut unknown = connect(second.address);
    unknown.write_all(b"PROXY UNKNOWN\r\nhello").unwrap();
    let told = read_header(&accept(&listener), b"hello");
    assert_eq!(told, Header::tcp(Version::V2, unknown.local_addr().unwrap(), second.address));
}

#[test]
fn whoever_sends_none_is_refused_with_a_reason() {
    let (proxy, listener) = through_with_header("epoll-lt", &["--proxy-in", "require", "--admin", "0"]);
    listener.set_nonblocking(true).unwrap();
    let mut broken = encoded(&Header::tcp(Version::V2, proxy.address, proxy.address));
    broken[12] = 0x31;
    for (bytes, why) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "the first bytes are no PROXY protocol header (--proxy-in)"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", "a port that is no number"),
        (&broken, "a PROXY header of version 3"),
        (b"PROXY TCP4 1.2.3.4", "has ended without a PROXY header"),
    ] {
        std::thread::sleep(Duration::from_millis(1010)); // a line a second at most
        let mut client = connect(proxy.address);
        client.write_all(bytes).unwrap();
        let _ = client.shutdown(std::net::Shutdown::Write); // it may have been refused by now
        assert!(read_all(&client).0.is_empty());
        let who = client.local_addr().unwrap();
        eventually(why, || {
            let said = proxy.stderr();
            said.lines().any(|line| line.contains(&who.to_string()) && line.contains(why)).then_some(())
        });
    }
    assert!(listener.accept().is_err(), "no upstream is bothered with them");
}

#[test]
fn whoever_sends_none_may_be_accepted_if_so_wanted() {
    let (proxy, listener) = through_with_header("epoll-lt", &["--proxy-in", "accept", "--proxy-out", "v1"]);
    let mut plain = connect(proxy.address);
    plain.write_all(b"PROPFIND / HTTP/1.1\r\n").unwrap();
    let told = read_header(&accept(&listener), b"PROPFIND / HTTP/1.1\r\n");
    assert_eq!(told, Header::tcp(Version::V1, plain.local_addr().unwrap(), proxy.address));
    let mut with = connect(proxy.address);
    with.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 3 4\r\nGET").unwrap();
    let told = read_header(&accept(&listener), b"GET");
    assert_eq!(
        told,
        Header::tcp(Version::V1, "192.0.2.1:3".parse().unwrap(), "192.0.2.2:4".parse().unwrap())
    );
    // One who ends at once, and one who breaks off what began as a header.
    let silent = connect(proxy.address);
    silent.shutdown(std::net::Shutdown::Write).unwrap();
    let upstream = accept(&listener);
    read_header(&upstream, b"");
    assert_eq!(read_all(&upstream), (vec![], false));
    let mut broken = connect(proxy.address);
    broken.write_all(b"PROXY TCP9 \r\n").unwrap();
    assert_eq!(read_all(&broken), (vec![], true));
}

/// Two proxies in a row: what the first one sees arrives at the end.
#[test]
fn through_two_proxies_the_first_clients_address_arrives() {
    let (listener, to) = upstream();
    let second = proxy("epoll-lt", &["--to", &to, "--proxy-in", "require", "--proxy-out", "v1"]);
    let second_address = second.address.to_string();
    let first = proxy("epoll-lt", &["--to", &second_address, "--proxy-out", "v2"]);
    let mut client = connect(first.address);
    client.write_all(b"hello").unwrap();
    let told = read_header(&accept(&listener), b"hello");
    assert_eq!(told, Header::tcp(Version::V1, client.local_addr().unwrap(), first.address));
}
