//! Asleep, ready, running: threads in read, accept and epoll_wait as the kernel shows them; how often one that waits is
//! given a processor; what wakes it; and two that both want the same processor.

use super::kit;
use super::task::{ACCEPT, EPOLL_WAIT, HIDDEN, QUIET, READ, Task, Thread, look};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::{PATIENCE, Stage};
use duolu_sys::calls::Epoll;
use duolu_sys::calls::flags::EPOLLIN;
use duolu_sys::{process, socket};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub static LAB: Lab = Lab {
    name: "blocking",
    claims: &[20, 37, 38],
    title: said("blocked, ready, running: seen in the kernel", "阻塞、就绪、运行：内核里看到的状态"),
    expected: said(
        "A thread blocked in read, accept or epoll_wait is in state S, uses no processor and is given none until a byte \
         wakes it: one voluntary switch for each sleep. With epoll one thread sleeps once for all connections. Two busy threads \
         on one processor are both R, though only one has it.",
        "阻塞在 read、accept 或 epoll_wait 里的线程处于 S 状态，不占 CPU，被字节唤醒之前得不到 CPU：每睡一次，一次自愿切换。\
         用 epoll，一个线程为所有连接只睡一次。同一个 CPU 上的两个忙线程都是 R，尽管只有一个占着 CPU。",
    ),
    why: said(
        "Linux has one letter for ready and running: R, \"runnable\" (proc(5), ps(1)); the scheduler's own record tells them \
         apart (schedstat: time run, time queued). Blocked is S: the task has left the run queue and stands on the wait queue of \
         what it waits for; the arriving packet's wake-up call puts it back. So multiplexing does not do away with blocking: \
         the program blocks once, in one call, for all its descriptors.",
        "Linux 对“就绪”和“运行”只用一个字母 R（可运行，proc(5)、ps(1)）；调度器自己的记录能区分（schedstat：运行时间、排队时间）。\
         阻塞是 S：任务离开运行队列，挂到所等对象的等待队列上；数据包到来时的唤醒回调把它放回去。所以多路复用并没有消除阻塞：\
         程序在一个调用里、为所有描述符只阻塞一次。",
    ),
    verdict: Verdict::Answered,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    stage.table(
        said("three threads that wait", "三个在等待的线程"),
        std::iter::once(vec![
            said("the program calls", "程序调用"),
            said("state", "状态"),
            said("system call", "系统调用"),
            said("asleep in (wchan)", "睡在（wchan）"),
        ])
        .chain(facts.asleep.iter().map(row))
        .collect(),
    );
    for Asleep { call, task } in &facts.asleep {
        stage.check(
            (
                format!("blocked in {call}: state {}", task.state),
                format!("阻塞在 {call}：状态 {}", task.state),
            ),
            task.state == 'S',
        );
    }
    stage.check(
        (
            format!(
                "asleep for {} ms: {} switches, {} us of processor time",
                QUIET.as_millis(),
                facts.switches_while_quiet,
                facts.ran_while_quiet.as_micros()
            ),
            format!(
                "睡眠 {} 毫秒：切换 {} 次，占用 CPU {} 微秒",
                QUIET.as_millis(),
                facts.switches_while_quiet,
                facts.ran_while_quiet.as_micros()
            ),
        ),
        facts.switches_while_quiet == 0 && facts.ran_while_quiet.is_zero(),
    );
    stage.equal(
        (
            format!("{} bytes, one by one: voluntary switches", facts.bytes),
            format!("{} 个字节，一个一个来：自愿切换次数", facts.bytes),
        ),
        facts.switches,
        facts.bytes,
    );
    stage.check(
        (
            format!(
                "{WATCHED} connections: {} threads asleep in read, or 1 in epoll_wait",
                facts.reading_threads
            ),
            format!(
                "{WATCHED} 个连接：{} 个线程睡在 read 里，或者 1 个睡在 epoll_wait 里",
                facts.reading_threads
            ),
        ),
        facts.reading_threads == WATCHED,
    );
    // A kernel without schedstat keeps no such record.
    let unrecorded = facts.busy.iter().all(|busy| busy.ran.is_zero() && busy.queued.is_zero());
    for (at, busy) in facts.busy.iter().enumerate() {
        let (number, ran, queued) = (at + 1, busy.ran.as_millis(), busy.queued.as_millis());
        stage.check(
            (
                format!("busy thread {number} of 2 on one processor: always R; ran {ran} ms, ready but queued {queued} ms"),
                format!("同一 CPU 上的忙线程 {number}：一直是 R；运行 {ran} 毫秒，就绪排队 {queued} 毫秒"),
            ),
            busy.always_r && (unrecorded || !busy.queued.is_zero()),
        );
    }
    Ok(())
}

fn row(asleep: &Asleep) -> Vec<Said> {
    let hidden = || said("(hidden)", "（内核不显示）");
    let name =
        |text: &Option<String>| text.clone().filter(|name| name != HIDDEN).map_or_else(hidden, Said::same);
    let Asleep { call, task } = asleep;
    vec![Said::same(*call), Said::same(task.state.to_string()), name(&task.call), name(&task.wchan)]
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Threads that wait, each in another call: read, accept, epoll_wait for [`WATCHED`] connections.
    pub asleep: Vec<Asleep>,
    /// How often the sleeping reader was given a processor while nothing came, in [`QUIET`].
    pub switches_while_quiet: u64,
    /// Processor time it used meanwhile.
    pub ran_while_quiet: Duration,
    /// Bytes sent one by one, each when the reader slept again.
    pub bytes: u64,
    /// How often the reader gave up its processor for them.
    pub switches: u64,
    /// How many threads wait for [`WATCHED`] connections, one read each.
    pub reading_threads: usize,
    /// Two threads that only compute, on one processor.
    pub busy: Vec<Busy>,
}

/// A thread that waits.
#[derive(Debug)]
pub struct Asleep {
    /// The call, as the program has it.
    pub call: &'static str,
    /// What the kernel shows.
    pub task: Task,
}

/// A thread that computes.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    /// Its state, at every look.
    pub always_r: bool,
    /// Time on the processor.
    pub ran: Duration,
    /// Time ready, but without it.
    pub queued: Duration,
}

/// Connections that one thread waits for in epoll_wait.
pub const WATCHED: usize = 3;
const BYTES: u64 = 20;
const BUSY: Duration = Duration::from_millis(80);

/// The experiment.
pub fn observe() -> io::Result<Facts> {
    let (reader, accept, wait) = (reading()?, accepting()?, waiting()?);
    let asleep = vec![
        Asleep { call: "read", task: reader.asleep },
        Asleep { call: "accept", task: accept },
        Asleep { call: "epoll_wait", task: wait },
    ];
    Ok(Facts {
        asleep,
        switches_while_quiet: reader.switches_while_quiet,
        ran_while_quiet: reader.ran_while_quiet,
        bytes: BYTES,
        switches: reader.switches,
        reading_threads: one_thread_each()?,
        busy: computing()?,
    })
}

struct Reader {
    asleep: Task,
    switches_while_quiet: u64,
    ran_while_quiet: Duration,
    switches: u64,
}

/// A blocking read, woken byte by byte.
fn reading() -> io::Result<Reader> {
    let (client, server) = kit::connection()?;
    let thread =
        Thread::start("lab-read", move || while socket::recv(&server, &mut [0; 1]).is_ok_and(|n| n == 1) {})?;
    let asleep = thread.asleep_in(READ)?;
    std::thread::sleep(QUIET);
    let later = look(thread.tid)?;
    for _ in 0..BYTES {
        let before = thread.asleep_in(READ)?.voluntary;
        socket::send(&client, b"x")?;
        kit::until("a woken thread to sleep again", || Ok(look(thread.tid)?.voluntary > before))?;
    }
    let after = thread.asleep_in(READ)?;
    drop(client);
    thread.join()?;
    Ok(Reader {
        switches_while_quiet: later.voluntary + later.involuntary - asleep.voluntary - asleep.involuntary,
        ran_while_quiet: Duration::from_nanos(later.ran_ns - asleep.ran_ns),
        switches: after.voluntary - later.voluntary,
        asleep,
    })
}

/// A blocking accept.
fn accepting() -> io::Result<Task> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let thread = Thread::start("lab-accept", move || listener.accept().is_ok())?;
    let seen = thread.asleep_in(ACCEPT);
    let _client = TcpStream::connect(address)?;
    thread.join()?;
    seen
}

/// One epoll_wait for several connections.
fn waiting() -> io::Result<Task> {
    let pairs = connections()?;
    let epoll = Epoll::new()?;
    for (_, server) in &pairs {
        epoll.add(server, EPOLLIN)?;
    }
    let thread = Thread::start("lab-epoll", move || kit::told_within(&epoll, 5_000))?;
    let seen = thread.asleep_in(EPOLL_WAIT);
    socket::send(&pairs[0].0, b"x")?;
    thread.join()??;
    seen
}

/// As many threads as connections, each asleep in its own read.
fn one_thread_each() -> io::Result<usize> {
    let mut threads = Vec::new();
    let mut clients = Vec::new();
    for (client, server) in connections()? {
        clients.push(client);
        threads.push(Thread::start("lab-reader", move || socket::recv(&server, &mut [0; 1]).is_ok())?);
    }
    let asleep = threads.iter().filter(|thread| thread.asleep_in(READ).is_ok()).count();
    drop(clients);
    for thread in threads {
        thread.join()?;
    }
    Ok(asleep)
}

fn connections() -> io::Result<Vec<(TcpStream, TcpStream)>> {
    (0..WATCHED).map(|_| kit::connection()).collect()
}

/// Two threads that want the same processor all the time: both are "R", one of them has it.
fn computing() -> io::Result<Vec<Busy>> {
    let cpu = process::affinity(None)?.first().copied().unwrap_or(0);
    let stop = Arc::new(AtomicBool::new(false));
    let spin = || {
        let stop = Arc::clone(&stop);
        Thread::start("lab-busy", move || {
            let pinned = process::set_affinity(None, &[cpu]);
            let ends = Instant::now() + 2 * PATIENCE;
            while !stop.load(Ordering::Relaxed) && Instant::now() < ends {
                std::hint::spin_loop();
            }
            pinned
        })
    };
    let threads = [spin()?, spin()?];
    std::thread::sleep(Duration::from_millis(10));
    let before = [look(threads[0].tid)?, look(threads[1].tid)?];
    let began = Instant::now();
    let mut always_r = [true; 2];
    let after = loop {
        let now = [look(threads[0].tid)?, look(threads[1].tid)?];
        for at in [0, 1] {
            always_r[at] &= now[at].state == 'R';
        }
        // The record is brought up to date when a thread gets its processor: on a busy machine that takes a while.
        let recorded =
            (0..2).all(|at| now[at].ran_ns > before[at].ran_ns && now[at].queued_ns > before[at].queued_ns);
        if began.elapsed() > PATIENCE || (began.elapsed() > BUSY && recorded) {
            break now;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join()??;
    }
    let busy = |at: usize| Busy {
        always_r: always_r[at],
        ran: Duration::from_nanos(after[at].ran_ns - before[at].ran_ns),
        queued: Duration::from_nanos(after[at].queued_ns - before[at].queued_ns),
    };
    Ok(vec![busy(0), busy(1)])
}
