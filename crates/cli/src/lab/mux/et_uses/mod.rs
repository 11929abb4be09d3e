//! What edge triggering is good for: writing without telling the kernel each time, one of several threads woken, and
//! counters that need no reading.

mod threads;

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
use duolu_sys::calls::flags::{EPOLLET, EPOLLIN, EPOLLOUT};
use duolu_sys::calls::{Epoll, Op};
use duolu_sys::socket;
use std::io;
use std::os::fd::AsRawFd;
use threads::{Sharing, THREADS, Woken};

pub static LAB: Lab = Lab {
    name: "et-uses",
    claims: &[49, 52],
    title: said("what edge triggering is for", "边沿触发的用处"),
    expected: said(
        "A sender whose buffer fills up needs two epoll_ctl calls for each stop with LT, none with ET. Of four threads on one epoll \
         descriptor, one event wakes one with ET, all with LT as long as nobody has read. A second event wakes a second thread with ET; only \
         ONESHOT keeps a connection with one. An eventfd that only wakes needs no read.",
        "发送缓冲区写满的发送者，用 LT 每停一次要两次 epoll_ctl，用 ET 一次也不用。四个线程等同一个 epoll：一个事件，ET 唤醒一个，LT 在有人读走之前\
         唤醒所有。第二个事件会让 ET 再唤醒一个线程；只有 ONESHOT 能保证一个连接只归一个线程。只用来唤醒的 eventfd 不需要读。",
    ),
    why: said(
        "Not \"always quicker\" (lt-et counts that), but: EPOLLOUT may stand there all the time, because it is told only when room \
         appears; several threads share one epoll descriptor without waking each other (epoll(7)); an eventfd tells of each write and a \
         timerfd of each expiry without being read; and parsers that keep a ready list of their own need no second report. EPOLLEXCLUSIVE (Linux 4.5) does for several epoll descriptors \
         what ET does for one: it wakes one or more, not all (epoll_ctl(2)). Purpose of ET: fewer re-arms and wake-ups, not fewer reads.",
        "不是“总是更快”（lt-et 数过），而是：EPOLLOUT 可以一直挂着，因为只有出现空间时才报告；多个线程共用一个 epoll 而不互相吵醒（epoll(7)）；\
         eventfd 每写一次、timerfd 每到期一次就报告，不必去读；自己维护就绪列表的解析器不需要第二次报告。EPOLLEXCLUSIVE（Linux 4.5）对多个 epoll 做的，正是 ET 对\
         一个 epoll 做的：唤醒一个或几个，而不是全部（epoll_ctl(2)）。ET 的目的：少重设、少唤醒，不是少 read。",
    ),
    verdict: Verdict::Answered,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    for (edge, name) in [(false, "LT"), (true, "ET")] {
        let Writing { stops, changes, waits } = writing(edge)?;
        let expected = if edge { 0 } else { 2 * stops };
        stage.check(
            (
                format!(
                    "{name}: {stops} times a full buffer, {waits} times told of room, {changes} epoll_ctl"
                ),
                format!("{name}：缓冲区满 {stops} 次，报告有空间 {waits} 次，epoll_ctl {changes} 次"),
            ),
            changes == expected && waits == stops,
        );
    }
    for (edge, name) in [(false, "LT"), (true, "ET")] {
        let Idle { waits, reports } = idle(edge)?;
        stage.check(
            (
                format!(
                    "{name}: EPOLLOUT left standing with nothing to send: {waits} waits, {reports} reports"
                ),
                format!("{name}：没有要发的却挂着 EPOLLOUT：等 {waits} 次，报告 {reports} 次"),
            ),
            reports == if edge { 1 } else { waits },
        );
    }
    tell_threads(stage)?;
    for (edge, name) in [(false, "LT"), (true, "ET")] {
        let Counter { raised, reports, reads, left } = counter(edge)?;
        stage.check(
            (
                format!("{name}: an eventfd raised {raised} times: {reports} reports, {reads} reads, {left} left in it"),
                format!("{name}：eventfd 触发 {raised} 次：报告 {reports} 次，读 {reads} 次，剩余计数 {left}"),
            ),
            reports == raised && (reads, left) == if edge { (0, raised as u64) } else { (raised, 0) },
        );
    }
    Ok(())
}

fn tell_threads(stage: &mut Stage) -> io::Result<()> {
    let mut rows = vec![vec![
        (format!("{THREADS} threads asleep in epoll_wait"), format!("{THREADS} 个线程睡在 epoll_wait"))
            .into(),
        said("awake after 1 event", "1 个事件后醒来"),
        said("after 2", "2 个事件后"),
    ]];
    for sharing in Sharing::ALL {
        let Woken { first, second, .. } = threads::wake(sharing)?;
        let (en, zh) = sharing.said();
        let awake = |count: usize| Said::same(count.to_string());
        rows.push(vec![said(en, zh), awake(first), awake(second)]);
        stage.check(
            (
                format!(
                    "{en}: one event wakes {first} of {THREADS}, a second before anybody has read: {second}"
                ),
                format!(
                    "{zh}：一个事件唤醒 {THREADS} 个中的 {first} 个，没有人读走时再来一个：共 {second} 个"
                ),
            ),
            sharing.allows(first, second),
        );
    }
    stage.table(said("who wakes up", "谁会醒来"), rows);
    Ok(())
}

/// A sender that is stopped by a full buffer again and again.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// How often the buffer was full.
    pub stops: usize,
    /// epoll_ctl calls meanwhile.
    pub changes: usize,
    /// epoll_wait calls that reported room.
    pub waits: usize,
}

/// Waits with EPOLLOUT asked for and nothing to send, and how many of them reported.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Waits.
    pub waits: usize,
    /// Reports.
    pub reports: usize,
}

/// An eventfd that is raised so often.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// Times it was raised.
    pub raised: usize,
    /// Waits that reported it.
    pub reports: usize,
    /// Reads of it.
    pub reads: usize,
    /// What the counter held at the end.
    pub left: u64,
}

const STOPS: usize = 5;
const WAITS: usize = 100;
const RAISED: usize = 100;

/// Sends until the buffer is full, waits for room, and so on; the peer reads all in between. Level-triggered, EPOLLOUT
/// must be asked for only while there is something to wait for; edge-triggered it stands there once.
fn writing(edge: bool) -> io::Result<Writing> {
    let (client, server) = kit::connection()?;
    client.set_nonblocking(true)?;
    server.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(&client, if edge { EPOLLOUT | EPOLLIN | EPOLLET } else { EPOLLIN })?;
    if edge {
        kit::told(&epoll)?; // that there is room at the beginning
    }
    let mut writing = Writing { stops: 0, changes: 0, waits: 0 };
    let ask = |flags, writing: &mut Writing| {
        writing.changes += 1;
        epoll.control(Op::Modify, client.as_raw_fd(), flags, 0)
    };
    for _ in 0..STOPS {
        kit::fill(&client)?;
        writing.stops += 1;
        if !edge {
            ask(EPOLLIN | EPOLLOUT, &mut writing)?;
        }
        kit::drain(&server)?;
        writing.waits += kit::told_within(&epoll, 2_000)?.len();
        if !edge {
            ask(EPOLLIN, &mut writing)?;
        }
    }
    Ok(writing)
}

/// EPOLLOUT left standing while there is nothing to send.
fn idle(edge: bool) -> io::Result<Idle> {
    let (client, _server) = kit::connection()?;
    let epoll = Epoll::new()?;
    epoll.add(&client, if edge { EPOLLOUT | EPOLLET } else { EPOLLOUT })?;
    let reports = (0..WAITS).map(|_| kit::told(&epoll).map(|told| told.len())).sum::<io::Result<usize>>()?;
    Ok(Idle { waits: WAITS, reports })
}

/// An eventfd that wakes a loop. Edge-triggered it need not be read: each write is a new event.
fn counter(edge: bool) -> io::Result<Counter> {
    let (epoll, event) = (Epoll::new()?, socket::eventfd()?);
    epoll.add(&event, if edge { EPOLLIN | EPOLLET } else { EPOLLIN })?;
    let mut counter = Counter { raised: RAISED, reports: 0, reads: 0, left: 0 };
    for _ in 0..RAISED {
        kit::raise(&event)?;
        counter.reports += kit::told(&epoll)?.len();
        if !edge {
            kit::take(&event)?;
            counter.reads += 1;
        }
    }
    counter.left = kit::take(&event)?;
    Ok(counter)
}
