//! What is told of each connection, against what the test did to it.

use crate::kit::*;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The lines that are no explanations, without the run of blanks.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn line_with(text: &str, part: &str) -> String {
    let all = lines(text);
    all.iter().find(|line| line.contains(part)).cloned().unwrap_or_else(|| panic!("no {part} in {all:#?}"))
}

/// The notes' own scenario: nc, Ctrl-D, and then the server closes too.
#[test]
fn the_two_ends_of_a_connection_are_one_line_through_its_whole_end() {
    let stage = Stage::new();
    let (client, server) = stage.pair();
    let port = stage.port;
    let (own, me) = (client.local_addr().unwrap(), std::process::id());
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let holder = |fd: i32| format!("{} {me}/{fd}", name.trim_end());
    let (left, right) = (holder(client.as_raw_fd()), holder(server.as_raw_fd()));
    let text = || states(&format!(":{port}")).stdout;

    let shown = text();
    let expected = format!("ESTABLISHED {own} {left} → ESTABLISHED 127.0.0.1:{port} {right}");
    assert!(line_with(&shown, &own.to_string()).starts_with(&expected), "{shown}");
    assert!(line_with(&shown, "LISTEN 127").ends_with("0 of 128"), "{shown}");
    assert!(shown.starts_with(&format!("3 TCP sockets on :{port}: LISTEN 1, ESTABLISHED 2\n")), "{shown}");

    client.shutdown(Shutdown::Write).expect("shutdown");
    let shown = until("the half close", || Some(text()).filter(|text| text.contains("FIN-WAIT-2")));
    let expected = format!("FIN-WAIT-2 {own} {left} → CLOSE-WAIT 127.0.0.1:{port} {right} client ");
    assert!(line_with(&shown, &own.to_string()).starts_with(&expected), "{shown}");
    assert!(line_with(&shown, "this stays until").starts_with("CLOSE-WAIT"), "{shown}");
    let json = json(&format!(":{port} --wide"));
    let (ours, theirs) = (socket(&json, own), socket(&json, server.local_addr().unwrap()));
    assert!(theirs["local"] == format!("127.0.0.1:{port}"));
    assert_eq!(
        (ours["who_closed_first"].as_str(), theirs["who_closed_first"].as_str()),
        (Some("local"), Some("remote"))
    );
    assert_eq!(
        (ours["peer"]["state"].as_str(), ours["peer"]["fd"].as_i64()),
        (Some("CLOSE-WAIT"), Some(server.as_raw_fd().into()))
    );
    assert_eq!(
        (ours["shut"]["writing"].as_bool(), ours["shut"]["reading"].as_bool()),
        (Some(true), Some(false))
    );

    drop(server);
    drop(client);
    let shown = until("the end", || Some(text()).filter(|text| text.contains("TIME-WAIT")));
    let expected = format!("TIME-WAIT {own} closed → gone 127.0.0.1:{port} client ");
    assert!(line_with(&shown, &own.to_string()).starts_with(&expected), "{shown}");
    let json = stage.json();
    let ours = socket(&json, own);
    assert!(ours["age_ms"].as_u64().is_some_and(|age| age < 30_000), "{ours}");
    assert_eq!((ours["age_at_least"].as_bool(), ours["pid"].as_u64()), (Some(false), None));
}

#[test]
fn figures_are_those_of_the_socket_itself() {
    let stage = Stage::new();
    let (mut client, server) = stage.pair();
    client.write_all(&[7; 1000]).expect("written");
    let json = json(&format!(":{} --wide", stage.port));
    let (ours, theirs) =
        (socket(&json, client.local_addr().unwrap()), socket(&json, server.local_addr().unwrap()));
    let info = duolu_sys::tcp_diag::tcp_info(&client).expect("TCP_INFO");
    assert_eq!(ours["mss"].as_u64(), Some(info.snd_mss.into()));
    assert_eq!(ours["advmss"].as_u64(), Some(info.advmss.into()));
    assert_eq!(ours["pmtu"].as_u64(), Some(info.pmtu.into()));
    assert_eq!(ours["cwnd"].as_u64(), Some(info.cwnd.into()));
    assert_eq!(ours["snd_wnd"].as_u64(), info.snd_wnd.map(u64::from));
    assert_eq!(ours["wscale"]["snd"].as_u64(), info.snd_wscale.map(u64::from));
    assert_eq!(ours["rtt_us"].as_u64(), info.rtt_us.map(u64::from));
    assert_eq!((ours["bytes_sent"].as_u64(), theirs["bytes_received"].as_u64()), (Some(1000), Some(1000)));
    assert_eq!((theirs["recv_q"].as_u64(), ours["recv_q"].as_u64()), (Some(1000), Some(0)));
    let wide = states(&format!(":{} --wide", stage.port)).stdout;
    assert!(line_with(&wide, "→").contains(" 0|1000/0 "), "{wide}");
    for head in ["RTT", "MSS", "WINDOW", "PMTU", "SCALE", "CWND"] {
        assert!(line_with(&wide, "CLIENT").contains(head), "{wide}");
    }
}

#[test]
fn the_age_of_close_wait_is_the_time_since_the_fin_came() {
    let stage = Stage::new();
    let (client, server) = stage.pair();
    std::thread::sleep(Duration::from_millis(300));
    client.shutdown(Shutdown::Write).expect("shutdown");
    let closed = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let before = closed.elapsed();
    let json = stage.json();
    let theirs = socket(&json, server.local_addr().unwrap());
    let age = Duration::from_millis(theirs["age_ms"].as_u64().expect("an age"));
    // The kernel counts in jiffies of up to 10 ms.
    let tick = Duration::from_millis(20);
    assert!(age + tick >= before && age <= closed.elapsed() + tick, "{age:?}, {before:?}");
    assert_eq!(theirs["age_at_least"].as_bool(), Some(false), "nothing was ever sent: {theirs}");
}

#[test]
fn what_nobody_accepted_is_told_and_so_is_a_full_queue() {
    let stage = Stage::new();
    let waiting: Vec<_> = (0..3).map(|_| stage.client()).collect();
    let json = stage.json();
    let listener =
        &json["sockets"].as_array().unwrap().iter().find(|socket| socket["state"] == "LISTEN").unwrap();
    assert_eq!((listener["recv_q"].as_u64(), listener["send_q"].as_u64()), (Some(3), Some(128)));
    let not_accepted =
        json["sockets"].as_array().unwrap().iter().filter(|socket| socket["accepted"] == false);
    assert_eq!(not_accepted.count(), 3);
    let text = states(&format!(":{}", stage.port)).stdout;
    assert_eq!(lines(&text).iter().filter(|line| line.contains("not accepted")).count(), 3, "{text}");
    drop(waiting);
}

#[test]
fn a_socket_of_several_descriptors_says_so() {
    let stage = Stage::new();
    let (client, _server) = stage.pair();
    let copy = client.try_clone().expect("dup");
    let json = stage.json();
    let ours = socket(&json, client.local_addr().unwrap());
    let fds: Vec<i64> =
        ours["owners"].as_array().unwrap().iter().filter_map(|owner| owner["fd"].as_i64()).collect();
    let mut expected = vec![i64::from(client.as_raw_fd()), i64::from(copy.as_raw_fd())];
    expected.sort_unstable();
    assert_eq!(fds, expected);
    let text = states(&format!(":{}", stage.port)).stdout;
    assert!(line_with(&text, "→").contains(" +1 → "), "{text}");
}

#[test]
fn filters_leave_out_and_keep_the_other_end_in_view() {
    let stage = Stage::new();
    let (client, server) = stage.pair();
    let (_open, _accepted) = stage.pair();
    client.shutdown(Shutdown::Write).expect("shutdown");
    let port = stage.port;
    until("the half close", || (count(&stage.json(), "CLOSE-WAIT") == 1).then_some(()));
    for filter in ["close-wait", "CLOSE_WAIT", "closewait,listen --pid 1 --process none"] {
        let json = json(&format!(":{port} --state {filter}"));
        let expected = if filter.contains("--pid") { 0 } else { 1 };
        assert_eq!(json["sockets"].as_array().map(Vec::len), Some(expected), "{filter}");
        assert_eq!(count(&json, "ESTABLISHED"), 0);
    }
    let text = states(&format!(":{port} -s CLOSE-WAIT")).stdout;
    assert!(text.starts_with(&format!("1 TCP socket on :{port}: CLOSE-WAIT 1\n")), "{text}");
    assert!(line_with(&text, "→").starts_with("FIN-WAIT-2"), "{text}");
    let json = json(&format!("127.0.0.1:{port} --pid {} -4", std::process::id()));
    assert_eq!(json["sockets"].as_array().map(Vec::len), Some(5));
    let few = states(&format!(":{port} -n 1 -q")).stdout;
    let rows =
        lines(&few).iter().filter(|line| line.contains('→') && line.contains(&format!(":{port} "))).count();
    assert_eq!(rows, 1, "{few}");
    assert!(
        few.contains("More connections: FIN-WAIT-2 → CLOSE-WAIT 1; -n 0 shows all.")
            && !few.contains("both ends may send"),
        "{few}"
    );
    let none = states(&format!(":{port} --process nobody"));
    assert_eq!(none.code, Some(0), "{}", none.stderr);
    assert!(
        none.stdout.contains("The filter takes none of the 5 sockets that are there."),
        "{}",
        none.stdout
    );
    drop(server);
}

#[test]
fn it_reads_in_chinese() {
    let stage = Stage::new();
    let (_client, _server) = stage.pair();
    let port = stage.port;
    let chosen = states(&format!(":{port} --lang zh"));
    let by_locale = command(&format!(":{port}")).env("LC_ALL", "zh_CN.UTF-8").output().expect("duolu runs");
    for run in [chosen, Run::of(by_locale)] {
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(
            run.stdout.starts_with(&format!(":{port} 上有 3 个 TCP 套接字：LISTEN 1，ESTABLISHED 2\n")),
            "{}",
            run.stdout
        );
        assert!(line_with(&run.stdout, "客户端").contains("服务器"), "{}", run.stdout);
        assert!(line_with(&run.stdout, "连接已建立").starts_with("ESTABLISHED"), "{}", run.stdout);
    }
}
