//! Past the descriptor limit: server and loader under 600 descriptors hold thousands of connections, through as many
//! rings as it takes. Where io_uring is not available these tests fail, unless DUOLU_TEST_NO_URING=1 says that this is
//! known. The server may do without: in as many processes as it takes.

mod load_support;

use load_support::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// RLIMIT_NOFILE of both sides, and so the places of each ring.
const DESCRIPTORS: u32 = 600;

/// Waits, but not for ever, until the server has so many connections.
fn wait_until_established(server: SocketAddr, count: usize) {
    let local = format!(":{:04X}", server.port());
    let began = Instant::now();
    let established = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
        let is_one = |line: &&str| {
            let mut columns = line.split_ascii_whitespace().skip(1);
            columns.next().is_some_and(|at| at.ends_with(&local)) && columns.nth(1) == Some("01")
        };
        table.lines().filter(is_one).count()
    };
    while established() < count && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn skipped() -> bool {
    std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1")
}

/// `duolu serve echo` with so few descriptors.
struct Server {
    process: Owned,
    address: SocketAddr,
}

impl Server {
    fn start(variables: &[(&str, &str)]) -> Self {
        Server::start_with(variables, "--model io_uring")
    }

    fn start_with(variables: &[(&str, &str)], words: &str) -> Self {
        let script =
            format!("ulimit -n {DESCRIPTORS}; exec \"$0\" serve echo :0 {words} --json-ready --drain 1s");
        let mut child = Command::new("sh")
            .args(["-c", &script, duolu()])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            let _ = child.kill();
            let mut why = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut why);
            panic!("{error}: '{line}', stderr '{why}' (where io_uring is missing, set DUOLU_TEST_NO_URING=1)")
        });
        let address = ready["address"].as_str().expect("an address").parse().expect("an address");
        Server { process: Owned(child), address }
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.0.id())).expect("its descriptors").count()
    }

    fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// Asks it to end, and gives what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.process.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        let mut said = String::new();
        self.process.0.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        (self.process.0.wait().expect("it ends").code(), said)
    }
}

fn load_with(variables: &[(&str, &str)], words: &str) -> Output {
    let script = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" load {words}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, duolu()]).envs(variables.iter().copied());
    command.output().expect("sh runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        panic!("{error}: stdout '{out}' stderr '{err}'")
    })
}

#[test]
fn five_thousand_are_held_with_six_hundred_descriptors_on_each_side() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let before = server.descriptors();
    let target = server.address;
    let mut most = 0;
    let output = std::thread::scope(|scope| {
        let words = format!("{target} --speak echo -c 5000 -d 1s --timeout 20s --json");
        let run = scope.spawn(move || load_with(&[], &words));
        while !run.is_finished() {
            most = most.max(server.descriptors());
            std::thread::sleep(Duration::from_millis(5));
        }
        run.join().expect("the loader runs")
    });
    let json = json(&output);
    assert_eq!(json["established"], 5000, "{json}");
    assert_eq!(json["errors"], serde_json::json!({}), "{json}");
    assert!(json["messages"].as_u64() > Some(0), "a sample in the window: {json}");
    // 5,000 connections in tables of 600 places.
    assert_eq!(json["crowd"]["rings"], 9, "{json}");
    assert!(json["crowd"]["replies"].as_u64() >= Some(5000 / 128), "the marks, at least: {json}");
    assert!(most <= before + 24, "{before} descriptors without connections, {most} with 5,000");
    assert!(server.resident_bytes() < 64 << 20, "{}", server.resident_bytes());
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn every_connection_of_every_ring_answers_and_closes() {
    if skipped() {
        return;
    }
    // More than two tables, from here: each one is asked, twice, so none may have been forgotten at a border.
    let server = Server::start(&[]);
    let mut streams: Vec<TcpStream> = (0..1400)
        .map(|at| {
            let stream = TcpStream::connect(server.address).unwrap_or_else(|error| panic!("{at}: {error}"));
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            stream
        })
        .collect();
    for round in 0..2u32 {
        for (at, stream) in streams.iter_mut().enumerate() {
            let said = [(at as u32).to_be_bytes(), round.to_be_bytes()].concat();
            let mut heard = [0; 8];
            stream.write_all(&said).unwrap_or_else(|error| panic!("{at}: {error}"));
            stream.read_exact(&mut heard).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(heard[..], said, "connection {at}");
        }
    }
    for (at, mut stream) in streams.into_iter().enumerate() {
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or_else(|error| panic!("{at}: {error}")), 0);
    }
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn coming_and_going_over_several_rings_leaks_nothing() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut after_first = None;
    for round in 0..4 {
        let json =
            json(&load_with(&[], &format!("{} -c 2000 -d 100ms --timeout 20s --json", server.address)));
        assert_eq!((&json["established"], &json["errors"]), (&2000.into(), &serde_json::json!({})), "{json}");
        // The rings after the first are closed when somebody comes next; their connections are gone at once.
        let asked = Instant::now();
        let mut probe = TcpStream::connect(server.address).expect("connected");
        probe.write_all(b"?").and_then(|()| probe.read_exact(&mut [0])).expect("answered");
        drop(probe);
        while server.descriptors() > 30 && asked.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(server.descriptors() <= 30, "round {round}: {} descriptors", server.descriptors());
        let resident = server.resident_bytes();
        let first = *after_first.get_or_insert(resident);
        assert!(
            resident < first + (8 << 20),
            "round {round}: {resident} bytes resident, {first} after the first"
        );
    }
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn the_loader_stops_at_the_wall_of_memory_and_names_it() {
    if skipped() {
        return;
    }
    // More is to stay free than any machine has: the wall is met at the first look.
    let server = Server::start(&[]);
    let output =
        load_with(&[("DUOLU_KEEP_FREE", "900GiB")], &format!("{} -c 5000 -d 200ms --json", server.address));
    let json = json(&output);
    assert_eq!(output.status.code(), Some(0), "{json}");
    assert_eq!(json["wall"]["name"], "memory", "{json}");
    let held = json["established"].as_u64().expect("a number");
    assert!((600..5000).contains(&held), "{json}");
    assert_eq!(json["errors"], serde_json::json!({}), "in good order: {json}");
    assert!(json["wall"]["fix"].as_str().is_some_and(|fix| fix.contains("DUOLU_KEEP_FREE")), "{json}");
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_server_short_of_memory_takes_no_more_and_says_why() {
    if skipped() {
        return;
    }
    let server = Server::start(&[("DUOLU_KEEP_FREE", "900GiB")]);
    let output = load_with(&[], &format!("{} -c 5000 -d 200ms --timeout 2s --json", server.address));
    let json = json(&output);
    let held = json["established"].as_u64().expect("a number");
    assert!((600..5000).contains(&held), "{json}");
    assert!(errors(&json, "not_accepted") > 0, "{json}");
    assert_eq!(errors(&json, "wrong_bytes"), 0, "{json}");
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("wall memory") && said.contains("are left alone"), "{said}");
}

#[test]
fn a_server_that_dies_under_a_crowd_is_named_and_ends_the_run() {
    if skipped() {
        return;
    }
    let mut server = Server::start(&[]);
    let (pid, target) = (server.process.0.id(), server.address);
    let began = Instant::now();
    let output = std::thread::scope(|scope| {
        let run =
            scope.spawn(move || load_with(&[], &format!("{target} -c 3000 -d 60s --timeout 20s --json")));
        wait_until_established(target, 3000);
        std::thread::sleep(Duration::from_millis(700));
        server.process.0.kill().expect("it is ours");
        server.process.0.wait().expect("it ends");
        run.join().expect("the loader runs")
    });
    let (json, said) = (json(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(1), "{json} {said}");
    assert!(
        began.elapsed() < Duration::from_secs(50),
        "with no connection left there is nothing to wait for"
    );
    assert!(said.contains(&format!("process {pid} (duolu), is gone")), "{said}");
    assert_eq!(
        (&json["wall"]["name"], &json["established"]),
        (&"the server ended".into(), &0.into()),
        "{json}"
    );
    assert_eq!(errors(&json, "reset") + errors(&json, "closed_early"), 3000, "{json}");
}

#[test]
fn compare_above_the_descriptor_limit_marks_its_figures_as_sampled() {
    if skipped() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("duolu-million-{}", std::process::id()));
    let compare = |words: &str| {
        let script =
            format!("ulimit -n {DESCRIPTORS}; exec \"$0\" compare --models io_uring -d 300ms {words}");
        Command::new("sh").args(["-c", &script, duolu()]).output().expect("sh runs")
    };
    let out = folder.to_str().expect("UTF-8");
    let output = compare(&format!("--connections 100,2000 --color never -o {out}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("-°") && text.contains("°  sampled: beyond the loader's descriptors"), "{text}");
    assert!(text.contains("From 2,000 connections on (°)"), "{text}");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    let (result, csv, html) = (read("result.json"), read("result.csv"), read("report.html"));
    let _ = std::fs::remove_dir_all(&folder);
    let result: Value = serde_json::from_str(&result).expect("an object");
    let cells = result["results"].as_array().expect("cells");
    let full = &cells[0];
    assert!(full["sampled"] == false && full["rate"].as_f64() > Some(0.0), "{full}");
    let sampled = &cells[1];
    assert!(
        sampled["sampled"] == true && sampled["rate"].is_null() && sampled["limited_by"].is_null(),
        "{sampled}"
    );
    assert_eq!((&sampled["established"], &sampled["wall"]), (&2000.into(), &Value::Null), "{sampled}");
    assert!(sampled["p99_us"].as_f64() > Some(0.0), "{sampled}");
    let last = |line: &str| line.rsplit(',').next().map(str::to_owned);
    let column: Vec<_> = csv.lines().filter_map(last).collect();
    assert_eq!(column, ["sampled", "false", "true"], "{csv}");
    assert!(html.contains("one connection at a time exchanges, chosen at random"));
    // What it cannot judge it does not let pass.
    let output = compare("--connections 2000 --expect 'rate>1 conns>=2000'");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("rate>1 does not hold") && said.contains("a random one at a time"), "{said}");
}

/// The same crowd against epoll, in as many processes as it takes.
const PROCESSES: &str = "--model epoll-lt --processes";

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[test]
fn epoll_in_as_many_processes_as_it_takes_holds_a_crowd_too() {
    if skipped() {
        return;
    }
    // 499 for each of 600 descriptors are counted on.
    let server = Server::start_with(&[], &format!("{PROCESSES} --max-connections 4000"));
    let workers = children(server.process.0.id());
    assert_eq!(workers.len(), 9);
    let target = server.address;
    let json = json(&load_with(&[], &format!("{target} --speak echo -c 4000 -d 1s --timeout 20s --json")));
    assert_eq!((&json["established"], &json["errors"]), (&4000.into(), &serde_json::json!({})), "{json}");
    assert!(json["messages"].as_u64() > Some(0), "a sample in the window: {json}");
    assert!(json["crowd"]["server_rss_bytes"].as_u64() < Some(128 << 20), "{json}");
    assert_eq!(json["crowd"]["server_processes"], 10, "its workers, and their parent: {json}");
    assert_eq!(server.end().0, Some(0));
    assert!(workers.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}/fd/0")).exists()));
}

#[test]
fn a_worker_that_is_full_is_named_and_its_queue_is_not_held() {
    if skipped() {
        return;
    }
    // Three of 600 descriptors for 2,500: those that they cannot accept wait in queues that are not one another's.
    let server = Server::start_with(&[], &format!("{PROCESSES} --workers 3 --quiet"));
    let target = server.address;
    let json = json(&load_with(&[], &format!("{target} -c 2500 -d 500ms --timeout 2s --json")));
    let (held, left) = (json["established"].as_u64().expect("a number"), errors(&json, "not_accepted"));
    assert!((1500..1800).contains(&held), "{json}");
    assert_eq!(held + left + errors(&json, "timeout"), 2500, "{json}");
    assert_eq!(json["wall"]["name"], "server descriptor limit", "{json}");
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_worker_that_dies_under_a_crowd_takes_its_share_along_and_no_more() {
    if skipped() {
        return;
    }
    let server = Server::start_with(&[], &format!("{PROCESSES} --workers 8 --quiet"));
    let (target, workers) = (server.address, children(server.process.0.id()));
    let output = std::thread::scope(|scope| {
        let run =
            scope.spawn(move || load_with(&[], &format!("{target} -c 2400 -d 3s --timeout 20s --json")));
        wait_until_established(target, 2400);
        std::thread::sleep(Duration::from_millis(300));
        let victim = rustix::process::Pid::from_raw(workers[0] as i32).expect("a process number");
        rustix::process::kill_process(victim, rustix::process::Signal::KILL).expect("a worker of our server");
        run.join().expect("the loader runs")
    });
    let json = json(&output);
    assert_eq!(output.status.code(), Some(0), "seven of eight still serve: {json}");
    let lost = errors(&json, "reset") + errors(&json, "closed_early");
    assert!((150..450).contains(&lost), "about an eighth: {json}");
    assert_eq!(json["established"], 2400 - lost, "{json}");
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("process {} was killed by signal 9", workers[0])), "{said}");
}
