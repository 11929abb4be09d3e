//! `duolu compare` with servers that are not ours, with several mixes and repeats, and with input that goes wrong.

mod compare_support;

use base64::Engine;
use compare_support::*;
use duolu_sys::child::signal;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The environment variable that makes this test program an echo server.
const PORT: &str = "DUOLU_TEST_ECHO_PORT";
/// And that makes it end after so many milliseconds of serving.
const DIES_AFTER_MS: &str = "DUOLU_TEST_ECHO_DIES_AFTER_MS";

/// No test: the server that the tests put on the ladder. A thread for each connection, the standard library only.
#[test]
fn helper_echo_server() {
    let Ok(port) = std::env::var(PORT) else { return };
    let listener = TcpListener::bind(("127.0.0.1", port.parse::<u16>().expect("a port"))).expect("bind");
    let mut connections = listener.incoming().flatten();
    let first = connections.next().expect("a connection");
    if let Ok(time) = std::env::var(DIES_AFTER_MS) {
        let time = Duration::from_millis(time.parse().expect("milliseconds"));
        thread::spawn(move || {
            thread::sleep(time);
            eprintln!("fatal: the echo ran out of breath");
            std::process::exit(7);
        });
    }
    for stream in std::iter::once(first).chain(connections) {
        thread::spawn(move || echo(stream));
    }
}

fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 4096];
    while let Ok(got) = stream.read(&mut buffer) {
        if got == 0 || stream.write_all(&buffer[..got]).is_err() {
            return;
        }
    }
}

/// The words that start it.
fn own_echo(more: &[&str]) -> Vec<String> {
    let me = std::env::current_exe().expect("this test");
    let port = format!("{PORT}={{port}}");
    let mut words = vec!["env", &port];
    words.extend(more);
    words.extend([me.to_str().expect("a plain path"), "--exact", "helper_echo_server", "--nocapture"]);
    words.into_iter().map(str::to_owned).collect()
}

/// `compare OPTIONS -- COMMAND`, to its end.
fn compare_own(options: &str, command: &[String]) -> Output {
    let options: Vec<&str> = options.split_whitespace().collect();
    run(compare(&options).arg("--").args(command))
}

fn shell(options: &str, script: &str) -> Output {
    compare_own(options, &["sh", "-c", script].map(str::to_owned))
}

fn number(cell: &Value, field: &str) -> f64 {
    cell[field].as_f64().unwrap_or_else(|| panic!("no {field}: {cell}"))
}

#[test]
fn an_own_server_is_one_more_line_in_every_mix_and_payload() {
    let output = compare_own(
        "--models epoll-et --mix all,idle,churn --payload 64,2KiB -c 20 -d 200ms --name mine --json",
        &own_echo(&[]),
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    assert_eq!(report["asked"]["models"], serde_json::json!(["epoll-et", "mine"]));
    assert_eq!(report["asked"]["own"][0]["name"], "mine");
    assert!(report["asked"]["own"][0]["origin"].as_str().unwrap().contains("{port}"));
    for name in ["epoll-et", "mine"] {
        let cells = cells(&report, name);
        let blocks: Vec<(&str, u64, u64)> = cells
            .iter()
            .map(|cell| {
                let count = |field: &str| cell[field].as_u64().expect("a number");
                (cell["mix"].as_str().expect("a mix"), count("payload_bytes"), count("active"))
            })
            .collect();
        let expected = [
            ("all", 64, 20),
            ("all", 2048, 20),
            ("idle", 64, 2),
            ("idle", 2048, 2),
            ("churn", 64, 20),
            ("churn", 2048, 20),
        ];
        assert_eq!(blocks, expected, "{name}");
        for cell in cells {
            assert!(cell["wall"].is_null() && cell["errors"] == 0, "{cell}");
            for field in ["rate", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "server_cpu_us_per_msg"]
            {
                assert!(number(cell, field) > 0.0, "{field}: {cell}");
            }
            assert!(number(cell, "server_bytes_per_conn") >= 0.0);
        }
    }
}

#[test]
fn repeats_take_turns_with_new_servers_and_give_medians() {
    let words = ["--models", "thread,poll", "--repeats", "3", "-c", "10", "-d", "150ms", "--json"];
    let output = run(&mut compare(&words));
    let report = json(&output);
    for name in ["thread", "poll"] {
        let cell = cells(&report, name)[0];
        let runs = cell["runs"].as_array().expect("the runs");
        let mut rates: Vec<f64> = runs.iter().map(|run| number(run, "rate")).collect();
        rates.sort_by(f64::total_cmp);
        assert_eq!((rates.len(), cell["repeats"].as_u64()), (3, Some(3)));
        assert_eq!(number(cell, "rate"), rates[1], "the median");
        let spread = (rates[2] - rates[0]) / rates[1];
        assert!((number(cell, "spread") - spread).abs() < 1e-9);
        assert!((number(&cell["spreads"], "rate") - spread).abs() < 1e-9);
        // The latencies of all three are in the histogram.
        let text = cell["histogram"].as_str().expect("a histogram");
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        let all: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("HDR V2");
        assert_eq!(Some(all.len()), cell["messages"].as_u64());
    }
    // One after the other, then again: the order in which they began is told on stderr.
    let order: Vec<String> = said(&output)
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|word| word == "thread" || word == "poll")
        .collect();
    assert_eq!(order, ["thread", "poll", "thread", "poll", "thread", "poll"]);
}

#[test]
fn a_server_that_runs_already_is_measured_and_left_alone() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_duolu"));
    server.args(["serve", "echo", "--port", "0", "--json-ready", "--quiet"]).stdout(Stdio::piped());
    let mut server = Background(server.spawn().expect("a server"));
    let mut line = String::new();
    let stdout = server.0.stdout.take().expect("its stdout");
    BufReader::new(stdout).read_line(&mut line).expect("ready");
    let address = serde_json::from_str::<Value>(&line).expect("JSON")["address"].clone();
    let address = address.as_str().expect("an address");
    let words = ["--models", "none", "--target", address, "--name", "running", "-c", "30", "-d", "300ms"];
    let output = run(compare(&words).arg("--json"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    let cell = cells(&report, "running")[0];
    assert_eq!(cell["established"], 30);
    assert!(number(cell, "server_cpu_us_per_msg") > 0.0, "its process was found by its socket: {cell}");
    assert_eq!(cell["server_memory"]["processes"], 1);
    assert_eq!(report["asked"]["own"][0]["origin"], address);
    assert!(server.0.try_wait().expect("its state").is_none(), "it still runs");
    TcpStream::connect(address).expect("and serves");
}

#[test]
fn a_target_is_this_machine_and_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let free = listener.local_addr().expect("address").to_string();
    drop(listener);
    for (words, code, hint) in [
        (vec!["--target", &free], 3, "nobody listens on"),
        (vec!["--target", "192.0.2.1:80"], 2, "not this machine"),
        (vec!["--target", ":1", "--", "x", "{port}"], 2, "one of them"),
        (vec!["--name", "mine"], 2, "your own server"),
        (vec!["--models", "none"], 2, "COMMAND {port}"),
        (vec!["--speak", "memcached"], 2, "no model of ours speaks it"),
    ] {
        let output = run(&mut compare(&words));
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        assert!(said(&output).contains(hint), "{words:?}: {}", said(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_walls_of_an_own_server_are_named_by_the_same_readers() {
    let duolu = env!("CARGO_BIN_EXE_duolu");
    let command = [duolu, "serve", "echo", "--port", "{port}"].map(str::to_owned);
    let output =
        compare_own("--models none -c 20,200 --server-nofile 64 -d 200ms --name mine --json", &command);
    assert_eq!(output.status.code(), Some(0), "a wall is a result: {output:?}");
    let report = json(&output);
    let cells = cells(&report, "mine");
    assert!(cells[0]["wall"].is_null(), "{}", cells[0]);
    assert_eq!(cells[1]["wall"]["name"], "server descriptor limit", "{}", cells[1]);
    assert!(cells[1]["wall"]["evidence"].as_str().unwrap().contains("of 64"), "{}", cells[1]);
}

#[test]
fn a_command_that_does_not_serve_is_told_why_and_the_models_are_kept() {
    let quick = "--models poll -c 5 -d 150ms --json --start-timeout 700ms";
    for (script, hints) in [
        ("echo not today >&2; sleep 60; : {port}", vec!["did not listen on port", "within 1 s", "not today"]),
        ("echo no config >&2; exit 7; : {port}", vec!["ended with code 7 before it listened", "no config"]),
        ("kill -9 $$; : {port}", vec!["was killed"]),
    ] {
        let output = shell(quick, script);
        assert_eq!(output.status.code(), Some(3), "{script}: {output:?}");
        hints.iter().for_each(|hint| assert!(said(&output).contains(hint), "{hint}: {}", said(&output)));
        let report = json(&output);
        assert_eq!(cells(&report, "poll").len(), 1, "what could be measured was");
        assert_eq!(report["unavailable"].as_object().map(serde_json::Map::len), Some(1));
    }
    let missing = compare_own(quick, &["./no-such-server", "{port}"].map(str::to_owned));
    assert_eq!(missing.status.code(), Some(3));
    assert!(said(&missing).contains("no such program"), "{}", said(&missing));
    let without = compare_own(quick, &["./server", "8080"].map(str::to_owned));
    assert_eq!(without.status.code(), Some(2));
    assert!(said(&without).contains("has no {port}") && without.stdout.is_empty(), "{}", said(&without));
}

#[test]
fn a_command_on_another_port_or_in_the_background_is_told_what_to_do() {
    let echo = own_echo(&[]).join(" ").replace("{port}", "$port");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("address").port();
    drop(listener);
    let quick = "--models none -c 5 -d 150ms --start-timeout 6s";
    let output = shell(quick, &format!(": {{port}}; port={port}; exec {echo}"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said(&output).contains(&format!("but on port {port}: put {{port}}")), "{}", said(&output));
    // What goes into the background is ended all the same.
    let folder = Folder::new("background");
    let pid = folder.path("pid");
    let script = format!("port={{port}}; setsid {echo} & echo $! > {pid}");
    let output = shell(quick, &script);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said(&output).contains("went into the background"), "{}", said(&output));
    let pid = fs::read_to_string(pid).expect("its pid").trim().parse().expect("a number");
    wait_until_gone(&[pid]);
}

#[test]
fn a_port_that_is_taken_meanwhile_is_tried_again() {
    let folder = Folder::new("taken");
    let mark = folder.path("tried");
    let echo = own_echo(&[]).join(" ");
    let script = format!(
        "if [ ! -e {mark} ]; then : > {mark}; echo 'bind: Address already in use' >&2; exit 1; fi; exec {echo}"
    );
    let output = shell("--models none -c 5 -d 150ms --name mine --json", &script);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(cells(&json(&output), "mine")[0]["wall"].is_null());
}

#[test]
fn an_own_server_that_dies_is_named_and_its_results_are_kept() {
    let folder = Folder::new("dies");
    let options = format!("--models poll -c 5 -d 1500ms --name mine -o {}", folder.path("out"));
    let output = compare_own(&options, &own_echo(&[&format!("{DIES_AFTER_MS}=500")]));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = said(&output);
    assert!(said.contains("mine ended by itself at 5 connections") && said.contains("code 7"), "{said}");
    assert!(said.contains("out of breath"), "{said}");
    assert!(printed(&output).contains("■ the server ended"), "{}", printed(&output));
    let text = fs::read_to_string(folder.path("out/result.json")).expect("the result");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert!(cells(&report, "poll")[0]["wall"].is_null());
    assert_eq!(cells(&report, "mine")[0]["wall"]["name"], "the server ended");
}

#[test]
fn two_results_are_laid_over_each_other() {
    let folder = Folder::new("against");
    let words = ["--models", "poll", "-c", "5,10", "-d", "150ms", "--repeats", "2"];
    let first = run(compare(&words).args(["-o", &folder.path("old")]));
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let old = folder.path("old/result.json");
    // Far less CPU for a message, on another kernel: what a regression looks like from the other side.
    let text = fs::read_to_string(&old).expect("the result");
    let mut report: Value = serde_json::from_str(&text).expect("JSON");
    let cell = &mut report["results"][0];
    cell["server_cpu_us_per_msg"] = (number(cell, "server_cpu_us_per_msg") / 20.0).into();
    report["machine"]["kernel"] = "5.4.0".into();
    let altered = folder.path("altered.json");
    fs::write(&altered, report.to_string()).expect("write");
    let output = run(compare(&words).args(["--against", &altered, "-o", &folder.path("new")]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = printed(&output);
    assert!(table.contains("Against ") && table.contains("poll at 5: CPU per message"), "{table}");
    assert!(table.contains("worse.") && table.contains("kernel: 5.4.0 then"), "{table}");
    let page = fs::read_to_string(folder.path("new/report.html")).expect("the page");
    let summary = table.lines().find(|line| line.contains("figures compared:")).expect("a summary");
    let counts = summary.trim_start_matches([' ', '-']).split(" within").next().expect("the counts");
    assert!(page.contains(counts), "the page counts the same: {counts}");
    let output = run(compare(&words).args(["--json", "--against", &folder.path("old")]));
    let against = json(&output)["against"].clone();
    assert_eq!(against["compared"], 2);
    assert!(against["changes"].as_array().is_some_and(|changes| !changes.is_empty()), "{against}");
    // What is no whole result is said before anything is measured.
    let cut = folder.path("cut.json");
    fs::write(&cut, &text[..text.len() / 2]).expect("write");
    let other = folder.path("other.json");
    fs::write(&other, "{\"schema\": 1}").expect("write");
    for (file, code, hint) in
        [(&cut, 3, "cut short"), (&other, 2, "no result of"), (&folder.path("none.json"), 3, "No such file")]
    {
        let output = run(compare(&words).args(["--against", file]));
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(said(&output).contains(hint) && output.stdout.is_empty(), "{}", said(&output));
    }
}

/// Waits until the folder holds a result with so many cells.
fn wait_for_cells(path: &str, least: usize) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let report = serde_json::from_str::<Value>(&text).unwrap_or_default();
        if report["results"].as_array().is_some_and(|cells| cells.len() >= least) {
            return report;
        }
        assert!(Instant::now() < until, "no {least} cells: {text}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_measured_is_in_the_folder_however_the_run_ends() {
    let folder = Folder::new("ends");
    for (signo, name) in [(SIGINT, "interrupted"), (SIGKILL, "killed")] {
        let out = folder.path(name);
        let words = ["--models", "poll,epoll-et,thread", "-c", "5", "-d", "1500ms", "-o", &out];
        let child =
            compare(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("duolu starts");
        let result = folder.path(&format!("{name}/result.json"));
        let early = wait_for_cells(&result, 1);
        assert_eq!(early["complete"], false, "marked as a part while the run goes on");
        signal(child.id(), signo).expect("it runs");
        let output = wait(child);
        let report = wait_for_cells(&result, 1);
        assert_eq!(report["complete"], false);
        assert_eq!(cells(&report, "thread").len(), 1, "the first of the table");
        if signo == SIGINT {
            assert_eq!(output.status.code(), Some(130), "{output:?}");
            assert_eq!(report["interrupted"], true);
            assert!(printed(&output).contains("Interrupted"), "{}", printed(&output));
            let page = fs::read_to_string(folder.path(&format!("{name}/report.html"))).expect("the report");
            assert!(page.contains("<svg") && page.contains("thread"));
        }
    }
}

#[test]
fn several_servers_may_be_named_and_each_needs_its_own_name() {
    let echo = own_echo(&[]).join(" ");
    let words = ["--models", "none", "-c", "5", "-d", "150ms", "--json"];
    let output =
        run(compare(&words).args(["--also", &format!("one={echo}"), "--also", &format!("two={echo}")]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    assert!(cells(&report, "one").len() == 1 && cells(&report, "two").len() == 1, "{report}");
    let twice =
        run(compare(&words).args(["--also", &format!("one={echo}"), "--also", &format!("one={echo}")]));
    assert_eq!(twice.status.code(), Some(2));
    assert!(said(&twice).contains("two servers are called 'one'"), "{}", said(&twice));
}

#[test]
fn expectations_hold_for_own_servers_and_every_mix() {
    let run = |expect: &str| {
        let options = format!("--models none --mix all,churn -c 5 -d 150ms --name mine --expect {expect}");
        compare_own(&options, &own_echo(&[]))
    };
    assert_eq!(run("conns>=5,errors=0").status.code(), Some(0));
    let broken = run("p99<1us");
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(said(&broken).contains("p99<1us does not hold for mine (churn, 64 bytes)"), "{}", said(&broken));
}

#[test]
fn nginx_and_memcached_stand_on_the_ladder() {
    let folder = Folder::new("foreign");
    let config = folder.path("nginx.conf");
    fs::write(
        &config,
        "daemon off; pid DIR/nginx.pid; error_log stderr; events { worker_connections 64; }\n\
         http { access_log off; server { listen 127.0.0.1:PORT; keepalive_requests 1000000000;\n\
         location / { return 200 hello; } } }\n"
            .replace("DIR", &folder.path("")),
    )
    .expect("write");
    let script = format!(
        "sed s/PORT/{{port}}/ {config} > {config}.{{port}}; exec /usr/sbin/nginx -p {} -c {config}.{{port}}",
        folder.path("")
    );
    let output = shell("--models epoll-et --speak http -c 20 -d 200ms --json", &script);
    assert_eq!(output.status.code(), Some(0), "is nginx-light installed (make tools)? {output:?}");
    let report = json(&output);
    assert!(cells(&report, "epoll-et")[0]["wall"].is_null());
    let nginx = cells(&report, "nginx")[0];
    assert!(nginx["wall"].is_null() && number(nginx, "rate") > 0.0, "{nginx}");
    assert_eq!(nginx["server_memory"]["processes"], 2, "the master and its worker: {nginx}");
    let command = ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", "{port}", "-c", "100"];
    let output = compare_own("--speak memcached -c 20,300 -d 200ms --json", &command.map(str::to_owned));
    assert_eq!(output.status.code(), Some(0), "is memcached installed (make tools)? {output:?}");
    let report = json(&output);
    let cells = cells(&report, "memcached");
    assert!(cells[0]["wall"].is_null() && number(cells[0], "rate") > 0.0, "{}", cells[0]);
    assert!(cells[1]["wall"]["name"].is_string(), "-c 100 is not enough for 300: {}", cells[1]);
}
