//! Wrong files and wrong wishes are told when it is configured, and what to do.

use crate::ca::{Authority, authority, issued};
use duolu::tls::{Client, Identity, Roots, Server};

fn refused<T: std::fmt::Debug>(outcome: Result<T, duolu::tls::ConfigError>) -> String {
    outcome.expect_err("it is wrong").to_string()
}

#[test]
fn certificates_and_keys_that_are_wrong() {
    let (one, other) = (issued().clone(), authority().issue(&["other.test"]));
    let cases = [
        (
            &*one.certificate,
            &*other.key,
            "the key does not belong to the first certificate in the certificate",
        ),
        (&one.key, &one.certificate, "the certificate holds a key, but no certificate"),
        (
            &one.certificate,
            &one.certificate,
            "the key holds a certificate, but no key: were the two files swapped?",
        ),
        (
            "",
            &one.key,
            "the certificate holds no certificate in PEM: one begins with -----BEGIN CERTIFICATE-----",
        ),
        (&one.certificate, "", "the key holds no private key in PEM"),
        (
            &one.certificate,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "encrypted with a passphrase",
        ),
        (&one.certificate[..200], &one.key, "the certificate is damaged: it ends in the middle"),
        (
            "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
            &one.key,
            "is damaged: what stands between BEGIN and END is not base64",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &one.key,
            "the certificate cannot be used: it is no X.509 certificate",
        ),
        (
            &one.certificate,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "the key is of a kind that is not supported",
        ),
    ];
    for (certificate, key, expected) in cases {
        let said = refused(Server::from_pem(certificate, key));
        assert!(said.contains(expected), "{said:?} lacks {expected:?}");
    }
}

#[test]
fn files_are_named() {
    let dir = std::env::temp_dir().join(format!("duolu-tls-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name));
    std::fs::write(&certificate, &issued().certificate).expect("a file");
    std::fs::write(&key, &issued().key).expect("a file");
    Server::from_files(&certificate, &key).expect("both are right");
    let said = refused(Server::from_files(dir.join("none.pem"), &key));
    assert!(said.contains("none.pem: No such file"), "{said}");
    let said = refused(Identity::from_files(&dir, &key));
    assert!(said.contains("it is a directory"), "{said}");
    let said = refused(Identity::from_files(&key, &key));
    assert!(said.contains("the certificate file") && said.contains("key.pem holds a key"), "{said}");
    let said = refused(Roots::from_file(&key));
    assert!(said.contains("the root certificate file"), "{said}");
    Roots::from_file(&certificate).expect("a certificate");
    std::fs::remove_dir_all(&dir).expect("ours");
}

#[test]
fn wishes_that_make_no_sense() {
    let server = || Server::builder(issued().identity());
    assert!(refused(server().alpn([""]).build()).contains("1 to 255 bytes, not of 0"));
    assert!(refused(server().versions(&[]).build()).contains("at least one"));
    let client = Client::builder(authority().roots()).build().expect("a client");
    for name in ["", "https://server.test/", "server.test:443", "a b"] {
        let said = client.session(name).err().expect("no name").to_string();
        assert!(said.contains("neither a host name nor an IP address"), "{said}");
    }
}

#[test]
fn an_identity_does_not_print_its_key() {
    assert_eq!(format!("{:?}", Authority::new("x").issue(&["a.test"]).identity()), "Identity([\"a.test\"])");
}
