//! The limit of 1024: what it counts, and whose it is. Few descriptors with high numbers, select(2) with a set that is
//! large enough, and the C library's own check in a child process.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use duolu_sys::calls::{self, FD_SETSIZE, FdSet};
use duolu_sys::process::Ended;
use duolu_sys::socket;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

pub static LAB: Lab = Lab {
    name: "select-1024",
    claims: &[27],
    title: said("whose limit 1024 is, and what it counts", "1024 是谁的上限，限制的是什么"),
    expected: said(
        "The limit is on the descriptor's number, not on how many are watched: one descriptor with a number from 1024 on does not fit \
         into fd_set. And it is the C library's, not the kernel's: select(2) with a larger set reports such a descriptor. A fortified \
         program is ended by glibc when it tries FD_SET(1024); without that check it writes past the set.",
        "上限针对描述符的编号，不是同时监听的个数：只要一个描述符编号 ≥ 1024，fd_set 就装不下。而且这是 C 库的上限，不是内核的：\
         给 select(2) 更大的集合，照样报告。启用 fortify 的程序执行 FD_SET(1024) 会被 glibc 终止；没有这个检查就写到集合外面。",
    ),
    why: said(
        "\"The Linux kernel imposes no fixed limit, but the glibc implementation makes fd_set a fixed-size type\", FD_SETSIZE = 1024, \
         and FD_SET on a larger number is undefined behaviour (select(2)). A server whose files, pipes and logs already use low numbers \
         gets there long before 1024 connections. Shown without harm: glibc's own check (__fdelt_chk) runs in a forked child.",
        "“Linux 内核没有固定上限，但 glibc 把 fd_set 定为固定大小”，FD_SETSIZE = 1024，对更大的编号用 FD_SET 是未定义行为（select(2)）。\
         服务器的文件、管道、日志已经占了小编号，不到 1024 个连接就会撞上。这里无害地演示：glibc 自己的检查（__fdelt_chk）放在 fork 出的\
         子进程里运行。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    let Facts { high, room, answer, watched, reported, .. } = facts;
    stage.check(
        (
            format!("fd_set has {FD_SETSIZE} bits: number {high} has none in it, though it is the only one watched"),
            format!("fd_set 有 {FD_SETSIZE} 位：编号 {high} 没有对应的位，尽管只监听它一个"),
        ),
        high as usize >= FD_SETSIZE,
    );
    stage.equal(
        (
            format!("the kernel's select with a set of {room} bits, fd {high} readable: returns"),
            format!("给内核的 select 一个 {room} 位的集合，fd {high} 可读：返回"),
        ),
        answer,
        1,
    );
    stage.equal(
        (
            format!("{watched} descriptors, all numbered below 1024, watched in one call: reported"),
            format!("一次监听 {watched} 个编号小于 1024 的描述符：报告"),
        ),
        reported,
        watched,
    );
    tell_overrun(stage, &facts);
    tell_fortified(stage, facts.fortified.as_ref());
    Ok(())
}

fn tell_overrun(stage: &mut Stage, facts: &Facts) {
    let (word, words) = facts.overrun;
    stage.check(
        (
            format!(
                "FD_SET(1024) without a check sets a bit in word {word} of a set with words 0 to {}",
                words - 1
            ),
            format!("不检查的 FD_SET(1024) 会写第 {word} 个字，而集合只有第 0 到 {} 个字", words - 1),
        ),
        word >= words,
    );
}

fn tell_fortified(stage: &mut Stage, fortified: Option<&Fortified>) {
    let Some(Fortified { lived_at_1023, signal_at_1024, said: message }) = fortified else {
        stage.check(
            said("this C library has no check of FD_SET to show", "这个 C 库没有 FD_SET 检查可以演示"),
            true,
        );
        return;
    };
    stage.check(
        said("fortified, FD_SET(1023): the child goes on", "启用 fortify，FD_SET(1023)：子进程继续运行"),
        *lived_at_1023,
    );
    let signal = signal_at_1024.map_or_else(|| "-".to_owned(), |signal| signal.to_string());
    stage.check(
        (
            format!("fortified, FD_SET(1024): the child is ended by signal {signal} (SIGABRT): {message}"),
            format!("启用 fortify，FD_SET(1024)：子进程被信号 {signal}（SIGABRT）终止：{message}"),
        ),
        *signal_at_1024 == Some(rustix::process::Signal::ABORT.as_raw()),
    );
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// A high number.
    pub high: RawFd,
    /// Bits in the set that select(2) was given for it.
    pub room: usize,
    /// What it answered with that one descriptor, which is readable, in the set.
    pub answer: usize,
    /// How many numbers below 1,024 were watched in one call.
    pub watched: usize,
    /// And how many of them it reported: all of them are readable.
    pub reported: usize,
    /// What glibc did with 1,023 and with 1,024 in a fortified FD_SET. `None` for another C library.
    pub fortified: Option<Fortified>,
    /// The word that an FD_SET without a check writes to for 1,024, and how many the set has.
    pub overrun: (usize, usize),
}

/// The C library's check.
#[derive(Debug)]
pub struct Fortified {
    /// The child that set bit 1,023 lived.
    pub lived_at_1023: bool,
    /// The child that set bit 1,024 was ended, by this signal.
    pub signal_at_1024: Option<i32>,
    /// What it said.
    pub said: String,
}

/// The experiment.
fn observe() -> Result<Facts, Trouble> {
    let event = kit::raised_eventfd()?;
    let limit = kit::descriptors(FD_SETSIZE as u64 + 80)?;
    let high = socket::dup(&event, limit.min(5002) as RawFd - 2)?;
    let number = high.as_raw_fd();
    let mut set = FdSet::of([number]);
    let room = set.room();
    let answer = kit::readable(number as usize + 1, &mut set)?;
    let (watched, reported) = all_below_1024(&event)?;
    let word_bits = std::ffi::c_ulong::BITS as usize;
    Ok(Facts {
        high: number,
        room,
        answer,
        watched,
        reported,
        fortified: fortified()?,
        overrun: (FD_SETSIZE / word_bits, calls::FD_SET_BYTES * 8 / word_bits),
    })
}

/// Copies of one readable eventfd under every number below 1,024 that is free, all watched in one call.
fn all_below_1024(event: &OwnedFd) -> io::Result<(usize, usize)> {
    let mut copies = Vec::new();
    loop {
        let copy = socket::dup(event, 3)?;
        if copy.as_raw_fd() >= FD_SETSIZE as RawFd {
            break;
        }
        copies.push(copy);
    }
    let mut set = FdSet::of(copies.iter().map(AsRawFd::as_raw_fd));
    let watched = set.len();
    let reported = kit::readable(FD_SETSIZE, &mut set)?;
    Ok((watched, reported))
}

fn fortified() -> io::Result<Option<Fortified>> {
    let (Some(inside), Some(outside)) =
        (calls::fd_set_fortified(FD_SETSIZE as i32 - 1)?, calls::fd_set_fortified(FD_SETSIZE as i32)?)
    else {
        return Ok(None);
    };
    let signal_at_1024 = match outside.ended {
        Ended::Signal(signal) => Some(signal),
        Ended::Code(_) => None,
    };
    Ok(Some(Fortified { lived_at_1023: inside.ended == Ended::Code(0), signal_at_1024, said: outside.said }))
}
