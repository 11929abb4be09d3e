//! `duolu lab processes`: a process, a thread or an epoll for the same connections: what each costs, and where it ends.

use super::echo;
use super::kit::{ANY, connect_many, connect_plainly, wait_readable};
use crate::lab::child::Child;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::{Stage, errno_name};
use crate::machine::meminfo;
use crate::walls::{grouped, tasks};
use duolu_sys::process::{Fork, become_nobody, set_task_limit};
use duolu_sys::socket::{self, ListenOptions};
use duolu_sys::sync::atomic::Ordering::SeqCst;
use duolu_sys::worker::{fork_worker, shared_words};
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};

pub static LAB: Lab = Lab {
    name: "processes",
    claims: &[1],
    title: said(
        "a process for each connection works, and what it costs",
        "每连接一个进程：能用，但要付出什么",
    ),
    expected: said(
        "With a process, with a thread and with one epoll for all, every one of 200 connections is answered. A process costs memory of its own, a thread less, epoll next to nothing; and \
         a limit on processes ends it: fork() fails with EAGAIN.",
        "每连接一个进程、每连接一个线程、全部交给一个 epoll，200 个连接都得到回答。进程要有自己的内存，线程少一些，epoll 几乎不用；\
         而进程数的上限会让它停下：fork() 返回 EAGAIN。",
    ),
    why: said(
        "Many processes can carry many connections: it is never that they cannot. Each has its own page tables, stack and copied pages, and a switch for every message; \
         and there may be only so many: RLIMIT_NPROC, pids.max of the cgroup, kernel.pid_max and threads-max; threads need two mappings each of vm.max_map_count. duolu compare shows rate and latency up to the wall, on this machine.",
        "多进程能承载很多连接，从来不是“不能”。每个进程都有自己的页表、栈和复制的内存页，每条消息都要切换；而且数量有限：\
         RLIMIT_NPROC、cgroup 的 pids.max、kernel.pid_max 和 threads-max；线程还各占 vm.max_map_count 里的两个映射。duolu compare 在这台机器上量出直到撞墙的速率和延迟。",
    ),
    verdict: Verdict::Answered,
    needs: Needs::Nothing,
    run,
};

const CONNECTIONS: usize = 200;

/// A way to serve them all, and what it is called.
struct Way {
    name: Said,
    serve: fn(&TcpListener, usize),
}

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let ways = [
        Way { name: said("a process each", "每连接一个进程"), serve: echo::by_processes },
        Way { name: said("a thread each", "每连接一个线程"), serve: echo::by_threads },
        Way { name: said("one epoll", "一个 epoll"), serve: echo::by_epoll },
    ];
    let mut table = vec![vec![
        said("200 connections", "200 个连接"),
        said("answered", "得到回答"),
        said("processes", "进程"),
        said("threads", "线程"),
        said("memory each", "每个占内存"),
    ]];
    let mut costs = Vec::new();
    for way in &ways {
        let Measured { answered, processes, threads, kib } = try_way(way)?;
        costs.push(kib);
        stage.check(
            (
                format!(
                    "{}: {answered} of {CONNECTIONS} answered, {kib:.1} KiB for each connection",
                    way.name.pick(crate::lang::Lang::En)
                ),
                format!(
                    "{}：{CONNECTIONS} 个中 {answered} 个得到回答，每个连接 {kib:.1} KiB",
                    way.name.pick(crate::lang::Lang::Zh)
                ),
            ),
            answered == CONNECTIONS,
        );
        let mut row = vec![way.name.clone()];
        row.extend(
            [answered.to_string(), processes.to_string(), threads.to_string(), format!("{kib:.1} KiB")]
                .map(Said::same),
        );
        table.push(row);
    }
    stage.table(
        said("private memory and page tables of the server's processes", "服务器各进程的私有内存和页表"),
        table,
    );
    stage.check(
        said(
            "a process costs more than a thread, a thread more than an epoll entry",
            "进程比线程贵，线程比 epoll 的一项贵",
        ),
        costs.windows(2).all(|pair| pair[0] > pair[1]),
    );
    if let Some(room) = tasks::room(std::process::id()) {
        let left = grouped(room.left());
        stage.check(
            (
                format!(
                    "this machine has room for {left} more of either: {} is {}",
                    room.source,
                    grouped(room.limit)
                ),
                format!("这台机器还容得下 {left} 个进程或线程：{} 为 {}", room.source, grouped(room.limit)),
            ),
            true,
        );
    }
    task_wall(stage)
}

struct Measured {
    answered: usize,
    processes: usize,
    threads: u64,
    kib: f64,
}

fn try_way(way: &Way) -> Result<Measured, Trouble> {
    let listener = socket::listen(ANY, &ListenOptions::default())?;
    let address = listener.local_addr()?;
    let serve = way.serve;
    let server = Child::fork(|| serve(&listener, CONNECTIONS))?;
    drop(listener);
    // One connection is served before anything is counted: the first touches memory that all share.
    let first = connect_plainly(address)?;
    let mut answered = usize::from(speak(&first).is_ok());
    let before = Tree::of(server.pid());
    let clients = connect_many(address, CONNECTIONS - 1)?;
    answered += clients.iter().filter(|client| speak(client).is_ok()).count();
    let after = Tree::of(server.pid());
    let grown = after.kib.saturating_sub(before.kib);
    drop((first, clients));
    server.end()?;
    Ok(Measured {
        answered,
        processes: after.processes,
        threads: after.threads,
        kib: grown as f64 / (CONNECTIONS - 1) as f64,
    })
}

/// A message and its echo.
fn speak(client: &TcpStream) -> io::Result<()> {
    socket::send(client, b"hello")?;
    wait_readable(client)?;
    match socket::recv(client, &mut [0; 8])? {
        5 => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A server's processes: how many, their threads, and their memory that nobody else shares, with their page tables.
#[derive(Default)]
struct Tree {
    processes: usize,
    threads: u64,
    kib: u64,
}

impl Tree {
    fn of(root: u32) -> Self {
        let mut tree = Tree::default();
        let mut pids = vec![root];
        while let Some(pid) = pids.pop() {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let (status, rollup) = (read("status"), read("smaps_rollup"));
            // meminfo() gives bytes of lines in kB; a page that several processes share counts in parts.
            let memory = meminfo(&rollup, "Pss_Anon").unwrap_or(0) + meminfo(&status, "VmPTE").unwrap_or(0);
            let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
            tree.kib += memory / 1024;
            tree.threads += threads.and_then(|count| count.trim().parse().ok()).unwrap_or(1);
            tree.processes += 1;
            let children = read(&format!("task/{pid}/children"));
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        tree
    }
}

/// The wall itself, met: a user who may have only so many processes.
fn task_wall(stage: &mut Stage) -> Result<(), Trouble> {
    const LIMIT: u64 = 64;
    let words = shared_words(2)?;
    let child = Child::fork(|| {
        let _ = become_nobody(); // root is exempt; whoever is not root stays what he is
        let _ = set_task_limit(LIMIT);
        let mut forked = 0;
        while forked < 2 * LIMIT {
            match fork_worker() {
                Ok(Fork::Parent(_)) => forked += 1,
                Ok(Fork::Child) => loop {
                    std::thread::park();
                },
                Err(error) => {
                    words[1].store(u64::from(error.raw_os_error().unwrap_or(0).unsigned_abs()), SeqCst);
                    break;
                }
            }
        }
        words[0].store(forked + 1, SeqCst);
    })?;
    super::kit::wait_until(|| words[0].load(SeqCst) != 0);
    let forked = words[0].load(SeqCst).saturating_sub(1);
    let errno = io::Error::from_raw_os_error(words[1].load(SeqCst) as i32);
    child.end()?;
    if forked >= 2 * LIMIT {
        // Root of the machine in a user namespace that knows nobody else: exempt, and cannot become anybody.
        return Ok(());
    }
    stage.check(
        (
            format!(
                "with RLIMIT_NPROC {LIMIT} fork() succeeded {forked} times, then: {}",
                errno_name(&errno)
            ),
            format!("RLIMIT_NPROC 为 {LIMIT} 时，fork() 成功 {forked} 次，然后：{}", errno_name(&errno)),
        ),
        forked <= LIMIT && errno.raw_os_error() == Some(rustix::io::Errno::AGAIN.raw_os_error()),
    );
    Ok(())
}
