//! Servers that are not ours: a command of the user's that is started with a free port, and one that runs already.
//! Nothing is asked of them but TCP: where they listen and who they are is read from the kernel.
//!
//! Traps, referred to below:
//! (a) A port that was free a moment ago can be taken when the command binds it: by a connection that the kernel gave
//!     it to, or by another server. Then another port is tried.
//! (b) Some servers go into the background by themselves (nginx without 'daemon off'): the process that was started
//!     ends, and what listens has left its session and would outlive us. So orphans are given to us (PR_SET_CHILD_SUBREAPER)
//!     and ended.

use super::children::{self, SIGKILL, SIGTERM, Start, Started};
use super::contender::PORT;
use super::interrupt;
use super::rung::Work;
use super::tree::{self, Tree};
use crate::walls::{listen, process};
use duolu_sys::child;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// So many ports are tried, trap (a).
const ATTEMPTS: u32 = 4;

/// The listening socket is looked for this often.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Starts a command and waits until it listens on the port that it was given. Gives the process and where it listens.
///
/// # Errors
/// A sentence with its last words: it cannot be started, ends, goes into the background, or does not listen in time.
pub fn launch(words: &[String], work: &Work) -> Result<(Started, SocketAddr), String> {
    adopt_orphans();
    let mut attempt = 1;
    loop {
        let port = free_port()?;
        let line: Vec<String> = words.iter().map(|word| word.replace(PORT, &port.to_string())).collect();
        let (program, arguments) = line.split_first().ok_or("the command is empty")?;
        let start = Start {
            arguments: arguments.to_vec(),
            cpus: work.placement.server(),
            nofile: work.server_nofile,
            death_signal: SIGTERM,
        };
        let process = Started::program(program, &start).map_err(|failure| failure.message().to_owned())?;
        match wait_until_it_listens(process, port, work.patience) {
            Ok(found) => return Ok(found),
            Err(why) => {
                bury_orphans();
                if attempt == ATTEMPTS || !why.taken {
                    return Err(why.sentence);
                }
            }
        }
        attempt += 1;
    }
}

/// Why a command does not serve.
struct Refusal {
    sentence: String,
    /// Whether another port may help.
    taken: bool,
}

fn wait_until_it_listens(
    mut process: Started,
    port: u16,
    patience: Duration,
) -> Result<(Started, SocketAddr), Refusal> {
    let until = Instant::now() + patience;
    loop {
        let running = process.is_running(); // before looking: what it opened last is then seen
        if let Some((address, queues)) = listening(port) {
            let owners = listen::owners(&queues);
            let tree = Tree::of(process.pid());
            let hidden = owners.is_empty(); // another user's: sudo, a setuid program
            if running && (hidden || owners.iter().any(|&owner| tree.holds(owner))) {
                return Ok((process, address));
            }
            if !hidden && (!running || Instant::now() > until) {
                return Err(somebody_else(&mut process, port, &owners));
            }
        }
        if !running && (!left_orphans(process.pid()) || Instant::now() > until) {
            return Err(ended(&mut process, port)); // with orphans, one of them may listen soon: trap (b)
        }
        if interrupt::requested() {
            return Err(Refusal { sentence: "interrupted".to_owned(), taken: false });
        }
        if Instant::now() > until {
            return Err(silent(&mut process, port, patience));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// The loopback address at which `port` is listened on, and the sockets.
fn listening(port: u16) -> Option<(SocketAddr, Vec<listen::Queue>)> {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into_iter().find_map(|ip| {
        let address = SocketAddr::new(ip, port);
        let queues = listen::queues(address);
        (!queues.is_empty()).then_some((address, queues))
    })
}

/// A port that nobody has at this moment.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port for the command: {error}"))
}

fn ended(process: &mut Started, port: u16) -> Refusal {
    let how = process.reap().map_or("ended".to_owned(), children::describe);
    let said = process.complaints();
    // EADDRINUSE, in the words of the C library and of most runtimes.
    let taken = said.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        line.contains("address already in use") || line.contains("eaddrinuse")
    });
    Refusal {
        sentence: format!("the command {how} before it listened on port {port}{}", quoted(&said)),
        taken,
    }
}

/// Trap (b), or trap (a).
fn somebody_else(process: &mut Started, port: u16, owners: &[u32]) -> Refusal {
    let me = std::process::id();
    let pid = owners.first().copied().unwrap_or(0);
    let name = process::name(pid).unwrap_or_default();
    let background = owners.iter().any(|&owner| tree::parent(owner) == Some(me));
    let said = quoted(&process.complaints());
    let sentence = if background {
        format!(
            "the command went into the background: process {pid} ({name}) listens on port {port}; start it so that it stays \
             in the foreground (nginx: -g 'daemon off;'){said}"
        )
    } else {
        format!("port {port} is taken by process {pid} ({name}), which the command did not start{said}")
    };
    Refusal { sentence, taken: !background }
}

fn silent(process: &mut Started, port: u16, patience: Duration) -> Refusal {
    let elsewhere = ports_of(&Tree::of(process.pid()));
    let hint = match elsewhere.first() {
        Some(other) => format!(", but on port {other}: put {PORT} where its port belongs"),
        None => "; does it take its port where {port} stands? More time: --start-timeout 30s".to_owned(),
    };
    let said = quoted(&process.complaints());
    process.end(Duration::from_millis(500));
    let time = patience.as_secs_f64();
    Refusal {
        sentence: format!("the command did not listen on port {port} within {time:.0} s{hint}{said}"),
        taken: false,
    }
}

/// The ports at which processes of a tree listen: /proc/net/tcp knows the sockets by their inodes.
fn ports_of(tree: &Tree) -> Vec<u16> {
    let mut sockets = Vec::new();
    for pid in tree.pids() {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let inode = |link: &str| link.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned);
        sockets.extend(links.filter_map(|link| inode(link.to_str()?)));
    }
    let mut ports = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(path).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // sl local_address rem_address st ... inode: 0A is LISTEN
            let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let port = local.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
            if sockets.iter().any(|socket| socket == inode) {
                ports.extend(port);
            }
        }
    }
    ports
}

fn quoted(lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "; it printed nothing".to_owned();
    }
    let last = &lines[lines.len().saturating_sub(4)..];
    format!("; its last words: {}", last.join(" | "))
}

/// The processes that serve `target`, none a descendant of another: the roots of its tree.
pub fn roots(target: SocketAddr) -> Vec<u32> {
    let owners = listen::server_pids(target);
    let below = |pid: u32| {
        let mut above = pid;
        // A server is a few processes deep; 32 is beyond any of them.
        (0..32).any(|_| {
            above = tree::parent(above).unwrap_or(0);
            owners.contains(&above)
        })
    };
    owners.iter().copied().filter(|&pid| !below(pid)).collect()
}

/// From now on what loses its parent below us becomes our child (trap b).
fn adopt_orphans() {
    let me = rustix::process::getpid();
    let _ = rustix::process::set_child_subreaper(Some(me)); // without it, a daemon stays: nothing worse
}

/// Whether what was started by `leader` has become ours: children that we did not start. The leader itself is not
/// waited for yet, and still a child.
fn left_orphans(leader: u32) -> bool {
    tree::children(std::process::id()).iter().any(|&pid| pid != leader)
}

/// Ends whatever a command left behind. Called when no child of ours should be left.
pub fn bury_orphans() {
    let me = std::process::id();
    for _ in 0..64 {
        let left = tree::children(me);
        if left.is_empty() {
            return;
        }
        for pid in left {
            // A child of ours that was not waited for: the id still is its own.
            let _ = child::signal(pid, SIGKILL);
            let _ = duolu_sys::process::wait(pid); // its own children come to us, and are next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_of_a_server_are_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let (address, queues) = listening(port).expect("we listen");
        assert_eq!((address.port(), queues.len()), (port, 1));
        assert!(ports_of(&Tree::of(std::process::id())).contains(&port));
        assert_eq!(roots(address), [0u32; 0], "we ourselves are never looked at");
        drop(listener);
        assert!(listening(port).is_none());
    }

    #[test]
    fn last_words_are_quoted_from_the_end() {
        let lines = ["a", "", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(quoted(&lines), "; its last words: b | c | d | e");
        assert_eq!(quoted(&[]), "; it printed nothing");
    }
}
