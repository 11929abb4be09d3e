//! The same machine through ss(8), which asks the same kernel with another program.

use crate::kit::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const CONNECTIONS: usize = 5_000;

/// Own end, other end, pid and descriptor.
type Line = (String, String, Option<(u64, u64)>);

/// Counts by state of the sockets on a port, and the lines they were counted from.
struct Ss {
    counts: BTreeMap<&'static str, u64>,
    sockets: BTreeSet<Line>,
}

impl Ss {
    fn count(&self, state: &str) -> u64 {
        self.counts.get(state).copied().unwrap_or(0)
    }
}

fn ss(port: u16, flags: &str) -> Ss {
    let filter = [format!("( sport = :{port} or dport = :{port} )")];
    let output = Command::new("ss").args([flags, "-H"]).args(filter).output();
    let output = output.expect("ss (iproute2) runs; make tools installs it");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut counts = BTreeMap::new();
    let mut sockets = BTreeSet::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [state, _, _, local, remote, ..] = fields[..] else { panic!("{line}") };
        let number = |key: &str| {
            let at = line.find(key)? + key.len();
            line[at..].split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
        };
        let owner = number("pid=").zip(number("fd="));
        // ss, too, may be told of one socket twice while others come and go.
        if sockets.insert((local.to_owned(), remote.to_owned(), owner)) {
            *counts.entry(rfc_name(state)).or_insert(0) += 1;
        }
    }
    Ss { counts, sockets }
}

fn rfc_name(state: &str) -> &'static str {
    match state {
        "LISTEN" => "LISTEN",
        "SYN-SENT" => "SYN-SENT",
        "SYN-RECV" => "SYN-RECEIVED",
        "ESTAB" => "ESTABLISHED",
        "FIN-WAIT-1" => "FIN-WAIT-1",
        "FIN-WAIT-2" => "FIN-WAIT-2",
        "CLOSE-WAIT" => "CLOSE-WAIT",
        "CLOSING" => "CLOSING",
        "LAST-ACK" => "LAST-ACK",
        "TIME-WAIT" => "TIME-WAIT",
        other => panic!("a state of ss that is not known here: {other}"),
    }
}

/// Nothing moves: every count, and every socket with its process and descriptor.
fn agrees(port: u16) -> Value {
    // A child that a neighbour has begun holds copies of all descriptors until it becomes its own program.
    let mut outcome = compare(port);
    for _ in 0..20 {
        if outcome.is_ok() {
            break;
        }
        outcome = compare(port);
    }
    outcome.unwrap_or_else(|difference| panic!("{difference}"))
}

fn compare(port: u16) -> Result<Value, String> {
    let by_ss = ss(port, "-tanp");
    let json = json(&format!(":{port}"));
    for (state, count) in json["counts"].as_object().expect("counts") {
        if count.as_u64() != Some(by_ss.count(state)) {
            return Err(format!("{state}: {count}, and {} by ss", by_ss.count(state)));
        }
    }
    let told = json["sockets"].as_array().expect("sockets").iter().map(|socket| {
        let text = |key: &str| socket[key].as_str().expect("text").to_owned();
        let owner = socket["pid"].as_u64().zip(socket["fd"].as_u64());
        (text("local"), text("remote"), owner)
    });
    let told: BTreeSet<_> = told.collect();
    let differ: Vec<_> = told.symmetric_difference(&by_ss.sockets).take(5).collect();
    if differ.is_empty() { Ok(json) } else { Err(format!("{differ:?}")) }
}

/// While `change` goes on, which only ever raises the count of `rising` and lowers that of `falling`: what `states`
/// counts lies between what ss counts just before and just after. At least three such samples.
fn between(port: u16, rising: &str, falling: Option<&str>, change: impl FnOnce(&AtomicBool) + Send) {
    let looked = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| change(&looked));
        let mut samples = 0;
        while !changing.is_finished() || samples < 3 {
            let before = ss(port, "-tan");
            let now = json(&format!(":{port}"));
            let after = ss(port, "-tan");
            let range = before.count(rising)..=after.count(rising);
            assert!(range.contains(&count(&now, rising)), "{rising}: {} in {range:?}", count(&now, rising));
            if let Some(falling) = falling {
                let range = after.count(falling)..=before.count(falling);
                assert!(
                    range.contains(&count(&now, falling)),
                    "{falling}: {} in {range:?}",
                    count(&now, falling)
                );
            }
            samples += 1;
            looked.store(samples >= 3, Ordering::Relaxed);
        }
    });
}

/// One thing done to each, not faster than somebody can look on.
fn each<T>(all: impl Iterator<Item = T>, looked: &AtomicBool, mut action: impl FnMut(T)) {
    for (at, one) in all.enumerate() {
        action(one);
        if at % 50 == 0 && !looked.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn every_count_agrees_while_5000_connections_open_and_close() {
    let limit = duolu_sys::process::raise_descriptor_limit().expect("RLIMIT_NOFILE");
    let needed = 2 * CONNECTIONS as u64 + 500;
    assert!(limit.soft >= needed, "this test holds {needed} descriptors; raise the hard limit (ulimit -Hn)");
    let stage = Stage::new();
    let port = stage.port;
    let mut pairs: Vec<(TcpStream, TcpStream)> = Vec::with_capacity(CONNECTIONS);

    between(port, "ESTABLISHED", None, |looked| each(0..CONNECTIONS, looked, |_| pairs.push(stage.pair())));
    let all = 2 * CONNECTIONS as u64;
    let open = agrees(port);
    assert_eq!((count(&open, "ESTABLISHED"), count(&open, "LISTEN")), (all, 1));

    // The clients close their half; loopback hands FIN and its ACK over within the call.
    between(port, "CLOSE-WAIT", Some("ESTABLISHED"), |looked| {
        each(pairs.iter(), looked, |(client, _)| client.shutdown(Shutdown::Write).expect("shutdown"));
    });
    until("all halves closed", || (ss(port, "-tan").count("FIN-WAIT-2") == all / 2).then_some(()));
    let half = agrees(port);
    assert_eq!((count(&half, "FIN-WAIT-2"), count(&half, "CLOSE-WAIT")), (all / 2, all / 2));

    let (clients, servers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    between(port, "TIME-WAIT", Some("CLOSE-WAIT"), |looked| each(servers.into_iter(), looked, drop));
    drop(clients);
    until("all closed", || (ss(port, "-tan").count("TIME-WAIT") == all / 2).then_some(()));
    let closed = agrees(port);
    assert_eq!(count(&closed, "TIME-WAIT"), all / 2);
    assert_eq!(closed["sockets"].as_array().map(Vec::len), Some(CONNECTIONS + 1));
}

#[test]
fn ipv6_agrees_too_and_families_are_told_apart() {
    let stage = Stage::on("::1");
    let (client, _server) = stage.pair();
    let json = agrees(stage.port);
    let own = socket(&json, client.local_addr().unwrap());
    assert_eq!((own["family"].as_u64(), own["role"].as_str()), (Some(6), Some("client")));
    assert_eq!(count(&crate::kit::json(&format!(":{} -6", stage.port)), "ESTABLISHED"), 2);
    assert_eq!(count(&crate::kit::json(&format!("[::1]:{}", stage.port)), "ESTABLISHED"), 2);
    let none = states(&format!(":{} -4", stage.port));
    assert_eq!(none.code, Some(0), "{}", none.stderr);
    assert!(none.stdout.starts_with("0 TCP sockets"), "{}", none.stdout);
}
