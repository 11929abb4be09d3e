//! A low and a high number: select walks every bit up to the higher one, poll the entries it was given. With as many
//! descriptors as numbers both do the same.

use super::kit::{self, Cost, nanos};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
use duolu_sys::calls::flags::POLLIN;
use duolu_sys::calls::{self, FdSet, pollfd};
use duolu_sys::socket;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub static LAB: Lab = Lab {
    name: "sparse",
    claims: &[28, 33],
    title: said("{1, 1023}: select walks, poll does not", "{1, 1023}：select 要走，poll 不用走"),
    expected: said(
        "For two descriptors with numbers far apart poll is clearly quicker: it looks at the two entries it is given, select at \
         every bit up to the higher number. With a thousand descriptors both look at a thousand things.",
        "两个编号相差很远的描述符，poll 明显更快：它只看传入的两项，select 要看到最大编号为止的每一位。一千个描述符时，两者都要看\
         一千项。",
    ),
    why: said(
        "That is the \"smaller range\" of the notes: poll's work grows with the entries that you pass (nfds is their number, poll(2)), \
         select's with the highest number (nfds is that number + 1, select(2)); user and kernel both walk it. Sparse sets favour poll; \
         where all low numbers are watched there is no such difference, and both are O(n).",
        "这就是笔记里说的“搜索范围小”：poll 的工作量取决于你传入多少项（nfds 是项数，poll(2)），select 取决于最大编号（nfds 是最大编号 \
         + 1，select(2)），用户和内核都要走一遍。稀疏时 poll 占优；小编号全被监听时没有这个差别，两者都是 O(n)。",
    ),
    verdict: Verdict::Answered,
    needs: Needs::Nothing,
    run,
};

/// How many times as long select must take at least for the sparse pair: a third of what a quiet machine shows.
const CLEARLY: f64 = 1.3;

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    let (low, high) = facts.numbers;
    let dense = facts.dense.to_string();
    let range = |cost: &Cost| Said::same(format!("{} - {}", nanos(cost.best), nanos(cost.worst)));
    let row = |what: Said, looks: String, cost: &Cost| {
        vec![what, Said::same(looks), Said::same(cost.text()), range(cost)]
    };
    let call = |name: &str, of: String| Said::same(format!("{name}  {of}"));
    let pair = format!("{{{low}, {high}}}");
    stage.table(
        said("one call, nothing ready, no sleep", "一次调用，无就绪，不睡眠"),
        vec![
            vec![
                said("call", "调用"),
                said("looks at", "查看项数"),
                said("fastest round", "最快一轮"),
                said("spread", "范围"),
            ],
            row(call("select", pair.clone()), (high + 1).to_string(), &facts.sparse_select),
            row(call("poll  ", pair.clone()), "2".to_owned(), &facts.sparse_poll),
            row(call("select", format!("x {dense}")), dense.clone(), &facts.dense_select),
            row(call("poll  ", format!("x {dense}")), dense.clone(), &facts.dense_poll),
        ],
    );
    let times = |select: &Cost, poll: &Cost| select.best / poll.best;
    let sparse = times(&facts.sparse_select, &facts.sparse_poll);
    stage.check(
        (
            format!("{pair}: select takes {sparse:.1} times as long as poll (expected: at least {CLEARLY})"),
            format!("{pair}：select 耗时是 poll 的 {sparse:.1} 倍（预期至少 {CLEARLY} 倍）"),
        ),
        sparse >= CLEARLY,
    );
    let dense_times = times(&facts.dense_select, &facts.dense_poll);
    stage.check(
        (
            format!("{dense} descriptors: {dense_times:.1} times, so the advantage is gone (expected: below {sparse:.1})"),
            format!("{dense} 个描述符：{dense_times:.1} 倍，优势消失（预期低于 {sparse:.1} 倍）"),
        ),
        dense_times < sparse,
    );
    let growth = facts.dense_poll.best / facts.sparse_poll.best;
    stage.check(
        (
            format!("poll with {dense} entries takes {growth:.0} times as long as with 2"),
            format!("poll {dense} 项的耗时是 2 项的 {growth:.0} 倍"),
        ),
        growth > 5.0,
    );
    Ok(())
}

/// What was measured: nanoseconds of one call, without sleeping and with nothing ready.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The two numbers.
    pub numbers: (RawFd, RawFd),
    /// select over those two.
    pub sparse_select: Cost,
    /// poll over those two.
    pub sparse_poll: Cost,
    /// How many descriptors the dense case has.
    pub dense: usize,
    /// select over those.
    pub dense_select: Cost,
    /// poll over those.
    pub dense_poll: Cost,
}

/// Descriptors of the dense case.
const DENSE: usize = 1000;
const ROUNDS: usize = 40;
const ROUND: Duration = Duration::from_micros(500);

/// The measurement.
fn observe() -> Result<Facts, Trouble> {
    kit::descriptors(DENSE as u64 + 100)?;
    let event = socket::eventfd()?;
    let high = socket::dup(&event, 1023)?;
    let sparse = [event.as_raw_fd(), high.as_raw_fd()];
    let (sparse_select, sparse_poll) = both(&sparse)?;
    drop(high);
    let copies = (0..DENSE).map(|_| socket::dup(&event, 3)).collect::<io::Result<Vec<OwnedFd>>>()?;
    let dense: Vec<RawFd> = copies.iter().map(AsRawFd::as_raw_fd).collect();
    let (dense_select, dense_poll) = both(&dense)?;
    Ok(Facts {
        numbers: (sparse[0], sparse[1]),
        sparse_select,
        sparse_poll,
        dense: dense.len(),
        dense_select,
        dense_poll,
    })
}

/// The two take turns, so that whatever else the machine does hits both.
fn both(numbers: &[RawFd]) -> io::Result<(Cost, Cost)> {
    let watched = FdSet::of(numbers.iter().copied());
    let nfds = watched.room().min(numbers.iter().max().map_or(0, |highest| *highest as usize + 1));
    let mut set = watched.clone();
    let mut select = || {
        set.copy_from(&watched);
        kit::readable(nfds, &mut set).map(drop)
    };
    let mut entries: Vec<pollfd> =
        numbers.iter().map(|&fd| pollfd { fd, events: POLLIN, revents: 0 }).collect();
    let mut poll = || calls::poll(&mut entries, 0).map(drop);
    let mut costs = (kit::time(1, ROUND, &mut select)?, kit::time(1, ROUND, &mut poll)?);
    for _ in 1..ROUNDS {
        costs.0 = costs.0.with(kit::time(1, ROUND, &mut select)?);
        costs.1 = costs.1.with(kit::time(1, ROUND, &mut poll)?);
    }
    Ok(costs)
}
