//! TLS at both sides: one proxy speaks it to the other, each with a PROXY header ahead.

use crate::kit::{accept, proxy, read_all, upstream};
use crate::pattern::pattern;
use crate::server::{connect, duolu, eventually};
use duolu::proxy_protocol::{Parsed, USUAL_MAX_BYTES, kind, parse};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;

crate::for_each_model!(both_sides_speak_tls_and_half_closes_go_through);

/// A certificate of its own making and its key, as files that go away with it.
pub struct Files(PathBuf);

impl Files {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("duolu-proxy-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let made = rcgen::generate_simple_self_signed(["proxy.test".to_owned()]).expect("a certificate");
        std::fs::write(dir.join("cert.pem"), made.cert.pem()).expect("a file");
        std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        Files(dir)
    }
    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// client - TCP -> proxy - PROXY header, TLS -> proxy - PROXY header of its own, TCP -> upstream
fn both_sides_speak_tls_and_half_closes_go_through(model: &str) {
    let files = Files::new(model);
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let (listener, address) = upstream();
    let inner = ["--to", &address, "--tls-cert", &certificate, "--tls-key", &key, "--tls-alpn", "duolu/1"];
    let inner = proxy(model, &[&inner[..], &["--proxy-in", "require", "--proxy-out", "v2"]].concat());
    let to = inner.address.to_string();
    let outer = ["--to", &to, "--to-tls", "proxy.test", "--to-ca", &certificate, "--tls-alpn", "duolu/1"];
    let outer = proxy(model, &[&outer[..], &["--proxy-out", "v1"]].concat());

    let client = connect(outer.address);
    let own = client.local_addr().expect("an address");
    let (up, down) = (pattern(3_000_000, 1), pattern(2_000_000, 2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&client).write_all(&up).expect("it is passed on");
            client.shutdown(Shutdown::Write).expect("an open socket");
        });
        let answer = scope.spawn(|| read_all(&client));
        let mut upstream = accept(&listener);
        let mut got = Vec::new();
        upstream.read_to_end(&mut got).expect("all of it, and the end");
        let Ok(Parsed::Complete(header, bytes)) = parse(&got, USUAL_MAX_BYTES) else { panic!("no header") };
        assert!(format!("{:?}", header.peer).contains(&own.to_string()), "{header:?}");
        assert_eq!(header.tlvs.get(kind::AUTHORITY), Some(&b"proxy.test"[..]));
        assert_eq!(header.tlvs.get(kind::ALPN), Some(&b"duolu/1"[..]));
        assert_eq!(header.tlvs.get(kind::SSL), Some(&b"\x01\0\0\0\x01\x21\0\x07TLSv1.3"[..]));
        assert!(got[bytes..] == up);
        upstream.write_all(&down).expect("the other way is open");
        drop(upstream);
        let (got, was_reset) = answer.join().expect("no panic");
        assert!(got == down && !was_reset);
    });
}

#[test]
fn what_goes_wrong_is_said() {
    let files = Files::new("wrong");
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let (_listener, address) = upstream();
    let inner = proxy("epoll-lt", &["--to", &address, "--tls-cert", &certificate, "--tls-key", &key]);
    let mut client = connect(inner.address);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it reads");
    assert_eq!(read_all(&client).0, b"");
    inner.has_said("the client speaks plain HTTP to a TLS port: it should ask for https://");

    // An upstream whose certificate is for another name is none, and the client is not left waiting.
    let to = inner.address.to_string();
    let outer = proxy("epoll-lt", &["--to", &to, "--to-tls", "other.test", "--to-ca", &certificate]);
    assert_eq!(read_all(&connect(outer.address)), (vec![], true));
    outer.has_said("the certificate of other.test is not for that name, but for proxy.test");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let files = Files::new("usage");
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let cases: [(&[&str], &str); 5] = [
        (&["--tls-cert", &certificate], "each --tls-cert needs its --tls-key"),
        (&["--tls-cert", &key, "--tls-key", &certificate], "key.pem holds a key, but no certificate"),
        (&["--tls-cert", "/nowhere.pem", "--tls-key", &key], "cannot read the certificate file /nowhere.pem"),
        (&["--to-ca", &certificate], "give --to-tls NAME too"),
        (&["--tls-alpn", "h2"], "--tls-alpn needs TLS"),
    ];
    for (options, expected) in cases {
        let mut command = duolu();
        command.args(["serve", "proxy", "--port", "0", "--to", "127.0.0.1:1"]).args(options);
        let output = eventually("it ends", || command.output().ok());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said:?} lacks {expected:?}");
    }
}
