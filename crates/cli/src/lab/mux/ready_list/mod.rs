//! A thousand watched, three ready: what one wait costs with each model, and how many entries the program looks at to
//! find the three. The watched are eventfds, so the numbers hold no network.

mod growth;

use super::kit::{self, Cost};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
use crate::walls::grouped;
use duolu_sys::calls::flags::{EPOLLIN, POLLIN};
use duolu_sys::calls::{self, Epoll, FdSet, pollfd};
use duolu_sys::socket;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub static LAB: Lab = Lab {
    name: "ready-list",
    claims: &[5, 34],
    title: said(
        "3 ready of 10 or of 10,000: what a wait costs",
        "监听 10 个与一万个、3 个就绪：一次等待的代价",
    ),
    expected: said(
        "What select and poll cost grows with how many are watched: the kernel walks them all, and then the program walks them again to \
         find the three. epoll_wait costs the same for ten and for ten thousand, and hands out just the three.",
        "select 和 poll 的代价随监听数增长：内核走一遍，程序为了找那三个又走一遍。epoll_wait 监听十个和一万个代价相同，只交出那三个。",
    ),
    why: said(
        "select and poll are given all descriptors at each call, so each call asks every one of them: O(n). epoll keeps the interest \
         list in the kernel; a descriptor that becomes ready puts itself on the ready list through its wake-up callback, and epoll_wait \
         takes what is there: O(ready) (epoll(7)). So real high concurrency is epoll's; select and poll are multiplexing, too, but each \
         call costs O(n).",
        "select 和 poll 每次调用都要传入全部描述符，于是每次都要逐个询问：O(n)。epoll 把关注列表留在内核里；描述符就绪时，由唤醒回调把自己\
         挂到就绪链表上，epoll_wait 只取链表上的：O(就绪数)（epoll(7)）。所以真正撑得起高并发的是 epoll；select、poll 也是多路复用，但每次\
         调用都是 O(n)。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

/// epoll's last row may cost so many times the first: it should be once, and a busy machine has its moments.
const SAME: f64 = 5.0;

/// And select's and poll's must cost at least this share of "as many times as more are watched": a small call has a fixed part.
const SHARE: f64 = 0.02;

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    stage.table(
        (
            format!("one wait, {READY} ready; fastest of {ROUNDS} rounds"),
            format!("一次等待，{READY} 个就绪；{ROUNDS} 轮中最快的"),
        ),
        table(&facts),
    );
    stage.show(growth::Growth::new(&facts));
    let (Some(first), Some(last), Some([select, poll, epoll])) =
        (facts.rows.first(), facts.rows.last(), facts.growth())
    else {
        return Err(Trouble::Broken("the descriptor limit leaves no room for ten".to_owned()));
    };
    let (from, to, more) = (first.watched, grouped(last.watched as u64), facts.times_as_many());
    for (name, growth) in [("select", select), ("poll", poll)] {
        let least = (more * SHARE).max(2.0);
        stage.check(
            (
                format!(
                    "{name}: {growth:.0} times the cost at {to} as at {from} (expected: at least {least:.0})"
                ),
                format!("{name}：监听 {to} 个的代价是 {from} 个的 {growth:.0} 倍（预期至少 {least:.0} 倍）"),
            ),
            growth >= least,
        );
    }
    stage.check(
        (
            format!("epoll: {epoll:.1} times (expected: at most {SAME:.0})"),
            format!("epoll：{epoll:.1} 倍（预期不超过 {SAME:.0} 倍）"),
        ),
        epoll <= SAME,
    );
    let (select, poll, epoll) = (last.select, last.poll, last.epoll);
    stage.check(
        (
            format!(
                "to find {READY} of {to} the program looks at {} bits, {} poll entries, or {} epoll events",
                grouped(select.looked_at as u64),
                grouped(poll.looked_at as u64),
                epoll.looked_at
            ),
            format!(
                "从 {to} 个里找出 {READY} 个，程序要看 {} 个位、{} 个 poll 项，或 {} 个 epoll 事件",
                grouped(select.looked_at as u64),
                grouped(poll.looked_at as u64),
                epoll.looked_at
            ),
        ),
        [select.found, poll.found, epoll.found] == [READY; 3]
            && epoll.looked_at == READY
            && poll.looked_at + 1 == last.watched,
    );
    if let Some(limit) = facts.cut_by_limit {
        stage.check(
            (
                format!("no more than {to}: the hard descriptor limit here is {limit} (ulimit -Hn)"),
                format!("最多 {to} 个：这里的描述符硬上限是 {limit}（ulimit -Hn）"),
            ),
            true,
        );
    }
    Ok(())
}

fn table(facts: &Facts) -> Vec<Vec<Said>> {
    let mut rows = vec![vec![
        said("watched", "监听数"),
        Said::same("select"),
        Said::same("poll"),
        Said::same("epoll_wait"),
        said("epoll_ctl DEL + ADD", "epoll_ctl DEL + ADD"),
    ]];
    rows.extend(facts.rows.iter().map(|row| {
        let costs = [row.select.cost, row.poll.cost, row.epoll.cost, row.change];
        std::iter::once(grouped(row.watched as u64))
            .chain(costs.map(|cost| cost.text()))
            .map(Said::same)
            .collect()
    }));
    rows
}

/// How many are ready, always.
const READY: usize = 3;
const WATCHED: [usize; 4] = [10, 100, 1_000, 10_000];
const ROUNDS: usize = 25;
const ROUND: Duration = Duration::from_millis(1);

/// What was measured with so many watched.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Descriptors watched.
    pub watched: usize,
    /// One call of each.
    pub select: Model,
    /// One call of each.
    pub poll: Model,
    /// One call of each.
    pub epoll: Model,
    /// epoll_ctl: one descriptor taken out and put in again.
    pub change: Cost,
}

/// One way of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// One wait.
    pub cost: Cost,
    /// Entries or bits the program looked at until it had found all that were ready.
    pub looked_at: usize,
    /// How many it found.
    pub found: usize,
}

/// All rows, and the largest that this process's descriptor limit allows.
#[derive(Debug)]
pub struct Facts {
    /// From few to many.
    pub rows: Vec<Row>,
    /// The limit, where it cut the table short.
    pub cut_by_limit: Option<u64>,
}

impl Facts {
    /// The last row's cost as a multiple of the first's: select, poll, epoll.
    pub fn growth(&self) -> Option<[f64; 3]> {
        let (first, last) = (self.rows.first()?, self.rows.last()?);
        let of = |model: fn(&Row) -> Model| model(last).cost.best / model(first).cost.best;
        Some([of(|row| row.select), of(|row| row.poll), of(|row| row.epoll)])
    }

    /// How many times as many the last row watches.
    pub fn times_as_many(&self) -> f64 {
        let watched = |row: Option<&Row>| row.map_or(1, |row| row.watched) as f64;
        watched(self.rows.last()) / watched(self.rows.first())
    }
}

/// The measurement.
fn observe() -> Result<Facts, Trouble> {
    let limit = kit::descriptors(200)?;
    // What else this process has open, and one for the epoll.
    let room = limit.saturating_sub(64) as usize;
    let possible: Vec<usize> = WATCHED.into_iter().filter(|&watched| watched <= room).collect();
    let rows = possible.iter().map(|&watched| row(watched)).collect::<io::Result<Vec<Row>>>()?;
    Ok(Facts { cut_by_limit: (rows.len() < WATCHED.len()).then_some(limit), rows })
}

fn row(watched: usize) -> io::Result<Row> {
    let events = (0..watched).map(|_| socket::eventfd()).collect::<io::Result<Vec<OwnedFd>>>()?;
    // In the middle, and near both ends: a walk has to go nearly all the way.
    for at in [1, watched / 2, watched - 2] {
        kit::raise(&events[at])?;
    }
    let numbers: Vec<RawFd> = events.iter().map(AsRawFd::as_raw_fd).collect();
    let (epoll, change) = with_epoll(&events)?;
    Ok(Row { watched, select: with_select(&numbers)?, poll: with_poll(&numbers)?, epoll, change })
}

fn with_select(numbers: &[RawFd]) -> io::Result<Model> {
    let watched = FdSet::of(numbers.iter().copied());
    let nfds = numbers.iter().max().map_or(0, |highest| *highest as usize + 1);
    let mut set = watched.clone();
    let mut wait = || {
        set.copy_from(&watched);
        kit::readable(nfds, &mut set)
    };
    let ready = wait()?;
    let cost = kit::time(ROUNDS, ROUND, || wait().map(drop))?;
    let (mut looked_at, mut found) = (0, 0);
    for number in 0..nfds as RawFd {
        if found == ready {
            break;
        }
        looked_at += 1;
        found += usize::from(set.contains(number));
    }
    Ok(Model { cost, looked_at, found })
}

fn with_poll(numbers: &[RawFd]) -> io::Result<Model> {
    let mut list: Vec<pollfd> = numbers.iter().map(|&fd| pollfd { fd, events: POLLIN, revents: 0 }).collect();
    let ready = calls::poll(&mut list, 0)?;
    let cost = kit::time(ROUNDS, ROUND, || calls::poll(&mut list, 0).map(drop))?;
    let (mut looked_at, mut found) = (0, 0);
    for entry in &list {
        if found == ready {
            break;
        }
        looked_at += 1;
        found += usize::from(entry.revents != 0);
    }
    Ok(Model { cost, looked_at, found })
}

fn with_epoll(events: &[OwnedFd]) -> io::Result<(Model, Cost)> {
    let epoll = Epoll::new()?;
    for event in events {
        epoll.add(event, EPOLLIN)?;
    }
    let mut told = kit::room(64);
    let found = epoll.wait(&mut told, 0)?;
    let cost = kit::time(ROUNDS, ROUND, || epoll.wait(&mut told, 0).map(drop))?;
    let one = &events[events.len() / 3];
    let change = kit::time(ROUNDS, ROUND, || {
        epoll.control(calls::Op::Delete, one.as_raw_fd(), 0, 0)?;
        epoll.add(one, EPOLLIN)
    })?;
    Ok((Model { cost, looked_at: found, found }, change))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(watched: usize, ns: [f64; 3]) -> Row {
        let model = |ns| Model { cost: Cost { best: ns, worst: ns }, looked_at: 3, found: 3 };
        let [select, poll, epoll] = ns.map(model);
        Row { watched, select, poll, epoll, change: Cost { best: 1.0, worst: 1.0 } }
    }

    #[test]
    fn growth_is_the_last_by_the_first() {
        let facts = Facts {
            rows: vec![at(10, [400.0, 500.0, 300.0]), at(10_000, [400_000.0, 250_000.0, 330.0])],
            cut_by_limit: None,
        };
        assert_eq!(facts.growth(), Some([1000.0, 500.0, 1.1]));
        assert_eq!(facts.times_as_many(), 1000.0);
        assert_eq!(Facts { rows: Vec::new(), cut_by_limit: None }.growth(), None);
    }
}
