//! Running `duolu report` as a person does, on results made by hand.

#![allow(dead_code)] // each test program uses its part

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder of this test's own, gone with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("duolu-report-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn report(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_duolu"));
    command.arg("report").stdin(Stdio::null());
    command.args(arguments.iter().map(AsRef::as_ref)).output().expect("duolu runs")
}

pub fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The page that stdout gets.
pub fn page(path: &Path, more: &[&str]) -> String {
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&path, &"-o", &"-"];
    more.iter().for_each(|argument| arguments.push(argument));
    let output = report(&arguments);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).expect("the page is UTF-8")
}

pub fn cell(model: &str, connections: u64, p99_us: f64) -> Value {
    json!({
        "model": model, "connections": connections, "established": connections, "rate": 1e9 / p99_us,
        "p50_us": p99_us / 2.0, "p99_us": p99_us, "p999_us": p99_us * 1.5, "server_cpu_us_per_msg": 9.5,
        "server_bytes_per_conn": 312.0, "errors": 0, "wall": null, "loader_cpu": 0.4, "repeats": 1, "spread": null,
    })
}

/// The same where the loader had fewer descriptors than connections.
pub fn sampled(model: &str, connections: u64, p99_us: f64) -> Value {
    let mut cell = cell(model, connections, p99_us);
    cell["sampled"] = json!(true);
    cell["rate"] = Value::Null;
    cell["server_cpu_us_per_msg"] = Value::Null;
    cell
}

pub fn stopped(model: &str, connections: u64, held: u64, wall: &str) -> Value {
    let mut cell = cell(model, connections, 900.0);
    cell["established"] = json!(held);
    cell["errors"] = json!(connections - held);
    cell["wall"] =
        json!({"name": wall, "evidence": format!("read at {held}"), "fix": format!("fix of {wall}")});
    cell
}

pub fn result(cells: Vec<Value>) -> Value {
    json!({
        "schema": 1, "complete": true, "interrupted": false,
        "machine": {"duolu": "0.1.0", "kernel": "6.1.0-test", "cpus": 2, "cpu_model": "A Processor",
            "memory_bytes": 25_276_063_744_u64, "placement": {"pinned": true, "shared": false}},
        "asked": {"connections": [100, 1000], "service": "echo", "payload_bytes": 64, "active": null, "churn": false},
        "results": cells, "unavailable": {"select": "no select here"}, "methods": {"rate": "how it was counted"},
    })
}

pub const MODELS: [&str; 11] = [
    "fork",
    "prefork",
    "thread",
    "select",
    "poll",
    "epoll-lt",
    "epoll-et",
    "epoll-oneshot",
    "io_uring-poll",
    "io_uring",
    "my own server",
];

/// The walls by their stable names, and in Chinese.
pub const WALLS: [(&str, &str); 14] = [
    ("server descriptor limit", "服务器描述符用尽"),
    ("loader descriptor limit", "压测端描述符用尽"),
    ("FD_SETSIZE", "FD_SETSIZE（select 的 1024）"),
    ("ephemeral ports", "本地端口用尽"),
    ("accept queue", "接受队列已满"),
    ("processes", "进程数用尽"),
    ("threads", "线程数用尽"),
    ("memory", "内存不足"),
    ("one core full", "一个核心已满"),
    ("loader limited", "压测端成为瓶颈"),
    ("more connections than processes", "连接多于进程"),
    ("the server ended", "服务器已退出"),
    ("the loader ended", "压测端已退出"),
    ("not explained", "原因不明"),
];

/// Every model up two rungs; the last ones end at a wall each.
pub fn whole() -> Value {
    let mut cells = Vec::new();
    for (at, model) in MODELS.iter().enumerate() {
        cells.push(cell(model, 100, 1_000.0 + at as f64));
        cells.push(cell(model, 1_000, 9_000.0 + at as f64));
    }
    cells.extend(WALLS.iter().map(|(wall, _)| stopped(&format!("ends at {wall}"), 100, 40, wall)));
    result(cells)
}

/// The part of one language.
pub fn of(html: &str, lang: &str) -> String {
    let from = html.find(&format!("<main lang=\"{lang}\"")).expect("this language");
    let end = html[from..].find("</main>").expect("it ends") + from;
    html[from..end].to_owned()
}

/// The elements of a page as (name, attributes), after checking that they nest: what opens is closed, in order.
pub fn elements(html: &str) -> Vec<(String, String)> {
    let (mut open, mut all, mut rest) = (Vec::new(), Vec::new(), html);
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closes in order");
            continue;
        }
        let (name, attributes) = tag.split_once([' ', '\n']).unwrap_or((tag.trim_end_matches('/'), ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "an element: {tag}");
        assert_eq!(attributes.matches('"').count() % 2, 0, "quotes are whole: {tag}");
        all.push((name.to_owned(), attributes.to_owned()));
        if matches!(name, "script" | "style") {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).expect("it ends") + close.len()..];
        } else if !tag.ends_with('/') && !matches!(name, "meta" | "input" | "br") {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "all is closed: {open:?}");
    all
}

pub fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let from = attributes.find(&format!("{name}=\""))? + name.len() + 2;
    attributes[from..].split('"').next()
}
