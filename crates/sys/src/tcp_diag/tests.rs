//! Bytes captured on Linux 6.18, live sockets, and bytes that no kernel would send.

use super::*;
use proptest::prelude::*;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// The sequence number that the captured answers carry.
const SEQUENCE: u32 = 7;
/// The listener's port.
const PORT: u16 = 42491;
/// The FIN-WAIT-2 of a closed socket: a minisocket with the clock of TIME-WAIT, no attribute but a mark.
const ORPHAN: &str = "\
    600000001400020007000000da40000002050300e522a5fb7f0000010000000000000000000000007f00000100000000\
    00000000000000000000000063c7030000000000cce900000000000000000000000000000000000008000f0000000000";
/// An IPv6 listener and a connection in its queue whose client has closed; BBR; 280 bytes of tcp_info.
const TWO: &str = "\
    d00100001400020007000000da4000000a0a0000a5fb0000000000000000000000000000000000000000000000000000\
    00000000000000000000000064c7030000000000000000000100000007000000000000005def3b030500080000000000\
    05000b000000000008000f00000000000c00150001000000000000000600160012000000280007000000000000000200\
    000000000040000000000000000000000000000000000000000000001c0102000a000000000000000000000000000000\
    000000000000000001000000070000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000a0000000000000003000000000000000000000000000000ffffffffffffffff\
    ffffffffffffffff00000000000000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    0000000000000000000000000000000000000000000000000800040062627200c80100001400020007000000da400000\
    0a080000a5fbe52200000000000000000000ffff7f00000100000000000000000000ffff7f0000010000000065c70300\
    000000000000000001000000000000000000000000000000050008000100000008000f00000000000c00150001000000\
    0000000006001600120000002800070040030000000002000000000000004000c00c0000000000000000000000000000\
    000000001c010200080000000007aa01400d0300409c0000008000001802000000000000000000000000000000000000\
    000000009c000000000000009c0000009c000000ffff0000cbff00000400000002000000ffffff7f0a000000cbff0000\
    0e00000000000000cbff00000000000000745a8236000000ffffffffffffffff00000000000000000100000000000000\
    010000000300000000000000040000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000001000000000000000000000000000000000000000000000000000000000000000000000000000100\
    000001000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    0800040062627200";
/// The end of a dump.
const DONE: &str = "\
    140000000300020007000000da40000000000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn captured_answers_are_understood() {
    let mut dump = Dump::default();
    assert_eq!(take(&bytes(ORPHAN), SEQUENCE, &mut dump), Ok(Part::More { interrupted: false }));
    assert_eq!(take(&bytes(TWO), SEQUENCE, &mut dump), Ok(Part::More { interrupted: false }));
    assert_eq!(take(&bytes(DONE), SEQUENCE, &mut dump), Ok(Part::Last { interrupted: false }));
    let [ref minisocket, ref listener, ref waiting] = dump.sockets[..] else { panic!("{dump:?}") };
    assert_eq!(dump.unknown, 0);

    assert_eq!(minisocket.state, TcpState::FinWait2);
    assert_eq!((minisocket.inode, minisocket.remote.port()), (0, PORT));
    let timer = minisocket.timer.expect("a minisocket has one");
    assert_eq!(timer.kind, TimerKind::TimeWait);
    assert!((59_000..=60_000).contains(&timer.expires_ms), "{timer:?}");
    assert!(minisocket.info.is_none() && minisocket.shutdown.is_none() && minisocket.memory.is_none());

    assert_eq!((listener.state, listener.local.to_string()), (TcpState::Listen, format!("[::]:{PORT}")));
    assert_eq!((listener.recv_q, listener.send_q), (1, Some(7)));
    assert_eq!((listener.only_v6, listener.info.is_none()), (Some(false), true));

    assert_eq!((waiting.state, waiting.inode), (TcpState::CloseWait, 0));
    assert!(waiting.is_v6());
    assert_eq!(waiting.ends().0, SocketAddr::from(([127, 0, 0, 1], PORT)));
    assert_eq!(waiting.shutdown, Some(Shut { reading: true, writing: false }));
    assert_eq!(waiting.congestion.as_deref(), Some("bbr"));
    assert!(waiting.memory.is_some_and(|memory| memory.receive_buffer >= 65536));
    let info = waiting.info.as_deref().expect("tcp_info");
    assert_eq!(info.state, Some(TcpState::CloseWait));
    assert_eq!((info.advmss, info.pmtu, info.cwnd), (65_483, 65_535, 10));
    assert_eq!((info.snd_wscale, info.rcv_wscale, info.timestamps), (Some(10), Some(10), true));
    assert_eq!((info.ssthresh, info.min_rtt_us.is_some()), (None, true));
    assert_eq!((info.snd_wnd, info.rcv_wnd), (Some(65_536), Some(65_536)));
    // The client sent nothing but its FIN.
    assert!(info.rtt_us.is_some() && info.bytes_received == Some(1) && info.notsent == Some(0));
}

#[test]
#[cfg(target_endian = "little")]
fn a_kernel_that_tells_less_gives_none() {
    let mut dump = Dump::default();
    take(&bytes(TWO), SEQUENCE, &mut dump).expect("understood");
    let whole = bytes(TWO);
    // The attribute INET_DIAG_INFO of the second message: 280 bytes.
    let at = whole.windows(4).rposition(|head| head == [0x1c, 0x01, 0x02, 0x00]).expect("tcp_info") + 4;
    let full = &whole[at..at + 280];
    assert!(TcpInfo::parse(&full[..103]).is_none());
    let oldest = TcpInfo::parse(&full[..104]).expect("Linux 2.6");
    assert_eq!((oldest.advmss, oldest.pacing_rate, oldest.bytes_acked), (65_483, None, None));
    assert_eq!((oldest.snd_wnd, oldest.rcv_wnd, oldest.notsent, oldest.busy_us), (None, None, None, None));
    let middle = TcpInfo::parse(&full[..232]).expect("Linux 5.4");
    assert_eq!((middle.snd_wnd, middle.rcv_wnd), (Some(65_536), None));
    // A kernel from the future tells more; what we know stays where it is.
    let longer = [full, &[0xff; 100]].concat();
    assert_eq!(TcpInfo::parse(&longer), TcpInfo::parse(full));
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

#[test]
fn refusals_name_who_is_at_fault() {
    let mut dump = Dump::default();
    let refused = |errno: i32| message(2, 0, SEQUENCE, &(-errno).to_ne_bytes());
    let no_module = take(&refused(libc::ENOENT), SEQUENCE, &mut dump).expect_err("refused");
    assert!(matches!(no_module, DiagError::Unsupported("request", _)));
    assert!(no_module.to_string().contains("modprobe tcp_diag"), "{no_module}");
    let sandbox = take(&refused(libc::EPERM), SEQUENCE, &mut dump).expect_err("refused");
    assert!(sandbox.to_string().contains("seccomp"), "{sandbox}");
    let broken = message(3, 0, SEQUENCE, &(-libc::ENOMEM).to_ne_bytes());
    assert!(matches!(take(&broken, SEQUENCE, &mut dump), Err(DiagError::Failed("dump", _))));
    // The same to somebody else is nothing to us.
    let other = take(&refused(libc::EPERM), SEQUENCE + 1, &mut dump);
    assert_eq!(other, Ok(Part::More { interrupted: false }));
}

#[test]
fn interrupted_and_cut_answers_are_noticed() {
    let mut dump = Dump::default();
    let interrupted = message(3, 0x10, SEQUENCE, &0i32.to_ne_bytes());
    assert_eq!(take(&interrupted, SEQUENCE, &mut dump), Ok(Part::Last { interrupted: true }));
    let whole = bytes(TWO);
    for length in [1, 15, 17, whole.len() - 1] {
        let answer = take(&whole[..length], SEQUENCE, &mut dump);
        assert!(matches!(answer, Err(DiagError::Malformed(_))), "{length}: {answer:?}");
    }
    // A reply whose length is less than its own head must end the walk, not go round for ever.
    let mut silly = message(BY_FAMILY, 0, SEQUENCE, &[]);
    silly[..4].copy_from_slice(&0u32.to_ne_bytes());
    assert!(matches!(take(&silly, SEQUENCE, &mut dump), Err(DiagError::Malformed(_))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        let _ = take(&bytes, SEQUENCE, &mut Dump::default());
        let _ = message::socket(&bytes);
        let _ = TcpInfo::parse(&bytes);
        let _ = bytes::attributes(&bytes).count();
    }

    #[test]
    fn damaged_answers_are_survived(at in any::<prop::sample::Index>(), byte in any::<u8>(), keep in any::<prop::sample::Index>()) {
        let mut answer = bytes(TWO);
        let at = at.index(answer.len());
        answer[at] = byte;
        let kept = keep.index(answer.len() + 1);
        let mut dump = Dump::default();
        let _ = take(&answer[..kept], SEQUENCE, &mut dump);
        prop_assert!(dump.sockets.len() + dump.unknown <= kept / 16);
    }
}

/// A listener of its own, so that the port is nobody else's.
fn pair(address: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).expect("bind");
    let client = TcpStream::connect(listener.local_addr().unwrap()).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (listener, client, server)
}

fn dump(ports: Ports, states: StateSet) -> Vec<TcpSocket> {
    let query = Query { ports, states, details: Details::ALL, ..Query::default() };
    Diag::open().expect("sock_diag").dump(&query).expect("an answer").sockets
}

#[test]
fn both_ends_are_seen_by_the_port_and_nothing_else_is() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, mut client, server) = pair(address);
        let port = listener.local_addr().unwrap().port();
        client.write_all(b"unread").expect("written");
        let found = dump(Ports::Either(port), StateSet::ALL);
        assert_eq!(found.len(), 3, "{found:?}");
        let of = |local: SocketAddr, state| {
            found.iter().find(|socket| socket.local == local && socket.state == state).expect("listed")
        };
        let ours = of(client.local_addr().unwrap(), TcpState::Established);
        assert_eq!(ours.remote, listener.local_addr().unwrap());
        let info = ours.info.as_deref().expect("tcp_info");
        assert_eq!(info.bytes_sent, Some(6));
        assert_eq!(info.snd_mss, tcp_info(&client).expect("TCP_INFO").snd_mss);
        assert!(info.rtt_us.is_some() && info.pmtu > 1000 && info.snd_wnd.is_some_and(|window| window > 0));
        assert_ne!(ours.inode, 0);
        let theirs = of(server.local_addr().unwrap(), TcpState::Established);
        assert_eq!((theirs.recv_q, theirs.remote), (6, client.local_addr().unwrap()));
        assert_eq!(theirs.shutdown, Some(Shut { reading: false, writing: false }));

        let local = dump(Ports::Local(port), StateSet::of(&[TcpState::Established]));
        assert_eq!(local.len(), 1);
        assert_eq!(local[0].local, server.local_addr().unwrap());
        // The kernel may have given the same number to others, for other destinations.
        let own = client.local_addr().unwrap().port();
        let between = |ports| {
            let mut found = dump(ports, StateSet::ALL);
            found.retain(|socket| [socket.local.port(), socket.remote.port()].contains(&port));
            found.len()
        };
        assert_eq!((between(Ports::Either(own)), between(Ports::Local(own))), (2, 1));
    }
}

#[test]
fn both_forms_of_the_question_have_the_same_answer() {
    let (listener, client, _server) = pair("[::]:0");
    let query = Query { ports: Ports::Either(listener.local_addr().unwrap().port()), ..Query::default() };
    let told = |knows_any: bool| {
        let mut diag = Diag::open().expect("sock_diag");
        diag.knows_any = knows_any;
        let mut found = diag.dump(&query).expect("an answer").sockets;
        found.sort_by_key(|socket| (socket.local, socket.state));
        found
    };
    // IPv6 sockets with mapped addresses, the client's too: it connected to [::].
    assert_eq!(told(true).len(), 3);
    assert_eq!(told(true), told(false));
    let own = dump(Ports::Local(client.local_addr().unwrap().port()), StateSet::of(&[TcpState::Established]));
    assert!(own.iter().any(|socket| socket.local == client.local_addr().unwrap()));
}

#[test]
fn one_way_to_the_kernel_answers_many_questions_through_a_life() {
    let (listener, client, server) = pair("127.0.0.1:0");
    let query = Query {
        ports: Ports::Either(listener.local_addr().unwrap().port()),
        families: Families::V4,
        ..Query::default()
    };
    let mut diag = Diag::open().expect("sock_diag");
    let mut states = || {
        let mut found = diag.dump(&query).expect("an answer").sockets;
        found.sort_by_key(|socket| socket.state);
        found.iter().map(|socket| socket.state).collect::<Vec<_>>()
    };
    let wanted = |states: &mut dyn FnMut() -> Vec<TcpState>, wanted: &[TcpState]| {
        // Loopback hands a segment over within the call that sends it, save when softirqs are busy.
        for _ in 0..500 {
            if states() == wanted {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(states(), wanted);
    };
    use TcpState::{CloseWait, Established, FinWait2, Listen, TimeWait};
    wanted(&mut states, &[Established, Established, Listen]);
    client.shutdown(Shutdown::Write).expect("shutdown");
    wanted(&mut states, &[FinWait2, CloseWait, Listen]);
    assert_eq!(tcp_info(&server).expect("TCP_INFO").state, Some(CloseWait));
    drop(server);
    drop(client);
    wanted(&mut states, &[TimeWait, Listen]);
}

#[test]
fn what_is_no_tcp_socket_has_no_tcp_info() {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("bind");
    assert!(tcp_info(&udp).is_err());
}
