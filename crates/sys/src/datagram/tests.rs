//! Unit tests of `datagram`, on sockets of the loopback and on Unix sockets.

use super::*;
use duolu_core::datagram::{Address, Local, Sender};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

const LOCALHOST: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

fn udp(at: &str) -> (UdpSocket, Address) {
    let socket = UdpSocket::bind(at).expect("a port");
    let address = socket.local_addr().expect("a port").into();
    (socket, address)
}

fn all(options: SocketOptions) -> SocketOptions {
    SocketOptions { local_address: true, ecn: true, icmp_errors: true, ..options }
}

/// What there is, as soon as there is some: even on the loopback a datagram may take its time, and an ICMP message too.
fn receive(inbox: &mut Inbox, socket: impl AsFd) -> usize {
    wait_for(|| inbox.receive(&socket).ok())
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..10_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("it never came");
}

fn send_all(sender: &mut Sender, socket: &UdpSocket) {
    let mut outbox = Outbox::new();
    while sender.may_send() {
        let outcome = outbox.send(socket, sender.pieces());
        sender.handle_sent(outcome);
    }
}

#[test]
fn a_batch_with_everything_that_is_known_of_it() {
    for at in LOCALHOST {
        let ((a, from), (b, to)) = (udp(at), udp(at));
        prepare(&b, &all(SocketOptions::default())).expect("a socket");
        let mut sender = Sender::new(100, 100_000, true, true);
        for size in [0, 1, 1000, 70] {
            sender.push(to, None, &vec![7; size], 0).expect("room");
        }
        send_all(&mut sender, &a);
        let mut inbox = Inbox::new(3, 100);
        let mut told = Vec::new();
        while told.len() < 4 {
            assert!(receive(&mut inbox, &b) <= 3);
            for message in inbox.batch() {
                assert_eq!((message.from(), message.ecn(), message.segment()), (from, Some(0), None));
                let local = message.local().expect("it was asked for");
                assert!(local.ip == to.inet().expect("an address").ip() && local.interface > 0);
                assert_eq!(message.segments().collect::<Vec<_>>(), [message.bytes()]);
                told.push((message.bytes().len(), message.full_len(), message.is_truncated()));
            }
        }
        assert_eq!(told, [(0, 0, false), (1, 1, false), (100, 1000, true), (70, 70, false)]);
        assert_eq!(inbox.receive(&b), Err(Errno(libc::EAGAIN)));
        assert_eq!((inbox.batch().count(), inbox.overflowed()), (0, None));
    }
}

#[test]
fn an_answer_comes_from_where_it_was_asked() {
    let (a, a_address) = udp("127.0.0.1:0");
    let (b, b_address) = udp("0.0.0.0:0");
    let at = Local { ip: [127, 0, 0, 77].into(), interface: 0 };
    let mut sender = Sender::new(100, 100_000, true, true);
    sender.push(a_address, Some(at), b"from 77", 0).expect("room");
    send_all(&mut sender, &b);
    let mut inbox = Inbox::new(3, 100);
    receive(&mut inbox, &a);
    let from = inbox.batch().next().and_then(|m| m.from().inet()).expect("an address");
    assert_eq!((from.ip(), from.port()), (at.ip, b_address.inet().expect("an address").port()));
}

#[test]
fn segments_are_cut_and_joined() {
    for at in LOCALHOST {
        for gro in [false, true] {
            let ((a, _), (b, to)) = (udp(at), udp(at));
            let abilities = prepare(&a, &SocketOptions::default()).expect("a socket");
            let other = prepare(&b, &SocketOptions { gro, ..SocketOptions::default() }).expect("a socket");
            let mut sender = Sender::new(100, 100_000, abilities.segments, true);
            let bytes: Vec<u8> = (0..64 * 1000 - 1).map(|at| (at % 251) as u8).collect();
            sender.push(to, None, &bytes, 1000).expect("room");
            assert_eq!(sender.pieces().count(), if abilities.segments { 1 } else { 64 });
            send_all(&mut sender, &a);
            assert_eq!((sender.stats().sent, sender.stats().failed), (64, 0));
            let mut inbox = Inbox::new(100, 65536);
            let (mut received, mut datagrams, mut messages) = (Vec::new(), 0, 0);
            while datagrams < 64 {
                messages += receive(&mut inbox, &b);
                for message in inbox.batch() {
                    assert!(!message.is_truncated());
                    datagrams += message.segments().inspect(|part| received.extend_from_slice(part)).count();
                }
            }
            assert!(received == bytes && datagrams == 64);
            assert!(messages == 64 || other.gro && messages < 64, "{messages}");
        }
    }
}

#[test]
fn what_the_kernel_dropped_is_counted() {
    let ((a, _), (b, to)) = (udp(LOCALHOST[0]), udp(LOCALHOST[0]));
    prepare(&b, &SocketOptions::default()).expect("a socket");
    crate::socket::set_recv_buffer(&b, 1).expect("the least that there is");
    let mut sender = Sender::new(1000, 1_000_000, true, true);
    for _ in 0..200 {
        sender.push(to, None, &[7; 500], 0).expect("room");
    }
    send_all(&mut sender, &a);
    let mut inbox = Inbox::new(1000, 500);
    let told = wait_for(|| {
        let _ = inbox.receive(&b);
        sender.push(to, None, b"and now?", 0).expect("room");
        send_all(&mut sender, &a);
        inbox.overflowed()
    });
    assert!(told > 0 && u64::from(told) < sender.stats().sent, "{told}");
}

#[test]
fn errors_of_earlier_datagrams_name_whom_they_were_sent_to() {
    for at in LOCALHOST {
        let ((a, _), (gone, to)) = (udp(at), udp(at));
        drop(gone);
        prepare(&a, &SocketOptions { icmp_errors: true, ..SocketOptions::default() }).expect("a socket");
        let mut sender = Sender::new(10, 1000, true, true);
        sender.push(to, None, b"anybody there?", 0).expect("room");
        send_all(&mut sender, &a);
        assert_eq!(wait_for(|| take_error(&a)), (Errno(libc::ECONNREFUSED), to));
        assert_eq!(take_error(&a), None);
        assert_eq!(Inbox::new(1, 1).receive(&a), Err(Errno(libc::EAGAIN)));
    }
}

#[test]
fn unix_sockets_have_names_too() {
    let mut inbox = Inbox::new(2, 100);
    let name = format!("duolu-datagram-{}", std::process::id());
    let a_name = Address::abstract_name(&name).expect("a short name");
    let path = std::env::temp_dir().join(&name);
    let _ = std::fs::remove_file(&path);
    let b = UnixDatagram::bind(&path).expect("a path");
    let b_name = Address::path(path.as_os_str().as_encoded_bytes()).expect("a short path");
    use std::os::linux::net::SocketAddrExt;
    let a_std = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a short name");
    let a = UnixDatagram::bind_addr(&a_std).expect("a name");
    let mut outbox = Outbox::new();
    for (from, from_name, to, to_name) in [(&a, a_name, &b, b_name), (&b, b_name, &a, a_name)] {
        prepare(from, &SocketOptions { gro: true, ..SocketOptions::default() }).expect("a socket");
        let mut sender = Sender::new(10, 1000, false, true);
        sender.push(to_name, None, b"over there", 0).expect("room");
        assert_eq!(outbox.send(from, sender.pieces()), Ok(1));
        assert_eq!(inbox.receive(to), Ok(1));
        let message = inbox.batch().next().expect("a message");
        assert_eq!((message.bytes(), message.from()), (&b"over there"[..], from_name));
    }
    let nobody = UnixDatagram::unbound().expect("a socket");
    nobody.send_to(b"who", &path).expect("it is there");
    assert_eq!(inbox.receive(&b), Ok(1));
    assert!(inbox.batch().next().expect("a message").from().is_unnamed());
    std::fs::remove_file(&path).expect("it is there");
    let wrong = prepare(&nobody, &all(SocketOptions::default())).expect_err("not for Unix sockets");
    assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    let stream = std::os::unix::net::UnixStream::pair().expect("descriptors").0;
    assert!(prepare(&stream, &SocketOptions::default()).is_err());
}

#[test]
fn the_path_to_the_peer_has_a_limit() {
    let ((a, _), (_b, to)) = (udp(LOCALHOST[1]), udp(LOCALHOST[1]));
    assert!(path_mtu(&a).is_err(), "nobody is connected to");
    a.connect(to.inet().expect("an address")).expect("a socket");
    assert!(path_mtu(&a).expect("on the loopback") > 1000);
}
