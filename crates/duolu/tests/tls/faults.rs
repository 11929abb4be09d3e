//! What goes wrong: told once, in words that say whose fault it is, and never a panic.

use crate::ca::{Authority, authority, client, issued, server};
use crate::wire::{Line, carry};
use duolu::stream::Layer;
use duolu::tls::{Client, Server, Tls, Version};

fn session(server: Server) -> Tls {
    server.session().expect("a session")
}

/// What each side says when these two meet.
fn meet(client: Tls, server: Tls) -> (String, String) {
    let mut line = Line::new(client, server);
    line.run(usize::MAX, usize::MAX);
    assert!(
        !line.client.tls.is_established() || !line.server.tls.is_established() || line.server.error.is_some()
    );
    (line.client.alert_of(), line.server.alert_of())
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn a_certificate_that_is_not_good_is_named() {
    let authority = authority();
    let by =
        |issued: crate::ca::Issued| session(Server::builder(issued.identity()).build().expect("a server"));
    let to = |name| client().session(name).expect("a session");

    let (ours, theirs) = meet(to("old.test"), by(authority.expired(&["old.test"])));
    has(&ours, &["the certificate of old.test expired", "days ago", "renewed"]);
    has(&theirs, &["the client says that this server's certificate has expired"]);

    let (ours, _) = meet(to("new.test"), by(authority.to_come(&["new.test"])));
    has(&ours, &["the certificate of new.test becomes valid only in", "clock"]);

    let (ours, theirs) = meet(to("other.test"), session(server()));
    has(&ours, &["the certificate of other.test is not for that name, but for server.test, localhost"]);
    has(&theirs, &["the client does not accept this server's certificate"]);

    let (ours, theirs) = meet(to("server.test"), by(Authority::new("nobody").issue(&["server.test"])));
    has(&ours, &["an authority that is not believed here", "root certificate"]);
    has(&theirs, &["the client does not believe the authority of this server's certificate"]);

    let (ours, _) = meet(to("client.test"), by(authority.for_clients()));
    has(&ours, &["may not be used by servers"]);
}

#[test]
fn verification_is_off_by_one_call_only() {
    let stranger = Authority::new("nobody").issue(&["elsewhere.test"]);
    let server = Server::builder(stranger.identity()).build().expect("a server");
    let any =
        Client::builder(authority().roots()).dangerous_accept_any_certificate().build().expect("a client");
    for version in Version::ALL {
        let server = Server::builder(stranger.identity()).versions(&[version]).build().expect("a server");
        Line::connected(any.session("server.test").expect("a session"), session(server));
    }
    assert_ne!(meet(client().session("server.test").expect("a session"), session(server)).0, "");
}

#[test]
fn nothing_in_common_is_named() {
    let server = |versions: &[Version]| {
        session(Server::builder(issued().identity()).versions(versions).build().expect("a server"))
    };
    let client = |versions: &[Version]| {
        let client = Client::builder(authority().roots()).versions(versions).build().expect("a client");
        client.session("server.test").expect("a session")
    };
    for (ours, theirs) in [(Version::Tls12, Version::Tls13), (Version::Tls13, Version::Tls12)] {
        let (client, server) = meet(client(&[ours]), server(&[theirs]));
        has(&client, &["the server and this side have no TLS version in common"]);
        has(&server, &["the client and this side have no TLS version in common"]);
    }
    let speaks = Server::builder(issued().identity()).alpn(["h2"]).build().expect("a server");
    let offers = Client::builder(authority().roots()).alpn(["smtp"]).build().expect("a client");
    let (client, server) = meet(offers.session("server.test").expect("a session"), session(speaks));
    has(&client, &["the server speaks none of the application protocols (ALPN) that were offered"]);
    has(&server, &["the client offers none of the application protocols (ALPN) that are spoken here"]);
}

/// What is sent to a server or a client instead of TLS, whole and byte by byte.
#[test]
fn what_is_no_tls_is_named() {
    let cases: [(&[u8], bool, &str); 10] = [
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            true,
            "the client speaks plain HTTP to a TLS port: it should ask for https://",
        ),
        (b"POST /x HTTP/1.1\r\n", true, "plain HTTP"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", true, "PROXY protocol header"),
        (b"SSH-2.0-OpenSSH_9\r\n", true, "the client speaks SSH"),
        (b"\0\0\0\0 nonsense and more", true, "the client does not speak TLS: it begins with"),
        (b"HTTP/1.1 400 Bad Request\r\n", false, "the server speaks plain HTTP on this port"),
        (b"220 mail ESMTP\r\n", false, "STARTTLS"),
        (b"SSH-2.0-OpenSSH_9\r\n", false, "the server speaks SSH"),
        (b"\x16\x03\x01\xff\xff and so on", true, "the client sent a TLS"),
        (b"\x16\x03\x03\0\x05hello", false, "the server "),
    ];
    for (bytes, to_server, expected) in cases {
        for grain in [1, 3, bytes.len()] {
            let mut line = Line::new(client().session("server.test").expect("a session"), session(server()));
            let end = if to_server { &mut line.server } else { &mut line.client };
            for part in bytes.chunks(grain) {
                end.arrived.append(part).expect("memory");
                end.work(usize::MAX);
            }
            has(&end.alert_of(), &[expected]);
            assert_eq!(end.error.as_ref().expect("an error").errno().0, 71, "EPROTO");
        }
    }
    // One byte that cannot be TLS, and the end.
    let mut line = Line::new(client().session("server.test").expect("a session"), session(server()));
    line.server.arrived.append(b"G").expect("memory");
    line.server.work(usize::MAX);
    assert_eq!(line.server.error, None);
    line.server.wire_ended = true;
    line.server.work(usize::MAX);
    has(&line.server.alert_of(), &["does not speak TLS: it begins with \"G\""]);
}

/// The wire ends after every byte of a handshake and an exchange: exactly one error, but for the one place where TLS ends.
#[test]
fn a_cut_after_every_byte_is_an_error_and_what_came_before_is_whole() {
    for version in Version::ALL {
        let client = Client::builder(authority().roots()).versions(&[version]).without_resumption().build();
        let (client, server) = (client.expect("a client"), server());
        // A whole one first: how many bytes each way.
        let play = |cut: usize, of_client: bool| {
            let mut line = Line::new(
                client.session("server.test").expect("a session"),
                server.session().expect("a session"),
            );
            line.client.write(b"question");
            line.server.write(b"answer");
            (line.client.finishing, line.server.finishing) = (true, true);
            let mut left = [usize::MAX; 2];
            left[usize::from(!of_client)] = cut;
            let mut carried = [0; 2];
            loop {
                let mut moved = line.client.work(usize::MAX);
                moved |= line.server.work(usize::MAX);
                let before = [line.client.leaving.len(), line.server.leaving.len()];
                moved |= carry(&mut line.client, &mut line.server, left[0].min(before[0]));
                moved |= carry(&mut line.server, &mut line.client, left[1].min(before[1]));
                for (at, end) in [&line.client, &line.server].into_iter().enumerate() {
                    let now = before[at] - end.leaving.len();
                    (left[at], carried[at]) = (left[at].saturating_sub(now), carried[at] + now);
                }
                if !moved {
                    break;
                }
                if left.contains(&0) {
                    // The cut wire gives an end; the other one goes on.
                    if of_client {
                        line.server.wire_ended = true
                    } else {
                        line.client.wire_ended = true
                    }
                    line.client.leaving.drain(if of_client { usize::MAX } else { 0 }).expect("it is there");
                    line.server.leaving.drain(if of_client { 0 } else { usize::MAX }).expect("it is there");
                }
            }
            (line, carried)
        };
        let (whole, carried) = play(usize::MAX, true);
        assert_eq!((&whole.client.input[..], &whole.server.input[..]), (&b"answer"[..], &b"question"[..]));
        for of_client in [true, false] {
            let all = carried[usize::from(!of_client)];
            assert!(all > 250, "{all} bytes are no handshake");
            for cut in 1..=all + 1 {
                let (line, _) = play(cut, of_client);
                let (end, wants) =
                    if of_client { (&line.server, &b"question"[..]) } else { (&line.client, &b"answer"[..]) };
                let told = format!(
                    "{version}, {cut} of {all} of the {}",
                    if of_client { "client" } else { "server" }
                );
                let text = end.alert_of();
                assert_eq!(end.tls.has_ended() as u8 + end.error.is_some() as u8, 1, "{told}: {text}");
                assert!(end.tls.has_ended() == (end.input == wants && text.is_empty()), "{told}: {text}");
                assert!(wants.starts_with(&end.input), "{told}");
                if end.error.is_some() {
                    has(
                        &text,
                        &[if end.tls.is_established() {
                            "no close_notify"
                        } else {
                            "hung up during the TLS handshake"
                        }],
                    );
                }
            }
        }
    }
}

#[test]
fn a_wire_that_just_ends_may_be_allowed() {
    let server = Server::builder(issued().identity()).allow_truncation().build().expect("a server");
    let mut line = Line::connected(client().session("server.test").expect("a session"), session(server));
    line.client.write(b"all");
    line.run(usize::MAX, usize::MAX);
    line.server.wire_ended = true;
    line.server.work(usize::MAX);
    assert!(line.server.tls.has_ended() && line.server.error.is_none());
    assert_eq!(line.server.input, b"all");
}

/// Bytes changed on the way, anywhere: an error, or (in what nobody looks at) nothing; never a panic or other bytes.
#[test]
fn changed_bytes_never_arrive() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (client, server) = (client(), server());
    for round in 0..400 {
        let mut line = Line::new(
            client.session("server.test").expect("a session"),
            server.session().expect("a session"),
        );
        line.client.write(b"question");
        line.server.write(b"answer");
        (line.client.finishing, line.server.finishing) = (round % 2 == 0, round % 3 == 0);
        let mut until = random(3000);
        for _ in 0..200 {
            line.client.work(usize::MAX);
            line.server.work(usize::MAX);
            for back in [false, true] {
                let (from, to) = if back {
                    (&mut line.server, &mut line.client)
                } else {
                    (&mut line.client, &mut line.server)
                };
                let mut bytes = from.leaving.remove_vec(from.leaving.len()).expect("it is there");
                if until < bytes.len() {
                    bytes[until] ^= 1 << random(8);
                    until = random(3000);
                } else {
                    until -= bytes.len();
                }
                to.arrived.append(&bytes).expect("memory");
            }
        }
        assert!(b"question".starts_with(&line.server.input) && b"answer".starts_with(&line.client.input));
    }
}

/// After its own end a side still reads; garbage then is an error like any other.
#[test]
fn garbage_after_our_end_is_an_error() {
    for garbage in [
        &b"\x17\x03\x03\0\x20 nothing that could be decrypted"[..],
        b"garbage that is no record",
        &[21, 3, 3, 0, 0],
    ] {
        let mut line =
            Line::connected(client().session("server.test").expect("a session"), session(server()));
        line.server.finishing = true;
        line.run(usize::MAX, usize::MAX);
        line.server.arrived.append(garbage).expect("memory");
        line.server.work(usize::MAX);
        assert!(line.server.error.is_some());
        line.server.work(usize::MAX);
    }
}
