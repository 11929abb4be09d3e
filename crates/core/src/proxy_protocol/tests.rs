use super::*;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;

fn whole(bytes: &[u8]) -> Result<(Header, usize), ProxyError> {
    match parse(bytes, MAX_V2_BYTES)? {
        Parsed::Complete(header, used) => Ok((header, used)),
        Parsed::Partial { at_least } => panic!("{at_least} bytes are wanted, {} are there", bytes.len()),
    }
}

fn written(header: &Header) -> Vec<u8> {
    let mut out = b"before".to_vec();
    header.encode(&mut out).unwrap();
    out.split_off(6)
}

fn tcp(version: Version, source: &str, destination: &str) -> Header {
    Header::tcp(version, source.parse().unwrap(), destination.parse().unwrap())
}

/// The examples of the document, and what HAProxy 2.6 sends.
#[test]
fn known_headers_read_and_write_as_others_do() {
    let line = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
    let header = tcp(Version::V1, "255.255.255.255:65535", "255.255.255.255:65535");
    assert_eq!(whole(line), Ok((header.clone(), 56)));
    assert_eq!(written(&header), line);
    let line = b"PROXY TCP6 ffff:f:f:f:f:f:f:fff 2001:db8::1 1 0\r\nGET /";
    let header = tcp(Version::V1, "[ffff:f:f:f:f:f:f:fff]:1", "[2001:db8::1]:0");
    assert_eq!(whole(line), Ok((header.clone(), line.len() - 5)));
    assert_eq!(written(&header), line[..line.len() - 5]);
    let unknown = Header { version: Version::V1, peer: Peer::Unknown, tlvs: Tlvs::new() };
    let longest = b"PROXY UNKNOWN ffff:f...f:ffff and whatever\r\n";
    assert_eq!(whole(longest), Ok((unknown.clone(), longest.len())));
    assert_eq!(whole(b"PROXY UNKNOWN\r\n"), Ok((unknown.clone(), 15)));
    assert_eq!(written(&unknown), b"PROXY UNKNOWN\r\n");

    let binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x02\x30\x39\x01\xbb";
    let header = tcp(Version::V2, "127.0.0.1:12345", "127.0.0.2:443");
    assert_eq!(whole(binary), Ok((header.clone(), 28)));
    assert_eq!(written(&header), binary);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let header = Header { version: Version::V2, peer: Peer::Local, tlvs: Tlvs::new() };
    assert_eq!(whole(local), Ok((header.clone(), 16)));
    assert_eq!(written(&header), local);
}

#[test]
fn what_is_to_be_skipped_is_skipped() {
    // LOCAL may come with a family, unknown ones too, and UNSPEC with anything behind it.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x7f\0\x03abcREST";
    assert_eq!(whole(local).map(|(header, used)| (header.peer, used)), Ok((Peer::Local, 19)));
    let unspec = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x03abc";
    assert_eq!(whole(unspec).map(|(header, used)| (header.peer, used)), Ok((Peer::Unknown, 19)));
}

#[test]
fn lines_that_are_not_as_they_should_be_are_refused() {
    for bad in [
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rx",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 ::1 1 2\r\n",
        "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8  2\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY \r\n",
        "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
    ] {
        assert!(matches!(whole(bad.as_bytes()), Err(ProxyError::Line(_))), "{bad:?}");
    }
    assert!(matches!(whole(b"PROXY \xff\r\n"), Err(ProxyError::Line(_))));
    for none in ["GET / HTTP/1.1\r\n", "PROXY\r\n", "PUT", "proxy TCP4", "\n"] {
        assert_eq!(whole(none.as_bytes()), Err(ProxyError::NoHeader), "{none:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(100));
    assert_eq!(parse(&endless.as_bytes()[..106], 4096), Ok(Parsed::Partial { at_least: 107 }));
    assert_eq!(parse(endless.as_bytes(), 4096), Err(ProxyError::TooLong { most: 107 }));
}

#[test]
fn binary_headers_that_are_not_as_they_should_be_are_refused() {
    let with = |command: u8, family: u8, len: u16, body: &[u8]| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(body);
        parse(&bytes, USUAL_MAX_BYTES)
    };
    assert_eq!(with(0x11, 0x11, 12, &[0; 12]), Err(ProxyError::Version(1)));
    assert_eq!(with(0x22, 0x11, 12, &[0; 12]), Err(ProxyError::Command(2)));
    for family in [0x01, 0x10, 0x13, 0x41, 0xff] {
        assert_eq!(with(0x21, family, 12, &[0; 12]), Err(ProxyError::Family(family)));
    }
    assert_eq!(with(0x21, 0x11, 11, &[0; 11]), Err(ProxyError::Length));
    assert_eq!(with(0x21, 0x21, 12, &[0; 12]), Err(ProxyError::Length));
    assert_eq!(with(0x21, 0x31, 215, &[0; 215]), Err(ProxyError::Length));
    // A TLV that goes beyond the end, one without room for its length, and a checksum of three bytes.
    for tlv in [&b"\x01\0\x02x"[..], b"\x01\0", b"\x03\0\x03abc"] {
        let body = [&[0; 12], tlv].concat();
        assert_eq!(with(0x21, 0x11, body.len() as u16, &body), Err(ProxyError::Length), "{tlv:?}");
    }
    // Refused before it has come, not when it is in memory.
    assert_eq!(with(0x21, 0x11, 0xffff, &[]), Err(ProxyError::TooLong { most: USUAL_MAX_BYTES }));
    assert_eq!(with(0x20, 0, 16368, &[]), Ok(Parsed::Partial { at_least: USUAL_MAX_BYTES }));
}

#[test]
fn a_wrong_checksum_is_refused_wherever_the_header_was_changed() {
    let mut header = tcp(Version::V2, "127.0.0.1:12345", "127.0.0.2:443");
    header.tlvs.push(kind::ALPN, b"h2").unwrap();
    header.tlvs.push(kind::CRC32C, &[0; 4]).unwrap();
    header.tlvs.push(0xe0, b"").unwrap();
    let bytes = written(&header);
    assert!(whole(&bytes).is_ok());
    for at in 16..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok((header, _)) = whole(&changed) {
                // Only where there is no checksum any more.
                assert_eq!(header.tlvs.get(kind::CRC32C), None, "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn tlvs_are_found_by_their_type() {
    let mut header = tcp(Version::V2, "[::1]:1", "[::2]:2");
    header.tlvs.push(kind::AUTHORITY, b"example.org").unwrap();
    header.tlvs.push(kind::NOOP, b"").unwrap();
    header.tlvs.push(kind::AUTHORITY, b"second").unwrap();
    let (read, used) = whole(&written(&header)).unwrap();
    assert_eq!((&read, used), (&header, 16 + 36 + 14 + 3 + 9));
    assert_eq!(read.tlvs.get(kind::AUTHORITY), Some(&b"example.org"[..]));
    assert_eq!(read.tlvs.get(kind::NOOP), Some(&b""[..]));
    assert_eq!(read.tlvs.get(kind::SSL), None);
    assert_eq!(read.tlvs.iter().count(), 3);
    let mut tlvs = Tlvs::new();
    assert!(tlvs.push(1, &vec![0; 65_533]).is_err());
    assert!(tlvs.is_empty());
    tlvs.push(1, &vec![0; 65_532]).unwrap();
    assert!(tlvs.push(1, b"").is_err());
    header.tlvs = tlvs;
    let mut out = b"as it was".to_vec();
    assert_eq!(header.encode(&mut out), Err(ProxyError::TooLong { most: MAX_V2_BYTES }));
    assert_eq!(out, b"as it was");
}

#[test]
fn mixed_families_are_written_as_ipv6() {
    for version in [Version::V1, Version::V2] {
        let (read, _) = whole(&written(&tcp(version, "192.0.2.1:1", "[2001:db8::1]:2"))).unwrap();
        assert_eq!(read, tcp(version, "[::ffff:192.0.2.1]:1", "[2001:db8::1]:2"));
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let words = ProxyError::Line("too few fields").to_string();
    assert_eq!(words, "a PROXY line with too few fields");
    assert_eq!(ProxyError::Family(0x41).to_string(), "a PROXY header with the unknown family 0x41");
}

fn any_ip() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    prop_oneof![
        any::<(u32, u32)>().prop_map(|(a, b)| (Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into())),
        any::<(u128, u128)>().prop_map(|(a, b)| (Ipv6Addr::from(a).into(), Ipv6Addr::from(b).into())),
    ]
}

fn any_transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Stream), Just(Transport::Datagram)]
}

fn any_peer() -> impl Strategy<Value = Peer> {
    let unix = || proptest::collection::vec(any::<u8>(), 108);
    let boxed = |bytes: Vec<u8>| UnixAddress::from(Box::new(<[u8; 108]>::try_from(bytes).unwrap()));
    prop_oneof![
        Just(Peer::Local),
        Just(Peer::Unknown),
        (any_transport(), any_ip(), any::<(u16, u16)>()).prop_map(
            |(transport, (source, destination), ports)| {
                Peer::Inet {
                    transport,
                    source: SocketAddr::new(source, ports.0),
                    destination: SocketAddr::new(destination, ports.1),
                }
            }
        ),
        (any_transport(), unix(), unix()).prop_map(move |(transport, source, destination)| Peer::Unix {
            transport,
            source: boxed(source),
            destination: boxed(destination)
        }),
    ]
}

fn any_header() -> impl Strategy<Value = Header> {
    let tlvs = proptest::collection::vec((4..=255_u8, proptest::collection::vec(any::<u8>(), 0..40)), 0..6);
    (any::<bool>(), any_peer(), tlvs, any::<bool>()).prop_map(|(second, peer, tlvs, checksum)| {
        let version = if second { Version::V2 } else { Version::V1 };
        let mut header = Header { version, peer, tlvs: Tlvs::new() };
        if matches!(header.peer, Peer::Inet { .. } | Peer::Unix { .. }) && second {
            for (kind, value) in tlvs {
                header.tlvs.push(kind, &value).unwrap();
            }
            if checksum {
                header.tlvs.push(kind::CRC32C, &[0; 4]).unwrap();
            }
        }
        header
    })
}

/// What version 1 makes of it.
fn as_line(header: &Header) -> Peer {
    match header {
        Header { version: Version::V2, peer, .. } => peer.clone(),
        Header { peer: peer @ Peer::Inet { transport: Transport::Stream, .. }, .. } => peer.clone(),
        _ => Peer::Unknown,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read_again(header in any_header(), rest in proptest::collection::vec(any::<u8>(), 0..20)) {
        let bytes = written(&header);
        let (read, used) = whole(&[&bytes[..], &rest].concat()).unwrap();
        prop_assert_eq!(used, bytes.len());
        prop_assert_eq!(read.version, header.version);
        prop_assert_eq!(&read.peer, &as_line(&header));
        prop_assert!(header.version == Version::V2 || used <= MAX_V1_BYTES);
        let others = |tlvs: &Tlvs| {
            tlvs.iter().filter(|tlv| tlv.0 != kind::CRC32C).map(|(kind, value)| (kind, value.to_vec())).collect::<Vec<_>>()
        };
        prop_assert_eq!(others(&read.tlvs), others(&header.tlvs));
    }

    /// Each beginning asks for more, and never for more than there will be.
    #[test]
    fn byte_by_byte_it_is_complete_with_the_last_one(header in any_header()) {
        let bytes = written(&header);
        for len in 0..bytes.len() {
            match parse(&bytes[..len], USUAL_MAX_BYTES) {
                Ok(Parsed::Partial { at_least }) => prop_assert!((len + 1..=bytes.len()).contains(&at_least)),
                other => prop_assert!(false, "after {} of {} bytes: {:?}", len, bytes.len(), other),
            }
        }
    }

    /// Garbage is refused or waits for more; it never panics, and never reads beyond what it says it took.
    #[test]
    fn garbage_is_no_header(
        garbage in proptest::collection::vec(any::<u8>(), 0..300),
        start in prop::sample::select(vec![
            &b""[..], b"PROXY ", b"PROXY TCP4 1.2.3.4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20",
        ]),
        most in prop_oneof![Just(16_usize), Just(107), Just(USUAL_MAX_BYTES), Just(0)],
    ) {
        let bytes = [start, &garbage].concat();
        match parse(&bytes, most) {
            Ok(Parsed::Complete(_, used)) => prop_assert!(used <= bytes.len() && used <= most),
            Ok(Parsed::Partial { at_least }) => prop_assert!(at_least > bytes.len()),
            Err(_) => {}
        }
    }

    /// A changed header is refused or means something else, but is never read in two ways: what it says it took is
    /// enough to say the same again.
    #[test]
    fn a_changed_header_means_one_thing(header in any_header(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = written(&header);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Parsed::Complete(header, used)) = parse(&bytes, USUAL_MAX_BYTES) {
            prop_assert_eq!(parse(&bytes[..used], USUAL_MAX_BYTES), Ok(Parsed::Complete(header, used)));
        }
    }
}
