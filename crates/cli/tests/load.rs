//! `duolu load` against servers that are right, and against servers that are wrong in known ways.

mod load_support;
#[path = "support/metric.rs"]
mod metric;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use load_support::*;
use metric::metric;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Decodes the histogram.
fn histogram(json: &Value) -> Histogram<u64> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(json["histogram"].as_str().expect("a string"))
        .expect("base64");
    Deserializer::new().deserialize(&mut &bytes[..]).expect("HDR V2")
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let (address, _) = echo();
    let code = |script: &str| {
        let words = format!("load {address} -c 2 -d 50ms -q");
        let script = format!("exec \"$0\" {words} {script}");
        Command::new("sh").args(["-c", &script, duolu()]).output().expect("sh runs")
    };
    for output in ["", "--json", "--json-stream"] {
        let full = code(&format!("{output} >/dev/full"));
        assert_eq!(full.status.code(), Some(3), "'{output}'");
        assert!(String::from_utf8_lossy(&full.stderr).contains("cannot write the result"), "{full:?}");
    }
    let script = format!("{{ \"$0\" load {address} -c 2 -d 50ms -q; echo $? >&2; }} | true");
    let gone = Command::new("sh").args(["-c", &script, duolu()]).output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&gone.stderr), "0\n", "a reader that has gone away is no failure");
}

#[test]
fn churn_that_gets_no_reply_is_nothing_measured() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port"); // and nobody accepts
    let address = listener.local_addr().expect("its address");
    let run = load(&format!("{address} --churn -c 3 -d 300ms --timeout 150ms"));
    assert_eq!(run.code, Some(3), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("nothing could be measured"), "{}", run.stderr);
}

#[test]
fn a_right_echo_gives_no_error_and_counts_that_add_up() {
    let (address, failures) = echo();
    let json = load_json(&format!("{address} -c 40 -d 1s -t 2 --payload 100"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    for (field, value) in [
        ("schema", 1),
        ("connections", 40),
        ("active", 40),
        ("established", 40),
        ("payload_bytes", 100),
        ("threads", 2),
        ("reconnects", 0),
    ] {
        assert_eq!(json[field], value, "{field}");
    }
    let messages = json["messages"].as_u64().expect("messages");
    assert!(messages >= 40, "{messages}");
    assert_eq!(json["bytes"], messages * 100);
    let histogram = histogram(&json);
    assert_eq!(histogram.len(), messages);
    assert_eq!(json["histogram_unit"], "ns");
    for (field, quantile) in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999)] {
        assert_eq!(json[field].as_f64(), Some(histogram.value_at_quantile(quantile) as f64 / 1e3), "{field}");
    }
    assert!(json["max_us"].as_f64() >= json["p999_us"].as_f64());
    assert!(json["rate"].as_f64().is_some_and(|rate| rate > 0.0 && rate <= messages as f64 * 1.1));
    assert!(json["connect_p50_us"].as_f64() <= json["connect_p99_us"].as_f64());
    assert!(json["loader_cpu"].as_f64().is_some_and(|cpu| (0.0..1.2).contains(&cpu)));
    assert!(json["loader_limited"].is_boolean() && json["interrupted"] == false);
    assert!(json["wall"].is_null() || json["wall"]["name"].is_string());
    assert_eq!(
        (json["target"].as_str(), json["speak"].as_str()),
        (Some(&*address.to_string()), Some("echo"))
    );
    // Every connection ended with a clean end of file, although none of them is in TIME-WAIT.
    assert_eq!(failures.load(Ordering::Relaxed), 0);
}

#[test]
fn payloads_from_one_byte_to_a_mebibyte_come_back() {
    let (address, _) = echo();
    for payload in ["1", "16KiB", "1MiB"] {
        let json = load_json(&format!("{address} -c 4 -d 400ms --payload {payload}"));
        assert_eq!(json["errors"], serde_json::json!({}), "{payload}: {json}");
        assert!(json["messages"].as_u64() > Some(0), "{payload}");
    }
}

#[test]
fn a_byte_changed_doubled_or_lost_is_found() {
    for (name, period, fault) in [
        ("changed", 1_000, (|reply: &mut Vec<u8>, at| reply[at] ^= 1) as fn(&mut Vec<u8>, usize)),
        ("doubled", 5_000, |reply, at| reply.insert(at, reply[at])),
        ("lost", 5_000, |reply, at| _ = reply.remove(at)),
    ] {
        let address = serve(move |_, stream| {
            let mut passed = 0;
            let _ = echo_with(stream, |reply| {
                let before = passed;
                passed += reply.len();
                if before / period < passed / period {
                    fault(reply, period - 1 - before % period);
                }
                true
            });
        });
        let json = load_json(&format!("{address} -c 8 -d 600ms --timeout 300ms"));
        // A lost byte shows in the next message, or, in a closed loop, in a reply that never becomes whole.
        let found = errors(&json, "wrong_bytes") + if name == "lost" { errors(&json, "timeout") } else { 0 };
        assert!(found > 0, "{name}: {json}");
        assert!(json["messages"].as_u64() > Some(8), "{name}: connections are opened again: {json}");
        assert!(
            json["first_error"].as_str().is_some_and(|what| name == "lost"
                || what.contains("expected")
                || what.contains("more than")),
            "{name}: {json}"
        );
        assert_eq!(histogram(&json).len(), json["messages"].as_u64().unwrap(), "{name}");
    }
}

#[test]
fn a_server_that_closes_in_the_middle_is_told_apart() {
    let address = serve(|_, stream| {
        let mut replies = 0;
        let _ = echo_with(stream, |reply| {
            replies += 1;
            if replies == 20 {
                reply.truncate(10);
            }
            replies < 20
        });
    });
    let json = load_json(&format!("{address} -c 5 -d 500ms"));
    assert!(errors(&json, "closed_early") > 0, "{json}");
    assert_eq!(errors(&json, "timeout"), 0, "{json}");
    assert!(json["reconnects"].as_u64() >= Some(errors(&json, "closed_early") - 5), "{json}");
}

#[test]
fn a_server_that_accepts_and_is_silent_is_a_timeout() {
    let held = Mutex::new(Vec::new());
    let address = serve(move |_, stream| held.lock().unwrap().push(stream));
    let run = load(&format!("{address} -c 5 -d 1s --timeout 300ms --json"));
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let json = run.json();
    assert_eq!(json["errors"], serde_json::json!({"timeout": 5}), "{json}");
    assert!(json["wall"].is_null(), "{json}");
    assert!(run.stderr.contains("nothing could be measured"), "{}", run.stderr);
}

#[test]
fn bad_usage_is_exit_code_2() {
    for words in ["192.0.2.1:80", "127.0.0.1", ":1 -c none", ":1 --payload 2MiB", ":1 --active 5 -c 4", ""] {
        let run = load(words);
        assert_eq!(run.code, Some(2), "{words}");
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{words}");
    }
    assert!(load("192.0.2.1:80").stderr.contains("--i-may-load-this-host"));
}

#[test]
fn open_loop_latency_counts_from_when_a_request_was_due() {
    // Answers at once, but stands still for 200 ms after its 500th message. Four connections at 1,000 a second: some
    // 200 of 2,000 requests fall due meanwhile, but only four are under way. (Few, so that a noisy machine, which
    // delays what is under way like any other stall, cannot fill the hundredth part that p99 leaves out.)
    let served = AtomicU64::new(0);
    let until = Mutex::new(None::<Instant>);
    let shared = Arc::new((served, until));
    let address = serve(move |_, stream| {
        let shared = shared.clone();
        let _ = echo_with(stream, |_| {
            if shared.0.fetch_add(1, Ordering::SeqCst) == 500 {
                *shared.1.lock().unwrap() = Some(Instant::now() + Duration::from_millis(200));
            }
            let until = *shared.1.lock().unwrap();
            if let Some(left) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
                std::thread::sleep(left);
            }
            true
        });
    });
    let json = load_json(&format!("{address} -c 4 -R 1000 -d 2s"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert_eq!((&json["mode"], due(&json)), (&Value::from("open"), 2_000), "{json}");
    assert_eq!(Some(histogram(&json).len()), json["messages"].as_u64(), "{json}");
    let corrected_us = json["p99_us"].as_f64().expect("p99");
    let uncorrected_us = json["uncorrected_p99_us"].as_f64().expect("uncorrected p99");
    assert!(corrected_us > 120_000.0, "{json}");
    assert!(uncorrected_us < corrected_us / 2.0, "{json}");
}

#[test]
fn only_the_active_connections_exchange_messages() {
    let counts = Arc::new(Mutex::new(HashMap::new()));
    let shared = counts.clone();
    let address = serve(move |number, stream| {
        let _ = echo_with(stream, |_| {
            *shared.lock().unwrap().entry(number).or_insert(0u64) += 1;
            true
        });
    });
    let json = load_json(&format!("{address} -c 30 --active 4 -d 500ms -t 2"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert_eq!((&json["established"], &json["active"]), (&Value::from(30), &Value::from(4)));
    let counts = counts.lock().unwrap();
    let busy: u64 = counts.values().filter(|&&count| count > 1).sum();
    assert_eq!(counts.len(), 30, "each connection proves itself with one message");
    assert_eq!(counts.values().filter(|&&count| count > 1).count(), 4);
    assert_eq!(busy - 4, json["messages"].as_u64().unwrap());
}

#[test]
fn connections_that_the_server_drops_are_no_longer_held() {
    let came = AtomicU64::new(0);
    let address = serve(move |number, stream| {
        came.fetch_add(1, Ordering::SeqCst);
        if number < 3 {
            while came.load(Ordering::SeqCst) < 12 {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(700)); // within the window, which begins when all are there
            return;
        }
        let _ = echo_with(stream, |_| true);
    });
    let json = load_json(&format!("{address} -c 12 --speak connect -d 2s"));
    assert_eq!(json["errors"], serde_json::json!({"closed_early": 3}), "{json}");
    assert_eq!((&json["established"], &json["mode"]), (&Value::from(9), &Value::from("hold")), "{json}");
    assert!(json["p50_us"].is_null() && json["messages"] == 0, "{json}");
}

#[test]
fn churn_opens_a_connection_for_each_message_and_leaves_no_time_wait() {
    let (address, failures) = echo();
    let json = load_json(&format!("{address} -c 5 --churn -d 700ms"));
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    let (messages, connects) = (json["messages"].as_u64().unwrap(), json["connects"].as_u64().unwrap());
    assert!(messages > 5 && connects >= messages && connects <= messages + 10, "{json}");
    assert!(json["connects_per_s"].as_f64().unwrap() > 5.0);
    assert_eq!(failures.load(Ordering::Relaxed), 0, "the server reads a clean end of file");
    let waits = time_waits(address.port());
    assert!(waits <= connects / 20, "{waits} of {connects} are in TIME-WAIT");
    let json = load_json(&format!("{address} -c 5 --churn -r 50 -d 1s"));
    assert_eq!((due(&json), &json["errors"]), (50, &serde_json::json!({})), "{json}");
}

/// So many were due by the rate; a busy machine leaves the last ones unsent, and says so.
fn due(json: &Value) -> u64 {
    let (sent, unsent) = (json["messages"].as_u64(), json["unsent"].as_u64());
    assert!(sent > unsent, "{json}");
    sent.zip(unsent).map_or(0, |(sent, unsent)| sent + unsent)
}

/// Sockets in TIME-WAIT whose far end is this port of 127.0.0.1.
fn time_waits(port: u16) -> u64 {
    let text = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let far_end = format!(":{port:04X}");
    let is_waiting = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|remote| remote.ends_with(&far_end)) && fields.next() == Some("06")
    };
    text.lines().skip(1).filter(is_waiting).count() as u64
}

#[test]
fn source_addresses_are_taken_in_turn() {
    let peers = Arc::new(Mutex::new(HashSet::new()));
    let shared = peers.clone();
    let address = serve(move |_, stream| {
        shared.lock().unwrap().insert(stream.peer_addr().expect("a peer").ip());
        let _ = echo_with(stream, |_| true);
    });
    let json =
        load_json(&format!("{address} -c 9 -d 200ms --source-addresses 127.0.0.2,127.0.0.7-127.0.0.8"));
    assert_eq!((&json["established"], &json["errors"]), (&Value::from(9), &serde_json::json!({})), "{json}");
    let expected = [2, 7, 8].map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last)));
    assert_eq!(*peers.lock().unwrap(), HashSet::from(expected));
}

#[test]
fn ctrl_c_prints_what_was_measured_until_then() {
    let served = Arc::new(AtomicU64::new(0));
    let counted = served.clone();
    let address = serve(move |_, stream| {
        let _ = echo_with(stream, |_| counted.fetch_add(1, Ordering::SeqCst) < u64::MAX);
    });
    for (words, json) in [("--json", true), ("", false)] {
        let child = Command::new(duolu())
            .args(["load", &address.to_string(), "-c", "5", "-d", "60s"])
            .args(words.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("duolu runs");
        // The first five messages prove the connections; a hundred more, and it is in its window.
        let enough = served.load(Ordering::SeqCst) + 105;
        let patience = Instant::now();
        while served.load(Ordering::SeqCst) < enough && patience.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let killed =
            Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(130));
        let stdout = String::from_utf8(output.stdout).unwrap();
        if json {
            let json: Value = serde_json::from_str(&stdout).expect("one object");
            assert_eq!(json["interrupted"], true);
            assert!(
                json["messages"].as_u64() > Some(0) && json["duration_s"].as_f64() < Some(50.0),
                "{json}"
            );
            assert_eq!(histogram(&json).len(), json["messages"].as_u64().unwrap());
        } else {
            assert!(stdout.contains("INTERRUPTED"), "{stdout}");
        }
    }
}

#[test]
fn a_stream_of_json_is_an_object_a_second_and_the_whole_at_the_end() {
    let (address, _) = echo();
    let run = load(&format!("{address} -c 4 -t 2 -d 2500ms --json-stream"));
    let lines: Vec<Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    // A machine that stands still for a second may swallow a line.
    assert!((2..=3).contains(&lines.len()), "{}", run.stdout);
    let (whole, seconds) = lines.split_last().expect("lines");
    for (at, line) in seconds.iter().enumerate() {
        assert_eq!(
            (&line["second"], &line["established"]),
            (&Value::from(at + 1), &Value::from(4)),
            "{line}"
        );
        assert!(line["messages"].as_u64() > Some(0), "{line}");
    }
    let streamed: u64 = seconds.iter().filter_map(|line| line["messages"].as_u64()).sum();
    assert!(whole["messages"].as_u64() > Some(streamed));
    assert_eq!(histogram(whole).len(), whole["messages"].as_u64().unwrap());
}

#[test]
fn expectations_that_do_not_hold_are_exit_code_1() {
    let (address, _) = echo();
    let run = load(&format!("{address} -c 4 -d 200ms --expect conns>=4,errors=0,p50<1m,messages>0"));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let run = load(&format!("{address} -c 4 -d 200ms --expect conns>=5,errors=0,p50<1us"));
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.starts_with("duolu: conns>=5 does not hold: it is 4; p50<1us does not hold"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("latency"), "the report is printed all the same");
    assert_eq!(load(":1 --expect speed>9").code, Some(2));
}

#[test]
fn the_report_reads_well() {
    let (address, _) = echo();
    let run = load(&format!("{address} -c 4 -d 300ms --color never"));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "no progress where stderr is no terminal");
    for word in [
        "4 connections",
        "messages",
        "latency",
        "p99.9",
        "connect",
        "held       4 of 4",
        "loader",
        "errors     none",
    ] {
        assert!(run.stdout.contains(word), "'{word}' in\n{}", run.stdout);
    }
    assert!(!run.stdout.contains('\x1b'));
}

/// An echo of ours in a process of its own, that a test may kill; where it serves, and where it tells.
fn server_process() -> (Owned, SocketAddr, SocketAddr) {
    let mut child = Command::new(duolu())
        .args(["serve", "echo", ":0", "--json-ready", "--quiet", "--admin", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("duolu runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its line");
    let ready: Value = serde_json::from_str(&line).expect("an object");
    let address = |name: &str| ready[name].as_str().expect("an address").parse().expect("an address");
    (Owned(child), address("address"), address("admin"))
}

#[test]
fn a_server_that_dies_while_it_is_loaded_is_named_and_is_no_success() {
    for (words, held) in [("-c 20", true), ("-c 20 --active 0", true), ("-c 5 --churn", false)] {
        let (mut server, address, admin) = server_process();
        let pid = server.0.id();
        let run = std::thread::scope(|scope| {
            let run = scope.spawn(move || load(&format!("{address} {words} -d 2s --json")));
            // All have had their first answer: the window begins.
            let began = Instant::now();
            while metric(admin, "duolu_messages_total") < 20 && began.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(500));
            server.0.kill().expect("it is ours");
            server.0.wait().expect("it ends");
            run.join().expect("the loader runs")
        });
        assert_eq!(run.code, Some(1), "{words}: {}{}", run.stdout, run.stderr);
        let said = [
            &format!("process {pid} (duolu), is gone"),
            &format!("nobody listens any more on {address}")[..],
        ]
        .map(|part| run.stderr.contains(part));
        assert_eq!(said, [true; 2], "{words}: {}", run.stderr);
        let json = run.json();
        assert_eq!(json["wall"]["name"], "the server ended", "{words}: {json}");
        let lost = errors(&json, "reset") + errors(&json, "closed_early");
        assert!(lost >= if held { 20 } else { 0 } && all_errors(&json) > 0, "{words}: {json}");
        assert_eq!(json["interrupted"], false, "{words}: {json}");
        assert!(words.contains("--active") || json["messages"].as_u64() > Some(0), "{words}: {json}");
    }
}

#[test]
fn a_stream_that_nobody_reads_any_more_ends_the_run() {
    let (address, _) = echo();
    let mut child = Command::new(duolu())
        .args(["load", &address.to_string(), "-c", "2", "-d", "120s", "--json-stream"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("duolu runs");
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    assert!(line.contains("\"second\":1"), "{line}");
    drop(reader);
    let since = Instant::now();
    let mut child = Owned(child);
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("its state") {
            break status;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "it runs on for nobody");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0), "a reader that has gone away is no failure");
}
