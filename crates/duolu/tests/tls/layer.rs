//! The layer by itself: in order, whole, at any granularity.

use crate::ca::{authority, client, issued, server};
use crate::wire::{End, Line, carry, pattern};
use duolu::stream::Layer;
use duolu::tls::{Client, Server, Tls, Version};

fn both() -> (Tls, Tls) {
    (client().session("server.test").expect("a session"), server().session().expect("a session"))
}

fn of_version(version: Version) -> (Client, Server) {
    let client = Client::builder(authority().roots()).versions(&[version]).build();
    let server = Server::builder(issued().identity()).versions(&[version]).build();
    (client.expect("a client"), server.expect("a server"))
}

#[test]
fn bytes_pass_both_ways_at_any_granularity() {
    for version in Version::ALL {
        let (client, server) = of_version(version);
        for (grain, limit) in
            [(1, 1), (1, usize::MAX), (3, 7), (1000, 100), (16_384, 16_384), (usize::MAX, usize::MAX)]
        {
            let mut line = Line::new(
                client.session("server.test").expect("a session"),
                server.session().expect("a session"),
            );
            let (there, back) = (
                pattern(if grain < 10 { 2_000 } else { 200_000 }),
                pattern(if grain < 10 { 1_001 } else { 40_001 }),
            );
            line.client.write(&there);
            line.server.write(&back);
            line.run(grain, limit);
            assert_eq!((&line.client.error, &line.server.error), (&None, &None), "{version} {grain}");
            assert!(line.server.input == there && line.client.input == back, "{version} {grain} {limit}");
            assert_eq!(line.client.tls.info().expect("established").version, version);
        }
    }
}

#[test]
fn records_of_one_byte_and_of_the_largest_size() {
    for version in Version::ALL {
        let (client, server) = of_version(version);
        let mut line = Line::connected(
            client.session("server.test").expect("a session"),
            server.session().expect("a session"),
        );
        let all = pattern(3 * 16_384 + 300);
        for byte in &all[..300] {
            line.client.write(&[*byte]);
            line.client.work(usize::MAX);
        }
        line.client.write(&all[300..]);
        line.run(usize::MAX, usize::MAX);
        assert!(line.server.input == all);
    }
}

/// Half-closed in TLS: one way has ended, the other goes on; and the end comes once.
#[test]
fn one_way_ends_and_the_other_goes_on() {
    for version in Version::ALL {
        let (client, server) = of_version(version);
        let mut line = Line::connected(
            client.session("server.test").expect("a session"),
            server.session().expect("a session"),
        );
        line.client.write(b"the question");
        line.client.finishing = true;
        line.run(1, usize::MAX);
        assert_eq!(line.server.input, b"the question");
        assert!(line.server.tls.has_ended() && !line.client.tls.has_ended());
        line.server.write(&pattern(100_000));
        line.run(usize::MAX, 999);
        line.server.finishing = true;
        line.run(usize::MAX, 999);
        assert!(line.client.input == pattern(100_000) && line.client.tls.has_ended());
        let sent = line.client.leaving.len();
        line.run(usize::MAX, usize::MAX);
        assert_eq!((sent, line.client.leaving.len()), (0, 0), "the end goes out once");
        // The wire may end now, and nothing is missing.
        (line.client.wire_ended, line.server.wire_ended) = (true, true);
        line.run(usize::MAX, usize::MAX);
        assert_eq!((&line.client.error, &line.server.error), (&None, &None), "{version}");
    }
}

/// Finished before the handshake was over: it all comes about by itself.
#[test]
fn what_is_written_and_ended_before_the_handshake_arrives() {
    let (client, server) = both();
    let mut line = Line::new(client, server);
    line.client.write(b"early");
    line.client.finishing = true;
    line.run(1, usize::MAX);
    assert_eq!(line.server.input, b"early");
    assert!(line.server.tls.has_ended());
}

#[test]
fn what_there_is_no_room_for_is_kept_and_told_of() {
    let (client, server) = both();
    let mut line = Line::connected(client, server);
    line.client.write(&pattern(50_000));
    line.client.work(usize::MAX);
    carry(&mut line.client, &mut line.server, usize::MAX);
    let End { tls, arrived, pool, .. } = &mut line.server;
    let mut plain = duolu::buffer::Buffer::new();
    let mut got = Vec::new();
    let mut rounds = 0;
    while tls.holds_plain() || rounds == 0 {
        tls.decode(arrived, &mut plain, pool, 4096, false).expect("in order");
        got.extend(plain.remove_vec(plain.len()).expect("it is there"));
        rounds += 1;
    }
    assert!(got == pattern(50_000), "{}", got.len());
    assert_eq!(rounds, 50_000_usize.div_ceil(4096));
    // With no room at all it says that it has some.
    line.client.write(b"more");
    line.client.work(usize::MAX);
    carry(&mut line.client, &mut line.server, usize::MAX);
    let End { tls, arrived, pool, .. } = &mut line.server;
    tls.decode(arrived, &mut plain, pool, 0, false).expect("in order");
    assert!(tls.holds_plain() && plain.is_empty());
    tls.decode(arrived, &mut plain, pool, 4, false).expect("in order");
    assert_eq!(plain.front(), b"more");
}

#[test]
fn the_end_comes_after_what_there_was_no_room_for() {
    let (client, server) = both();
    let mut line = Line::connected(client, server);
    line.client.write(b"the last words");
    line.client.finishing = true;
    line.client.work(usize::MAX);
    carry(&mut line.client, &mut line.server, usize::MAX);
    let End { tls, arrived, pool, .. } = &mut line.server;
    let mut plain = duolu::buffer::Buffer::new();
    for _ in 0..13 {
        tls.decode(arrived, &mut plain, pool, 1, true).expect("in order");
        assert!(!tls.has_ended());
    }
    tls.decode(arrived, &mut plain, pool, 1, true).expect("in order");
    tls.decode(arrived, &mut plain, pool, 1, true).expect("in order");
    assert!(tls.has_ended() && plain.front() == b"the last words");
}

#[test]
fn info_tells_what_was_agreed_upon() {
    let server = Server::builder(issued().identity()).alpn(["h2", "http/1.1"]).build().expect("a server");
    let client = Client::builder(authority().roots()).alpn(["http/1.1", "h2"]).build().expect("a client");
    for resumed in [false, true] {
        let mut line = Line::new(
            client.session("Server.Test").expect("a session"),
            server.session().expect("a session"),
        );
        assert!(line.client.tls.info().is_none() && line.server.tls.info().is_none());
        line.run(usize::MAX, usize::MAX);
        let (ours, theirs) = (line.client.tls.info().expect("info"), line.server.tls.info().expect("info"));
        assert_eq!(ours.version, Version::Tls13);
        assert!(ours.cipher_suite.starts_with("TLS13_"), "{}", ours.cipher_suite);
        assert_eq!((ours.alpn.as_deref(), theirs.alpn.as_deref()), (Some(&b"h2"[..]), Some(&b"h2"[..])));
        assert_eq!(ours.server_name.as_deref(), Some("Server.Test"));
        assert_eq!(theirs.server_name.as_deref(), Some("server.test"));
        assert_eq!(ours.peer_certificates.len(), 1);
        assert!(theirs.peer_certificates.is_empty());
        assert_eq!((ours.resumed, theirs.resumed), (resumed, resumed));
    }
}

#[test]
fn resumption_can_be_left_out() {
    for version in Version::ALL {
        let server = Server::builder(issued().identity())
            .versions(&[version])
            .without_resumption()
            .build()
            .expect("a server");
        let client = Client::builder(authority().roots()).build().expect("a client");
        for _ in 0..2 {
            let line = Line::connected(
                client.session("server.test").expect("a session"),
                server.session().expect("a session"),
            );
            assert!(!line.client.tls.info().expect("info").resumed);
        }
    }
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let authority = authority();
    let [first, wild] =
        [authority.issue(&["first.test", "first.example"]), authority.issue(&["*.wild.test"])];
    let server = Server::builder(first.identity()).identity(wild.identity()).build().expect("a server");
    assert_eq!(wild.identity().names(), ["*.wild.test"]);
    for (name, right) in [
        ("first.test", true),
        ("first.example", true),
        ("a.wild.test", true),
        ("B.Wild.Test", true),
        ("a.b.wild.test", false), // a wildcard is one label
        ("wild.test", false),
    ] {
        let mut line =
            Line::new(client().session(name).expect("a session"), server.session().expect("a session"));
        line.run(usize::MAX, usize::MAX);
        assert_eq!(line.client.error.is_none(), right, "{name}: {:?}", line.client.error);
    }
}

#[test]
fn addresses_are_verified_too() {
    for (name, right) in [("127.0.0.1", true), ("::1", true), ("[::1]", true), ("127.0.0.2", false)] {
        let mut line =
            Line::new(client().session(name).expect("a session"), server().session().expect("a session"));
        line.run(usize::MAX, usize::MAX);
        assert_eq!(line.client.error.is_none(), right, "{name}: {:?}", line.client.error);
    }
}

#[test]
fn clients_may_have_to_show_who_they_are() {
    let (authority, clients) = (authority(), crate::ca::Authority::new("the clients'"));
    let known = clients.for_clients();
    let asked = Server::builder(issued().identity()).ask_for_client_certificate(clients.roots());
    let required = Server::builder(issued().identity()).require_client_certificate(clients.roots());
    let anonymous = Client::builder(authority.roots());
    let named = Client::builder(authority.roots()).identity(known.identity());
    for (server, client, shown, served) in [
        (&asked, &anonymous, 0, true),
        (&asked, &named, 1, true),
        (&required, &anonymous, 0, false),
        (&required, &named, 1, true),
    ] {
        let mut line = Line::new(
            client.clone().build().expect("a client").session("server.test").expect("a session"),
            server.clone().build().expect("a server").session().expect("a session"),
        );
        line.run(usize::MAX, usize::MAX);
        assert_eq!(line.server.error.is_none(), served, "{:?}", line.server.error);
        if served {
            assert_eq!(line.server.tls.info().expect("info").peer_certificates.len(), shown);
        } else {
            assert_eq!(line.server.alert_of(), "the client showed no certificate, and one is required of it");
            let said = line.client.alert_of();
            assert!(said.contains("the server requires a certificate of the client"), "{said}");
        }
    }
}

/// Idle, a session keeps no buffer.
#[test]
fn nothing_is_left_in_the_buffers() {
    let (client, server) = both();
    let mut line = Line::connected(client, server);
    line.client.write(&pattern(100_000));
    line.run(usize::MAX, usize::MAX);
    for end in [&line.client, &line.server] {
        assert_eq!((end.arrived.capacity(), end.leaving.capacity(), end.output.capacity()), (0, 0, 0));
        assert!(!end.tls.holds_plain() && !end.tls.has_to_send());
    }
}
