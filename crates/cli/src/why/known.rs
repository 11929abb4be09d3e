//! What is known of some programs without looking: for a server that nobody is connected to, and for limits that it
//! keeps in its own settings.
//!
//! Each line was checked against the program with connections (tests/why.rs); a program that is not here is read like
//! any other.

use super::look::epoll::Trigger;
use super::look::process::{Process, printable};
use super::model::Model;
use super::server::Server;
use super::words::said;
use crate::lab::said::Said;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How a program is known to serve connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// How.
    pub model: Model,
    /// Where that is known from.
    pub why: Said,
}

/// What is known of a process's program.
pub fn of(process: &Process) -> Option<Known> {
    if let Some(model) = own(process) {
        let name = model.name();
        let why = said!("its command line says --model {name}", "它的命令行写着 --model {name}");
        return Some(Known { model, why });
    }
    let name = process.name.as_str();
    let model = match name {
        "nginx" => Model::Epoll(Some(Trigger::Edge)),
        "memcached" | "redis-server" | "valkey-server" | "haproxy" | "node" => {
            Model::Epoll(Some(Trigger::Level))
        }
        "postgres" => Model::Fork,
        _ if process.command.iter().any(|word| word == "http.server") => Model::Thread,
        _ => return None,
    };
    let (en, zh) = (model.said(), model.said());
    let (en, zh) = (en.pick(crate::lang::Lang::En).to_owned(), zh.pick(crate::lang::Lang::Zh).to_owned());
    let name = printable(name);
    Some(Known {
        model,
        why: said!("known of {name}, not seen now: {en}", "已知 {name} 是这样，并非现在看到：{zh}"),
    })
}

/// Whether it is `duolu serve`.
pub fn is_own(process: &Process) -> bool {
    own(process).is_some()
}

/// How the program itself is told how many descriptors it may have, where that is not the limit it is started with.
pub fn descriptors_setting(process: &Process, wanted: u64) -> Option<Said> {
    Some(match process.name.as_str() {
        "nginx" => said!(
            "worker_rlimit_nofile {wanted}; in nginx.conf (and worker_connections no less), then nginx -s reload",
            "在 nginx.conf 中写 worker_rlimit_nofile {wanted};（worker_connections 也要不小于它），然后 nginx -s reload"
        ),
        "memcached" => said!(
            "memcached -c {wanted}: it raises its limit itself",
            "memcached -c {wanted}：它会自己提高上限"
        ),
        "redis-server" | "valkey-server" => said!(
            "maxclients {wanted} in its configuration: it raises its limit itself, as far as the hard limit",
            "在配置中写 maxclients {wanted}：它会自己提高上限，直到硬上限"
        ),
        _ => return None,
    })
}

/// `duolu serve`: its model is on its command line.
fn own(process: &Process) -> Option<Model> {
    use clap::ValueEnum;
    let words = &process.command;
    let program = Path::new(words.first()?).file_name()?;
    let serve = words.iter().position(|word| word == "serve")?;
    if program != "duolu" {
        return None;
    }
    let mut rest = words[serve..].iter();
    let mut named = crate::model::Model::EpollEt; // serve's default
    while let Some(word) = rest.next() {
        let value =
            match word.strip_prefix("--model=").or_else(|| word.strip_prefix("-m").filter(|v| !v.is_empty()))
            {
                Some(value) => value,
                None if word == "--model" || word == "-m" => rest.next()?,
                None => continue,
            };
        named = crate::model::Model::from_str(value, false).ok()?;
    }
    use crate::model::Model as Own;
    Some(match named {
        Own::Fork => Model::Fork,
        Own::Prefork => Model::Prefork,
        Own::Thread => Model::Thread,
        Own::Select => Model::Select,
        Own::Poll => Model::Poll,
        Own::EpollLt => Model::Epoll(Some(Trigger::Level)),
        Own::EpollEt => Model::Epoll(Some(Trigger::Edge)),
        Own::EpollOneshot => Model::Epoll(Some(Trigger::OneShot)),
        Own::IoUringPoll => Model::UringPoll,
        Own::IoUring => Model::Uring,
    })
}

/// A limit on connections that a program keeps in its settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnLimit {
    /// The setting's name.
    pub setting: &'static str,
    /// How many connections of clients it leaves, over all processes.
    pub connections: u64,
    /// Several processes share it out, and not evenly: one may be full before the others.
    pub about: bool,
    /// The setting's value.
    pub value: u64,
    /// Where it was read.
    pub source: Said,
    /// How it is raised.
    pub fix: Said,
}

/// The limit of the server's own settings, where they can be read.
pub fn own_limit(server: &Server) -> Option<OwnLimit> {
    let leader = server.leader()?;
    match leader.name.as_str() {
        "nginx" => nginx(server),
        "postgres" => postgres(leader),
        "memcached" => memcached(server, leader),
        "haproxy" => haproxy(leader),
        _ => None,
    }
}

/// A file of settings as the process sees it: under its own root (a container's), or in its own working directory. The
/// name is a stranger's word: it may be a device or a pipe, which must neither be waited for nor read to its end.
fn settings(pid: u32, file: &str) -> Option<String> {
    /// No settings are longer.
    const LONGEST: u64 = 1 << 20;
    let root = if file.starts_with('/') { "root" } else { "cwd/" };
    let mut open = fs::File::options();
    open.read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = open.open(format!("/proc/{pid}/{root}{file}")).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The word after a flag, or joined to it: `-c FILE`, `-cFILE`, `--flag=VALUE`.
fn flag<'a>(words: &'a [String], short: &str, long: &str) -> Option<&'a str> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == short || (!long.is_empty() && word == long) {
            return rest.next().map(String::as_str);
        }
        let joined = word.strip_prefix(short).filter(|_| !word.starts_with("--"));
        let joined = joined
            .or_else(|| if long.is_empty() { None } else { word.strip_prefix(long)?.strip_prefix('=') });
        if let Some(value) = joined.filter(|value| !value.is_empty()) {
            return Some(value);
        }
    }
    None
}

/// The program writes "nginx: master process /usr/sbin/nginx -c FILE" over its command line, with spaces.
fn nginx_words(server: &Server) -> Option<Vec<String>> {
    let is_master =
        |process: &&Process| process.command.first().is_some_and(|line| line.contains("master process"));
    let master = server.processes.iter().find(is_master)?;
    Some(master.command.join(" ").split_whitespace().map(str::to_owned).collect())
}

fn nginx(server: &Server) -> Option<OwnLimit> {
    let words = nginx_words(server)?;
    let file = flag(&words, "-c", "").unwrap_or("/etc/nginx/nginx.conf");
    let text = settings(server.leader()?.pid, file)?;
    let value = setting(&text, "worker_connections").unwrap_or(512);
    // Each worker spends a place on every listener and on the channel from its master: what its epoll watches
    // beside clients, and what it has connected itself.
    let is_worker =
        |process: &&Process| process.command.first().is_some_and(|line| line.contains("worker process"));
    let workers: Vec<&Process> = server.processes.iter().filter(is_worker).collect();
    let listening = server.listeners.len() as u64;
    let connections = workers.iter().map(|_| value.saturating_sub(listening + 1)).sum();
    (!workers.is_empty()).then(|| OwnLimit {
        setting: "worker_connections",
        connections,
        about: workers.len() > 1,
        value,
        source: Said::same(printable(file)),
        fix: Said::from((
            "worker_connections 4096; in the events block of nginx.conf, then nginx -s reload",
            "在 nginx.conf 的 events 块中写 worker_connections 4096; 然后 nginx -s reload",
        )),
    })
}

/// The value of `name VALUE;`, comments left out; the last one counts.
fn setting(text: &str, name: &str) -> Option<u64> {
    let bare = text.lines().map(|line| line.split('#').next().unwrap_or(""));
    let all = bare.collect::<Vec<_>>().join("\n");
    let mut words =
        all.split(|letter: char| letter.is_whitespace() || "{};=".contains(letter)).filter(|w| !w.is_empty());
    let mut found = None;
    while let Some(word) = words.next() {
        if word == name {
            found = words.next().and_then(|value| value.trim_matches(['\'', '"']).parse().ok()).or(found);
        }
    }
    found
}

fn postgres(leader: &Process) -> Option<OwnLimit> {
    let words = &leader.command;
    let named = words.iter().filter_map(|word| word.trim_start_matches("--").split_once('='));
    let of = |name: &str| {
        named.clone().find(|(key, _)| *key == name || *key == format!("-c{name}")).map(|(_, value)| value)
    };
    // The postmaster's working directory is its data directory.
    let file = of("config_file").unwrap_or("postgresql.conf");
    let folder = fs::read_link(format!("/proc/{}/cwd", leader.pid)).unwrap_or_default();
    let shown = printable(&folder.join(file).to_string_lossy());
    let from_files = || {
        let auto = settings(leader.pid, "postgresql.auto.conf").unwrap_or_default();
        let text = settings(leader.pid, file)?;
        setting(&auto, "max_connections").or_else(|| setting(&text, "max_connections")).or(Some(100))
    };
    let given = of("max_connections").or_else(|| flag(words, "-N", "")).and_then(|value| value.parse().ok());
    let (value, source) = match given {
        Some(value) => (value, Said::from(("its command line", "它的命令行"))),
        None => (from_files()?, Said::same(shown)),
    };
    Some(OwnLimit {
        setting: "max_connections",
        about: false,
        connections: value,
        value,
        source,
        fix: Said::from((
            "max_connections in postgresql.conf and a restart; or a pool in front of it (PgBouncer)",
            "修改 postgresql.conf 中的 max_connections 并重启；或在前面放一个连接池（PgBouncer）",
        )),
    })
}

/// memcached refuses the connection that would take its last descriptor but one: measured with 1 to 8 threads and with
/// inherited descriptors, and by tests/why_walls.rs.
fn memcached(server: &Server, leader: &Process) -> Option<OwnLimit> {
    let given = flag(&leader.command, "-c", "--conn-limit").and_then(|value| value.parse().ok());
    let value: u64 = given.unwrap_or(1024);
    let left = leader.free_below(value)?.saturating_sub(1);
    Some(OwnLimit {
        setting: "-c",
        about: false,
        connections: server.held_by(leader.pid) + left,
        value,
        source: match given {
            Some(_) => Said::from(("its command line", "它的命令行")),
            None => Said::from(("its default: no -c on its command line", "默认值：命令行没有 -c")),
        },
        fix: Said::from((
            "memcached -c 65536 (it raises RLIMIT_NOFILE itself)",
            "memcached -c 65536（它会自己提高 RLIMIT_NOFILE）",
        )),
    })
}

fn haproxy(leader: &Process) -> Option<OwnLimit> {
    let file = flag(&leader.command, "-f", "")?;
    let text = settings(leader.pid, file)?;
    let global = text.split_once("global")?.1;
    let end = ["\ndefaults", "\nfrontend", "\nlisten", "\nbackend"]
        .iter()
        .filter_map(|head| global.find(head))
        .min();
    let value = setting(&global[..end.unwrap_or(global.len())], "maxconn")?;
    Some(OwnLimit {
        setting: "maxconn",
        about: false,
        connections: value,
        value,
        source: Said::same(printable(file)),
        fix: Said::from((
            "maxconn in the global section, then a reload",
            "修改 global 段的 maxconn，然后 reload",
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, command: &[&str]) -> Process {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Process { name: name.to_owned(), command, ..Process::default() }
    }

    #[test]
    fn our_own_server_says_its_model() {
        let model = |words: &[&str]| of(&process("duolu", words)).map(|known| known.model);
        assert_eq!(model(&["/x/duolu", "serve", "echo"]), Some(Model::Epoll(Some(Trigger::Edge))));
        assert_eq!(model(&["duolu", "serve", "echo", ":0", "--model", "thread"]), Some(Model::Thread));
        assert_eq!(model(&["duolu", "serve", "echo", "--model=io_uring-poll"]), Some(Model::UringPoll));
        assert_eq!(model(&["duolu", "serve", "-mselect", "echo"]), Some(Model::Select));
        assert_eq!(model(&["duolu", "load", "x"]), None);
        assert_eq!(model(&["cat", "serve"]), None);
    }

    #[test]
    fn what_is_no_file_of_settings_is_not_read() {
        let me = std::process::id();
        for no_file in ["/dev/zero", "/proc", "/no/such/file", "no such file"] {
            assert_eq!(settings(me, no_file), None, "{no_file}");
        }
        assert!(settings(me, "/proc/self/status").is_some_and(|text| text.contains("Name:")));
    }

    #[test]
    fn settings_are_found_where_programs_keep_them() {
        assert_eq!(
            setting("events { # worker_connections 1;\n worker_connections 768;\n}", "worker_connections"),
            Some(768)
        );
        assert_eq!(
            setting("max_connections = 100\t\t# (change requires restart)\n", "max_connections"),
            Some(100)
        );
        assert_eq!(setting("#max_connections = 100\n", "max_connections"), None);
        let words: Vec<String> = ["memcached", "-t", "2", "-c512"].map(str::to_owned).to_vec();
        assert_eq!(
            (flag(&words, "-t", "--threads"), flag(&words, "-c", "--conn-limit")),
            (Some("2"), Some("512"))
        );
        let long: Vec<String> = ["memcached", "--conn-limit=99"].map(str::to_owned).to_vec();
        assert_eq!(flag(&long, "-c", "--conn-limit"), Some("99"));
        assert_eq!(flag(&long, "-x", ""), None);
    }
}
