//! What is an event? Whatever is reported ready is tried at once, and what is not reported, too: the answer "would
//! block" is the only difference. And a level-triggered wait says so again without anything new having come.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::{Stage, errno_name};
use duolu_sys::calls::Epoll;
use duolu_sys::calls::flags::{EPOLLIN, EPOLLOUT};
use duolu_sys::socket;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

pub static LAB: Lab = Lab {
    name: "event",
    claims: &[36],
    title: said("what an event is: a call that would not block", "什么是事件：此刻调用不会阻塞"),
    expected: said(
        "Whatever epoll reports can be done at once: read, accept, send do not answer EAGAIN, though there may be no data at \
         all (end of file, a reset). Whatever it does not report answers EAGAIN. And one unread byte is reported again and \
         again, though nothing new comes.",
        "epoll 报告的，马上就能做：read、accept、send 不会返回 EAGAIN，哪怕根本没有数据（对端关闭、连接被重置）。没有报告的，\
         一调用就是 EAGAIN。一个没读走的字节会被反复报告，尽管没有新数据到来。",
    ),
    why: said(
        "An event is a state, readiness: \"the operation would not block\" (select(2), poll(2)); not a message that something \
         has arrived. So an error and the end of a file are readable too, and a level-triggered wait (the default) goes on \
         reporting as long as the state lasts (epoll(7)).",
        "事件是一种状态，即“就绪”：此刻做这个操作不会阻塞（select(2)、poll(2)）；它不是“有东西到了”的消息。所以出错和文件结束\
         也算可读；水平触发（默认）的等待只要状态还在就一直报告（epoll(7)）。",
    ),
    verdict: Verdict::Answered,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    stage.equal(
        (
            format!("one unread byte, {REPEATS} waits in a row, nothing new: reports"),
            format!("一个未读字节，连等 {REPEATS} 次，没有新数据：报告次数"),
        ),
        facts.repeats,
        REPEATS,
    );
    stage.equal(said("and once it is read", "读走之后"), facts.after_read, 0);
    for trial in &facts.trials {
        let (en, zh) = trial.kind.said();
        let told = (
            if trial.reported { "reported" } else { "silent" },
            if trial.reported { "报告" } else { "不报告" },
        );
        let (call, answer) = (trial.kind.call(), &trial.answer);
        stage.check(
            (
                format!("{en}: {}, and {call} gives {answer}", told.0),
                format!("{zh}：{}，{call} 得到 {answer}", told.1),
            ),
            trial.reported != trial.would_block() && trial.reported == trial.kind.is_ready(),
        );
    }
    let ready = facts.trials.iter().filter(|trial| trial.reported);
    let without_data = ready.filter(|trial| trial.kind.call() == "read" && trial.unread == 0).count();
    stage.equal(
        said(
            "readable with not one byte of data: end of file, reset",
            "一个字节的数据都没有却可读的：对端关闭、连接重置",
        ),
        without_data,
        2,
    );
    Ok(())
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// How many of [`REPEATS`] waits in a row reported one byte that nobody read.
    pub repeats: usize,
    /// And after the byte was read.
    pub after_read: usize,
    /// Descriptors of several kinds.
    pub trials: Vec<Trial>,
}

/// Waits in a row without new data.
pub const REPEATS: usize = 5;

/// A descriptor: what was reported, and what the call said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// Which.
    pub kind: Kind,
    /// epoll reported it.
    pub reported: bool,
    /// Bytes that had arrived.
    pub unread: u64,
    /// What the call answered: `1 byte`, `0`, `EAGAIN`.
    pub answer: String,
}

/// A situation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing has come.
    Quiet,
    /// One byte has.
    Data,
    /// The peer has closed.
    Closed,
    /// The peer has reset the connection.
    Reset,
    /// A listener with nobody in its queue.
    IdleListener,
    /// With somebody.
    Listener,
    /// Room to send into.
    Room,
    /// No room.
    Full,
}

impl Kind {
    const fn said(self) -> (&'static str, &'static str) {
        match self {
            Kind::Quiet => ("a connection on which nothing came", "没有数据的连接"),
            Kind::Data => ("a byte came", "来了一个字节"),
            Kind::Closed => ("the peer closed", "对端关闭"),
            Kind::Reset => ("the peer reset the connection", "对端重置连接"),
            Kind::IdleListener => ("a listener, nobody there", "监听套接字，没有人来"),
            Kind::Listener => ("a listener, somebody connected", "监听套接字，有人连接"),
            Kind::Room => ("room in the send buffer", "发送缓冲区有空间"),
            Kind::Full => ("a full send buffer", "发送缓冲区满"),
        }
    }

    const fn call(self) -> &'static str {
        match self {
            Kind::Quiet | Kind::Data | Kind::Closed | Kind::Reset => "read",
            Kind::IdleListener | Kind::Listener => "accept",
            Kind::Room | Kind::Full => "send",
        }
    }

    const fn is_ready(self) -> bool {
        !matches!(self, Kind::Quiet | Kind::IdleListener | Kind::Full)
    }
}

impl Trial {
    /// The call would have put a blocking caller to sleep.
    pub fn would_block(&self) -> bool {
        self.answer == "EAGAIN"
    }
}

/// The experiment.
pub fn observe() -> io::Result<Facts> {
    let (client, server) = kit::connection()?;
    server.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(&server, EPOLLIN)?;
    let waits =
        || -> io::Result<usize> { (0..REPEATS).map(|_| kit::told(&epoll).map(|told| told.len())).sum() };
    socket::send(&client, b"x")?;
    kit::arrived(&server, 1)?;
    let repeats = waits()?;
    socket::recv(&server, &mut [0; 8])?;
    let after_read = waits()?;
    let mut trials = reads()?;
    trials.extend(accepts()?);
    trials.extend(sends()?);
    Ok(Facts { repeats, after_read, trials })
}

fn reads() -> io::Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for kind in [Kind::Quiet, Kind::Data, Kind::Closed, Kind::Reset] {
        let (client, server) = kit::connection()?;
        server.set_nonblocking(true)?;
        let _kept = happen(kind, client)?;
        let reported = reported(&server, EPOLLIN, kind != Kind::Quiet)?;
        let unread = kit::unread(&server)?;
        trials.push(Trial { kind, reported, unread, answer: amount(socket::recv(&server, &mut [0; 8])) });
    }
    Ok(trials)
}

/// Has it happen to the peer of `client`; what is given back is kept open.
fn happen(kind: Kind, client: TcpStream) -> io::Result<Option<TcpStream>> {
    match kind {
        Kind::Data => socket::send(&client, b"x").map(drop)?,
        Kind::Closed => return Ok(None),
        Kind::Reset => {
            socket::set_linger(&client, Some(0))?;
            return Ok(None);
        }
        _ => {}
    }
    Ok(Some(client))
}

fn accepts() -> io::Result<Vec<Trial>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let trial = |kind, expected| -> io::Result<Trial> {
        let reported = reported(&listener, EPOLLIN, expected)?;
        let accepted = listener.accept();
        let answer = accepted
            .map_or_else(|error| errno_name(&error), |(stream, _)| format!("fd {}", stream.as_raw_fd()));
        Ok(Trial { kind, reported, unread: 0, answer })
    };
    let idle = trial(Kind::IdleListener, false)?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    Ok(vec![idle, trial(Kind::Listener, true)?])
}

fn sends() -> io::Result<Vec<Trial>> {
    // Not TCP: there the peer's kernel may take some more at any moment, and "full" would be over between two calls.
    let (client, _server) = socket::socketpair()?;
    let trial = |kind, expected| -> io::Result<Trial> {
        let reported = reported(&client, EPOLLOUT, expected)?;
        Ok(Trial { kind, reported, unread: 0, answer: amount(socket::send(&client, b"x")) })
    };
    let room = trial(Kind::Room, true)?;
    kit::fill(&client)?;
    Ok(vec![room, trial(Kind::Full, false)?])
}

/// Whether epoll reports it; what is expected to come gets the time to.
fn reported(fd: impl AsFd, flags: i32, expected: bool) -> io::Result<bool> {
    let epoll = Epoll::new()?;
    epoll.add(fd, flags)?;
    Ok(!kit::told_within(&epoll, if expected { 2_000 } else { 0 })?.is_empty())
}

fn amount(outcome: io::Result<usize>) -> String {
    outcome.map_or_else(|error| errno_name(&error), |bytes| bytes.to_string())
}
