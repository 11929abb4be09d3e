//! Where the figures come from: the machine, what was asked for, what could not run, how it was measured.

use super::figures::{self, whole};
use super::markup::escape;
use super::run::Run;
use super::words;
use crate::lang::Lang;
use serde_json::Value;
use std::fmt::Write;

/// The fields that are known, in the order in which they are shown, in both languages.
const LABELS: [(&str, &str, &str); 40] = [
    ("duolu", "duolu", "duolu 版本"),
    ("began_at", "began", "开始时间"),
    ("kernel", "Linux", "Linux"),
    ("kernel_build", "kernel's build", "内核构建"),
    ("virtual_machine", "virtual machine", "虚拟机"),
    ("governor", "frequency governor", "频率策略"),
    ("cpus", "processors", "处理器数"),
    ("cpu_model", "processor", "处理器"),
    ("memory_bytes", "memory", "内存"),
    ("memory_available_bytes", "memory available", "可用内存"),
    ("load_before", "load before (1 min)", "开始前负载（1 分钟）"),
    ("busy_before", "cores busy before", "开始前忙碌核心"),
    ("noisy", "noise", "干扰"),
    ("limits nofile", "RLIMIT_NOFILE", "RLIMIT_NOFILE"),
    ("limits nofile_hard", "RLIMIT_NOFILE, hard", "RLIMIT_NOFILE（硬）"),
    ("limits nproc", "RLIMIT_NPROC", "RLIMIT_NPROC"),
    ("limits cgroup_pids", "pids.max", "pids.max"),
    ("limits cgroup_memory_bytes", "memory.max", "memory.max"),
    ("placement pinned", "pinned", "绑定处理器"),
    ("placement shared", "one processor shared", "共用处理器"),
    ("placement server_cpus", "server's processors", "服务器的处理器"),
    ("placement loader_cpus", "loader's processors", "压测端的处理器"),
    ("placement refused", "pinning refused", "绑定被拒绝"),
    ("models", "models", "模型"),
    ("order", "order of the run", "运行顺序"),
    ("connections", "connections", "连接数"),
    ("window_s", "window for each rung", "每档测量时长"),
    ("repeats", "repeats", "重复次数"),
    ("service", "service", "服务"),
    ("mixes", "mixes", "连接行为"),
    ("payload_bytes", "bytes of a message", "每条消息字节"),
    ("payloads", "payloads", "消息大小"),
    ("active", "active connections", "活跃连接"),
    ("churn", "new connection each request", "每请求新连接"),
    ("accept", "accept", "accept 方式"),
    ("own name", "your own server", "自己的服务器"),
    ("own origin", "started as", "启动方式"),
    ("workers", "workers", "工作线程"),
    ("server_nofile", "server's RLIMIT_NOFILE", "服务器 RLIMIT_NOFILE"),
    ("seed", "seed of the order", "顺序种子"),
];

/// The whole part of the page.
pub fn section(lang: Lang, run: &Run) -> String {
    let mut html = "<div class=\"provenance\">".to_owned();
    let parts = [
        (lang.pick("Machine", "机器"), &run.machine),
        (lang.pick("What was asked for", "测量参数"), &run.asked),
    ];
    for (title, value) in parts {
        let mut rows = Vec::new();
        flatten(lang, "", value, &mut rows);
        rows.iter_mut().for_each(|(path, text)| in_words(lang, run, path, text));
        if rows.is_empty() {
            continue;
        }
        let _ = write!(html, "<div><h3>{title}</h3><dl>");
        let place = |path: &str| LABELS.iter().position(|(key, ..)| *key == path).unwrap_or(LABELS.len());
        rows.sort_by_key(|(path, _)| place(path)); // stable: what is not known follows in its own order
        for (path, value) in rows {
            let key = label(lang, &path);
            let _ =
                write!(html, "<div><dt>{}</dt><dd><bdi>{}</bdi></dd></div>", escape(&key), escape(&value));
        }
        html.push_str("</dl></div>\n");
    }
    html.push_str("</div>\n");
    let as_they_are = |(name, why): &(String, String)| (name.clone(), Lang::En, why.clone());
    let method = |(figure, how): &(String, String)| {
        let (of, how) = words::method(lang, figure, how);
        (figure.clone(), of, how.to_owned())
    };
    let unavailable: Vec<_> = run.unavailable.iter().map(as_they_are).collect();
    let methods: Vec<_> = run.methods.iter().map(method).collect();
    for (title, entries) in [
        (lang.pick("Could not run here", "在此无法运行（原话）"), unavailable),
        (lang.pick("How the figures were taken", "各项数据的测法"), methods),
    ] {
        if entries.is_empty() {
            continue;
        }
        let _ = write!(html, "<details open><summary>{title}</summary><dl class=\"methods\">");
        for (name, of, text) in entries {
            let _ = write!(html, "<dt>{}</dt><dd lang=\"{of}\">{}</dd>", escape(&name), escape(&text));
        }
        html.push_str("</dl></details>\n");
    }
    html
}

/// Values that are words, in the page's language.
fn in_words(lang: Lang, run: &Run, path: &str, text: &mut String) {
    match path {
        "noisy" => *text = words::noise(lang, &run.machine).unwrap_or_default(),
        "placement refused" => *text = words::refusal(lang, text),
        "mixes" => {
            let mixes: Vec<&str> =
                text.split(lang.list(&["", ""]).as_str()).map(|mix| words::mix(lang, mix)).collect();
            *text = lang.list(&mixes);
        }
        _ => {}
    }
}

/// Every leaf of an object with its path; what is not known is left out.
fn flatten(lang: Lang, path: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(entries) => {
            for (key, value) in entries {
                let inner = match path {
                    "" => key.clone(),
                    // The kernel's own names need no path in front.
                    "sysctls" => key.clone(),
                    path => format!("{path} {key}"),
                };
                flatten(lang, &inner, value, rows);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for entry in entries {
                flatten(lang, path, entry, rows);
            }
        }
        Value::Array(entries) => {
            let list: Vec<String> = entries.iter().map(|entry| leaf(lang, "", entry)).collect();
            if !list.is_empty() {
                rows.push((path.to_owned(), lang.list(&list)));
            }
        }
        value => rows.push((path.to_owned(), leaf(lang, path, value))),
    }
}

fn leaf(lang: Lang, path: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => lang.pick("yes", "是").to_owned(),
        Value::Bool(false) => lang.pick("no", "否").to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(bytes) if path.ends_with("_bytes") && bytes >= 1024.0 => figures::bytes(bytes),
            Some(seconds) if path.ends_with("window_s") => format!("{seconds:.3} s").replace(".000", ""),
            Some(other) if number.is_f64() => format!("{other:.2}"),
            _ => number.as_u64().map_or_else(|| number.to_string(), whole),
        },
        other => other.to_string(),
    }
}

/// What people call a field.
pub fn label(lang: Lang, path: &str) -> String {
    match LABELS.iter().find(|(key, ..)| *key == path) {
        Some((_, en, zh)) => lang.pick(en, zh).to_owned(),
        None if path.contains('.') => path.to_owned(), // a sysctl
        None => path.replace('_', " "),
    }
}
