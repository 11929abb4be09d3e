//! The names our object exports: those of libevent's headers, six more that programs call, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Without a header, and used all the same: by what event_rpcgen.py makes, mostly.
const INTERNAL: [&str; 6] = [
    "evtag_decode_int",
    "evtag_decode_int64",
    "evtag_encode_tag",
    "evtag_decode_tag",
    "event_warn",
    "event_warnx",
];

fn exported(object: &Path) -> BTreeSet<String> {
    let output =
        Command::new("nm").args(["-D", "--defined-only"]).arg(object).output().expect("nm is installed");
    assert!(output.status.success(), "nm: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect()
}

#[test]
fn every_public_name_is_exported_and_nothing_else() {
    let public = include_str!("../data/public-symbols.txt").lines().map(str::to_owned);
    // libevent_openssl is an object of its own.
    let wanted: BTreeSet<String> = public
        .chain(INTERNAL.map(str::to_owned))
        .filter(|name| !name.contains("openssl") && name != "bufferevent_ssl_renegotiate")
        .collect();
    assert_eq!(wanted.len(), 456 - 7 + 6);
    let exported = exported(&duolu_conform::ours().object);
    let missing: Vec<_> = wanted.difference(&exported).collect();
    assert!(missing.is_empty(), "not exported: {missing:?}");
    let more: Vec<_> = exported.difference(&wanted).filter(|name| !name.starts_with("duolu_")).collect();
    assert!(more.is_empty(), "exported, and no name of libevent's: {more:?}");
}

#[test]
fn the_object_says_it_is_libevent() {
    let object = &duolu_conform::ours().object;
    let output =
        Command::new("readelf").args(["-d", "-W"]).arg(object).output().expect("readelf is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Library soname: [libevent-2.1.so.7]"), "{text}");
    for library in ["libssl", "libcrypto"] {
        assert!(!text.contains(library), "nobody else needs {library}: {text}");
    }
}
