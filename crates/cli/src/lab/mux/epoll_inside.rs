//! What is behind an epoll descriptor: the tree of what is watched, as /proc/self/fdinfo lists it, and the list of what
//! is ready, as epoll_wait gives it out. They have different orders.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
use duolu_sys::calls::Epoll;
use duolu_sys::calls::flags::EPOLLIN;
use duolu_sys::socket;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

pub static LAB: Lab = Lab {
    name: "epoll-inside",
    claims: &[40, 42],
    title: said("behind epfd: a tree and a list", "epfd 背后：一棵树和一条链表"),
    expected: said(
        "/proc shows what is watched, sorted, whatever the order of adding: a search tree. epoll_wait gives out what is ready in the order \
         in which it became ready: a list beside the tree. Closing a watched descriptor takes it out without any epoll_ctl, \
         unless a copy of it is open.",
        "/proc 能看到监听了什么，而且是排好序的，与加入顺序无关：一棵搜索树。epoll_wait 按变为就绪的先后交出：树旁边的一条链表。关闭被监听的\
         描述符，不用 epoll_ctl 它就消失了，除非还有副本开着。",
    ),
    why: said(
        "struct eventpoll (Linux, fs/eventpoll.c) holds a red-black tree of what is watched, a list of what is ready and a queue of who waits. \
         The tree makes epoll_ctl O(log n); it is the ready list that makes epoll_wait independent of n. (A PCB, process control block, is \
         task_struct here; the descriptor sits in its files_struct like any other.) Its fdinfo is described in proc(5); the tree's key is \
         the file's address, then the number, so copies of one file are listed by number.",
        "struct eventpoll（Linux，fs/eventpoll.c）里有：监听项的红黑树、就绪链表、等待者队列。树让 epoll_ctl 是 O(log n)；让 epoll_wait 与 n \
         无关的是就绪链表。（PCB，进程控制块，在这里是 task_struct；这个描述符和别的一样放在它的 files_struct 里。）fdinfo 的格式见 proc(5)；\
         树的键先是文件地址、再是编号，所以同一文件的多个副本按编号排列。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    let path = "/proc/PID/fdinfo/EPFD";
    let mut rows =
        vec![vec![said("watched fd", "监听的 fd"), said("events", "events"), said("your data", "用户数据")]];
    rows.extend(facts.listed.iter().map(|entry| {
        vec![
            Said::same(entry.fd.to_string()),
            Said::same(format!("{:#x}", entry.events)),
            Said::same(format!("{:#x}", entry.data)),
        ]
    }));
    stage.table((format!("{path}: the interest list"), format!("{path}：关注列表")), rows);
    let listed: Vec<RawFd> = facts.listed.iter().map(|entry| entry.fd).collect();
    stage.check(
        (
            format!("added in the order {}, listed as {}", order(&facts.added), order(&listed)),
            format!("按 {} 的顺序加入，列出的是 {}", order(&facts.added), order(&listed)),
        ),
        listed.is_sorted() && listed.len() == facts.added.len() && !facts.added.is_sorted(),
    );
    stage.check(
        (
            format!(
                "others, listed as {}, became ready in the order {}, told as {}",
                order(&facts.raised_listed),
                order(&facts.raised),
                order(&facts.told)
            ),
            format!(
                "另外几个，列出的顺序 {}，变为就绪的顺序 {}，报告的顺序 {}",
                order(&facts.raised_listed),
                order(&facts.raised),
                order(&facts.told)
            ),
        ),
        facts.told == facts.raised && facts.told != facts.raised_listed,
    );
    stage.equal(
        said("two watched, one closed (no epoll_ctl): listed", "监听两个，关闭一个（不用 epoll_ctl）：列出"),
        facts.after_close,
        1,
    );
    stage.equal(
        said("the same while a dup of the closed one is open: listed", "被关闭的还有一个 dup 开着：列出"),
        facts.after_close_with_copy,
        2,
    );
    Ok(())
}

fn order(numbers: &[RawFd]) -> String {
    numbers.iter().map(RawFd::to_string).collect::<Vec<_>>().join(" ")
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Copies of one file were added in this order of their numbers,
    pub added: Vec<RawFd>,
    /// and are listed in this.
    pub listed: Vec<Entry>,
    /// Others became ready in this order,
    pub raised: Vec<RawFd>,
    /// are listed in this,
    pub raised_listed: Vec<RawFd>,
    /// and were told in this.
    pub told: Vec<RawFd>,
    /// What is listed after one of the watched was closed: without any epoll_ctl.
    pub after_close: usize,
    /// The same where a copy of the closed descriptor (dup) is still open.
    pub after_close_with_copy: usize,
}

/// A line of fdinfo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The watched number.
    pub fd: RawFd,
    /// The flags.
    pub events: u32,
    /// The 64 bits of user data.
    pub data: u64,
}

/// The experiment.
fn observe() -> io::Result<Facts> {
    let copies = Copies::new()?;
    let epoll = Epoll::new()?;
    let mut added = Vec::new();
    for at in [3, 0, 4, 1, 2] {
        epoll.add(&copies.copies[at], EPOLLIN)?;
        added.push(copies.copies[at].as_raw_fd());
    }
    let listed = parse(&fdinfo(&epoll)?);
    let (raised, raised_listed, told) = ready_order()?;
    Ok(Facts {
        added,
        listed,
        raised,
        raised_listed,
        told,
        after_close: close_one(false)?,
        after_close_with_copy: close_one(true)?,
    })
}

/// One file under five numbers. The tree sorts by the file's address first and by the number after: only among copies
/// of one file is the order one that people can follow.
struct Copies {
    copies: Vec<OwnedFd>,
}

impl Copies {
    fn new() -> io::Result<Self> {
        let event = socket::eventfd()?;
        let copies = (0..5).map(|_| socket::dup(&event, 3)).collect::<io::Result<_>>()?;
        Ok(Copies { copies })
    }
}

fn fdinfo(epoll: &Epoll) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", epoll.as_fd().as_raw_fd()))
}

/// `tfd:        5 events:       19 data:                5  pos:0 ino:... sdev:...` (proc(5)); the numbers but the
/// first are hexadecimal.
fn parse(text: &str) -> Vec<Entry> {
    let entry = |line: &str| -> Option<Entry> {
        let mut words = line.strip_prefix("tfd:")?.split_whitespace();
        let fd = words.next()?.parse().ok()?;
        let events = words.nth(1)?;
        let data = words.nth(1)?;
        Some(Entry {
            fd,
            events: u32::from_str_radix(events, 16).ok()?,
            data: u64::from_str_radix(data, 16).ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// They are raised against the order in which the tree lists them, so that the two orders cannot be the same by chance.
fn ready_order() -> io::Result<(Vec<RawFd>, Vec<RawFd>, Vec<RawFd>)> {
    let events = (0..4).map(|_| socket::eventfd()).collect::<io::Result<Vec<OwnedFd>>>()?;
    let epoll = Epoll::new()?;
    for event in &events {
        epoll.add(event, EPOLLIN)?;
    }
    let listed: Vec<RawFd> = parse(&fdinfo(&epoll)?).iter().map(|entry| entry.fd).collect();
    let mut raised = Vec::new();
    for number in listed.iter().rev() {
        if let Some(event) = events.iter().find(|event| event.as_raw_fd() == *number) {
            kit::raise(event)?;
            raised.push(*number);
        }
    }
    let told = kit::told(&epoll)?.into_iter().map(|data| data as RawFd).collect();
    Ok((raised, listed, told))
}

fn close_one(with_copy: bool) -> io::Result<usize> {
    let (one, other) = (socket::eventfd()?, socket::eventfd()?);
    let _copy = with_copy.then(|| socket::dup(&one, 3)).transpose()?;
    let epoll = Epoll::new()?;
    epoll.add(&one, EPOLLIN)?;
    epoll.add(&other, EPOLLIN)?;
    drop(one);
    Ok(parse(&fdinfo(&epoll)?).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_is_read_as_proc_5_has_it() {
        let text = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1058\n\
                    tfd:        8 events: 80002019 data:     56091e087f80  pos:0 ino:2710 sdev:f\n\
                    tfd:        5 events:       19 data:                5  pos:0 ino:422 sdev:f\n";
        let entries = parse(text);
        assert_eq!(entries[0], Entry { fd: 8, events: 0x8000_2019, data: 0x5609_1e08_7f80 });
        assert_eq!(entries[1], Entry { fd: 5, events: 0x19, data: 5 });
        assert_eq!(entries.len(), 2);
    }
}
