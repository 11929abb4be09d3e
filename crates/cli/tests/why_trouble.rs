//! `duolu why` where it cannot tell, or not all: a clear sentence, the part that could be read, the right exit code.

#[path = "support/looking.rs"]
mod looking;
mod why_support;

use looking::wait_until_it_has_looked;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use why_support::*;

#[test]
fn what_cannot_be_told_is_said_with_what_to_do() {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let udp_port = udp.local_addr().expect("an address").port();
    let closed = format!(":{}", free_port());
    let sleeper = Running(Command::new("sleep").arg("600").spawn().expect("sleep"));
    let pid = sleeper.0.id().to_string();
    let cases: [(&str, i32, &[&str]); 8] = [
        (&closed, 3, &["nobody listens", &closed, "ss -ltn"]),
        (&format!(":{udp_port}"), 3, &["nobody listens", "UDP"]),
        ("4194304", 3, &["no process 4194304"]),
        ("8080000", 3, &["no process"]),
        (&pid, 3, &[&pid, "sleep", "listens on no TCP port"]),
        ("nginx", 2, &["'nginx'", ":8080"]),
        (":http", 2, &["':http'"]),
        (":0", 2, &["':0'"]),
    ];
    for (target, code, words) in cases {
        let output = why(&[target]);
        let sentence = said(&output);
        assert_eq!(
            (output.status.code(), printed(&output).as_str()),
            (Some(code), ""),
            "{target}: {sentence}"
        );
        for word in words {
            assert!(sentence.contains(word), "{target}: {sentence}");
        }
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
    }
    let unused = free_port();
    let as_pid = said(&why(&[&unused.to_string()]));
    if as_pid.contains("no process") {
        assert!(as_pid.contains(&format!(":{unused}")), "who leaves out the colon is told: {as_pid}");
    }
}

struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_listener_on_ipv6_only_and_one_on_another_address_are_found_by_their_port() {
    let six = serve("epoll-lt", &["--bind", "::1"]);
    let report = told(six.port);
    assert_eq!(report["address"], format!("[::1]:{}", six.port), "{report:#}");
    let other = serve("epoll-lt", &["--bind", "127.0.0.2"]);
    assert_eq!(told(other.port)["address"], format!("127.0.0.2:{}", other.port));
    let output = why(&[&format!("127.0.0.1:{}", other.port)]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("127.0.0.2"), "{}", said(&output));
}

#[test]
fn a_child_that_serves_names_the_port_it_was_accepted_on() {
    let server = serve("fork", &[]);
    let mut streams = connect(server.port, 1);
    streams.iter_mut().for_each(echo);
    let child = family(server.child.id())[1].to_string();
    let output = why(&[&child]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said(&output).contains(&format!("duolu why :{}", server.port)), "{}", said(&output));
}

#[test]
fn a_server_that_dies_under_our_eyes_is_told_as_far_as_it_was_read() {
    for json_wanted in [true, false] {
        let mut server = serve("epoll-et", &[]);
        let mut streams = connect(server.port, 2);
        streams.iter_mut().for_each(echo);
        let target = format!(":{}", server.port);
        let mut arguments = vec![target.as_str(), "--for", "20s"];
        if json_wanted {
            arguments.push("--json");
        }
        let began = Instant::now();
        let looking = Command::new(env!("CARGO_BIN_EXE_duolu"))
            .arg("why")
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        wait_until_it_has_looked(looking.id());
        server.child.kill().expect("ours");
        server.child.wait().expect("ended");
        let output = looking.wait_with_output().expect("its output");
        assert!(began.elapsed() < Duration::from_secs(15), "it noticed, and did not look on for 20 s");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let sentence = said(&output);
        assert!(sentence.contains("ended while it was being looked at"), "{sentence}");
        assert!(sentence.contains(&server.child.id().to_string()), "{sentence}");
        if json_wanted {
            let report = json(&output);
            assert_eq!(
                (&report["complete"], &report["listen"]["backlog"]),
                (&false.into(), &4096.into()),
                "{report:#}"
            );
            assert!(report["ended"].to_string().contains(&server.child.id().to_string()), "{report:#}");
        } else {
            assert!(printed(&output).contains("ended"), "{}", printed(&output));
        }
    }
}

#[test]
fn without_permission_each_missing_line_says_what_unlocks_it() {
    if std::env::var_os("DUOLU_TEST_NO_ROOT").is_some() {
        return;
    }
    assert!(rustix::process::getuid().is_root(), "this test is run by root, or with DUOLU_TEST_NO_ROOT=1");
    let server = serve("epoll-et", &[]);
    let mut streams = connect(server.port, 3);
    streams.iter_mut().for_each(echo);
    // The program's own folder may be closed to others.
    let folder = Folder::new();
    let program = folder.0.join("duolu");
    fs::copy(env!("CARGO_BIN_EXE_duolu"), &program).expect("a copy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own");
    let stranger = |arguments: &[&str]| finish(as_user("nobody", &program).arg("why").args(arguments));

    let port = format!(":{}", server.port);
    let output = stranger(&[&port, "--json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said(&output).contains("sudo duolu why"), "{}", said(&output));
    let report = json(&output);
    assert_eq!(
        (&report["listen"]["backlog"], &report["connections"]),
        (&4096.into(), &3.into()),
        "{report:#}"
    );
    assert_eq!((&report["model"], &report["complete"]), (&"unknown".into(), &false.into()), "{report:#}");
    let missing = report["missing"].as_array().expect("what is missing");
    assert!(
        !missing.is_empty()
            && missing.iter().all(|one| one["unlock"].as_str().is_some_and(|text| text.len() > 5))
    );
    assert!(missing[0]["what"].to_string().contains("root"), "whose it is: {report:#}");

    let pid = server.child.id().to_string();
    let output = stranger(&[&pid]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let card = printed(&output);
    assert!(card.contains(&format!("duolu {pid}")) && card.contains("unlock: "), "{card}");
    // What everybody may read is there.
    assert!(card.contains("descriptors"), "{card}");
    let chinese = printed(&stranger(&[&port, "--lang", "zh"]));
    assert!(chinese.contains("解锁：") && chinese.contains("没有读到的"), "{chinese}");
}

#[test]
fn chinese_is_chinese_throughout() {
    let servers = [
        serve("epoll-et", &["--workers", "2", "--accept", "exclusive"]),
        serve("thread", &[]),
        serve("fork", &[]),
        serve("poll", &[]),
        serve("prefork", &["--workers", "2"]),
        faulty("full-queue", None),
        faulty("edge", None),
        faulty("select", None),
        faulty("spin", Some(24)),
    ];
    let mut held: Vec<_> = servers.iter().flat_map(|server| connect(server.port, 9)).collect();
    for stream in &mut held {
        let _ = std::io::Write::write_all(stream, b"more than four bytes\n");
    }
    let _more = connect(servers[8].port, 30);
    for server in &servers {
        let card = printed(&why(&[&format!(":{}", server.port), "--lang", "zh"]));
        for line in card.lines() {
            assert!(!is_english(line), "'{line}' in\n{card}");
        }
        assert!(card.contains("下一堵墙：") && card.contains("余量"), "{card}");
    }
    // The locale counts where nothing else is said.
    let output = finish(
        Command::new(env!("CARGO_BIN_EXE_duolu"))
            .args(["why", &format!(":{}", servers[0].port)])
            .env("LC_ALL", "zh_CN.UTF-8"),
    );
    assert!(printed(&output).contains("下一堵墙："), "{output:?}");
}

/// Four plain words in a row are a sentence; names, calls and commands are not.
fn is_english(line: &str) -> bool {
    if ["sudo ", "prlimit ", "echo "].iter().any(|command| line.contains(command)) {
        return false;
    }
    let mut row = 0;
    for word in line.split_whitespace() {
        let plain =
            word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase() || b",.;:".contains(&byte));
        row = if plain { row + 1 } else { 0 };
        if row >= 4 {
            return true;
        }
    }
    false
}

#[test]
fn the_card_fits_narrow_terminals_and_is_plain_without_colour() {
    let server = serve("epoll-et", &[]);
    let mut streams = connect(server.port, 3);
    streams.iter_mut().for_each(echo);
    for columns in [50, 80] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_duolu"));
        command
            .args(["why", &format!(":{}", server.port)])
            .env("COLUMNS", columns.to_string())
            .env("LC_ALL", "C");
        let card = printed(&finish(&mut command));
        assert!(!card.contains('\u{1b}'), "{card}");
        for line in card.lines().filter(|line| !line.contains("prlimit")) {
            assert!(line.chars().count() <= columns, "{}: '{line}'", line.chars().count());
        }
        for word in ["[ET]", "[LT]", "Headroom", "Next wall: ", "prlimit --pid"] {
            assert!(card.contains(word), "{word}: {card}");
        }
    }
    let colored = finish(Command::new(env!("CARGO_BIN_EXE_duolu")).args([
        "why",
        &format!(":{}", server.port),
        "--color",
        "always",
    ]));
    assert!(printed(&colored).contains("\u{1b}[35m[ET]"), "{colored:?}");
}

#[test]
fn the_page_stands_alone_in_both_languages() {
    let server = serve("epoll-et", &[]);
    let mut streams = connect(server.port, 3);
    streams.iter_mut().for_each(echo);
    let folder = Folder::new();
    let file = folder.0.join("why.html");
    let output = why(&[&format!(":{}", server.port), "-o", file.to_str().expect("a plain path")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said(&output).contains("wrote"), "{output:?}");
    let page = fs::read_to_string(&file).expect("written");
    for part in [
        "lang=\"en\"",
        "lang=\"zh-CN\"",
        "Next wall: ",
        "下一堵墙：",
        "chip et",
        "prefers-color-scheme",
        "Content-Security-Policy",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["http://", "https://", "<script", "src=", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for tag in ["main", "ul", "li", "div", "section", "dl", "header", "span", "p", "h2", "h3"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    let nowhere = why(&[&format!(":{}", server.port), "-o", "/no/such/folder/why.html"]);
    assert_eq!(nowhere.status.code(), Some(3), "{nowhere:?}");
    assert!(said(&nowhere).contains("/no/such/folder"), "{}", said(&nowhere));
}

#[test]
fn nothing_of_the_server_changes() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    drop(listener);
    let server = serve("epoll-et", &[]);
    let pid = server.child.id();
    let look = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        let line = |key: &str| status.lines().find(|line| line.starts_with(key)).expect("told").to_owned();
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("ours").count();
        (
            line("State:"),
            line("TracerPid:"),
            fs::read_to_string(format!("/proc/{pid}/limits")).expect("told"),
            fds,
        )
    };
    let before = look();
    told(server.port);
    assert_eq!(look(), before);
}

/// A container has a network of its own: its server is found by the number of its process.
#[test]
fn a_server_in_another_network_is_told_by_its_process() {
    if std::env::var_os("DUOLU_TEST_NO_NETNS").is_some() || std::env::var_os("DUOLU_TEST_NO_ROOT").is_some() {
        return;
    }
    let mut child = Command::new("unshare")
        .args([
            "--net",
            env!("CARGO_BIN_EXE_duolu"),
            "serve",
            "echo",
            "-q",
            "--model",
            "epoll-lt",
            "--port",
            "0",
        ])
        .args(["--bind", "0.0.0.0", "--json-ready"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    let mut ready = String::new();
    let stdout = child.stdout.take().expect("piped");
    let _end = Running(child);
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).expect("a line");
    let ready: serde_json::Value =
        serde_json::from_str(&ready).unwrap_or_else(|error| panic!("{error}: {ready}"));
    let (pid, port) = (ready["pid"].to_string(), &ready["port"]);
    let output = why(&[&pid, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    assert_eq!((&report["port"], &report["model"]), (port, &"epoll-lt".into()), "{report:#}");
    assert_eq!(report["listen"]["backlog"], 4096, "read in its own network: {report:#}");
    // By its port it is not to be found from here, and that is said.
    let output = why(&[&format!(":{port}")]);
    assert!(output.status.code() == Some(3) && said(&output).contains("namespace"), "{output:?}");
}

#[test]
fn ctrl_c_ends_a_long_look_and_tells_what_was_seen() {
    let server = serve("epoll-et", &[]);
    let mut streams = connect(server.port, 2);
    streams.iter_mut().for_each(echo);
    let looking = Command::new(env!("CARGO_BIN_EXE_duolu"))
        .args(["why", &format!(":{}", server.port), "--for", "10m", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = looking.id();
    wait_until_it_has_looked(pid);
    duolu_sys::child::signal(pid, 2).expect("ours");
    let output = looking.wait_with_output().expect("its output");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let report = json(&output);
    assert_eq!((&report["interrupted"], &report["complete"]), (&true.into(), &false.into()), "{report:#}");
    assert_eq!((&report["model"], &report["connections"]), (&"epoll-et".into(), &2.into()), "{report:#}");
}
