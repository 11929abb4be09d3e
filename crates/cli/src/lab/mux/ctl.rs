//! epoll_ctl's last argument: 64 bits that the kernel keeps and gives back and never reads. And epoll_wait's array: what
//! happens where it is too small.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::{Stage, errno_name};
use duolu_sys::calls::flags::EPOLLIN;
use duolu_sys::calls::{Epoll, Op};
use duolu_sys::socket;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

pub static LAB: Lab = Lab {
    name: "ctl",
    claims: &[44, 45, 46],
    title: said("data is yours, and epoll_wait takes turns", "data 归你用，epoll_wait 轮流给"),
    expected: said(
        "The 64 bits of epoll_data come back as they went in, whatever they are. With another descriptor's number in data.fd the event \
         names the wrong one, and nobody notices. A pointer in data.ptr leaves no fd. With ten ready and room for three, four waits \
         tell all ten.",
        "epoll_data 的 64 位原样返回，是什么都行。data.fd 里写别的描述符编号，事件就指向错的那个，没有人会发现。data.ptr 放了指针，fd 就没了。\
         十个就绪、数组只有三项时，四次等待报告全部十个。",
    ),
    why: said(
        "The kernel \"should save and then return\" data and never looks at it (epoll_ctl(2)); that data.fd is the watched fd is a habit. It is \
         a union: ptr and fd share the bytes. epoll_wait fills at most maxevents (which must be above 0); what stays ready goes to the \
         end of the ready list, so nobody starves (epoll_wait(2), NOTES).",
        "内核只“保存并返回” data，从不看它（epoll_ctl(2)）；data.fd 等于被监听的 fd 只是习惯。它是 union：ptr 和 fd 共用同样的字节。epoll_wait \
         最多填 maxevents 项（必须大于 0）；仍然就绪的排到就绪链表末尾，所以没有人会饿死（epoll_wait(2) NOTES）。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    kit::descriptors(128)?;
    let facts = observe()?;
    let (given, back) = facts.data;
    stage.equal(
        (format!("data given {given:#x}, given back"), format!("传入 data {given:#x}，传回")),
        format!("{back:#x}"),
        format!("{given:#x}"),
    );
    let MixedUp { readable, told, read_of_told, read_of_readable } = &facts.mixed_up;
    stage.check(
        (
            format!("fd {readable} added with data.fd = {told}; a byte comes for fd {readable}: the event says {told}; reading {told} gives {read_of_told}, reading {readable} gives {read_of_readable}"),
            format!("加入 fd {readable} 时 data.fd 写 {told}；fd {readable} 来了一个字节：事件说是 {told}；读 {told} 得到 {read_of_told}，读 {readable} 得到 {read_of_readable}"),
        ),
        told != readable && read_of_told == "EAGAIN" && read_of_readable == "1",
    );
    let (pointer, fd) = facts.union;
    stage.check(
        (
            format!("data.ptr = {pointer:#x}: data.fd then reads {fd}"),
            format!("data.ptr = {pointer:#x}：此时 data.fd 读出 {fd}"),
        ),
        fd as u64 != pointer,
    );
    for (refusal, answer) in &facts.refusals {
        let (en, zh, expected) = refusal.said();
        stage.equal(said(en, zh), answer.as_str(), expected);
    }
    let turns: Vec<String> = facts
        .turns
        .iter()
        .map(|turn| turn.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
        .collect();
    stage.check(
        (
            format!(
                "{READY} ready, maxevents {ROOM}: {} waits told {}: {} different ones",
                turns.len(),
                turns.join(" | "),
                facts.different
            ),
            format!(
                "{READY} 个就绪，maxevents 为 {ROOM}：{} 次等待报告 {}：共 {} 个不同的",
                turns.len(),
                turns.join(" | "),
                facts.different
            ),
        ),
        facts.different == READY,
    );
    stage.equal(said("maxevents 0", "maxevents 为 0"), facts.no_room.as_str(), "EINVAL");
    Ok(())
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// The 64 bits given, and those that came back.
    pub data: (u64, u64),
    /// Descriptor A was added with B's number inside, and a byte was sent to A.
    pub mixed_up: MixedUp,
    /// A pointer written to the union, and what `data.fd` reads from it.
    pub union: (u64, i32),
    /// What epoll_ctl refuses.
    pub refusals: Vec<(Refusal, String)>,
    /// With ten ready and room for [`ROOM`]: the numbers that each wait in a row told, by their place.
    pub turns: Vec<Vec<u64>>,
    /// How many different ones that were, of [`READY`].
    pub different: usize,
    /// What epoll_wait answers to maxevents 0.
    pub no_room: String,
}

/// A and B exchanged.
#[derive(Debug)]
pub struct MixedUp {
    pub readable: RawFd,
    pub told: RawFd,
    /// What read answers for the number that was told.
    pub read_of_told: String,
    /// And for the one that is readable.
    pub read_of_readable: String,
}

/// A call that the kernel refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    AddTwice,
    ModifyAbsent,
    DeleteAbsent,
    RegularFile,
    Itself,
    Closed,
}

impl Refusal {
    const fn said(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Refusal::AddTwice => ("ADD of what is there already", "ADD 已经在里面的", "EEXIST"),
            Refusal::ModifyAbsent => ("MOD of what is not there", "MOD 不在里面的", "ENOENT"),
            Refusal::DeleteAbsent => ("DEL of what is not there", "DEL 不在里面的", "ENOENT"),
            Refusal::RegularFile => {
                ("ADD of a regular file: it is always ready", "ADD 普通文件：它永远就绪", "EPERM")
            }
            Refusal::Itself => ("ADD of the epoll to itself", "ADD 自己", "EINVAL"),
            Refusal::Closed => ("ADD of a closed number", "ADD 已关闭的编号", "EBADF"),
        }
    }
}

/// How many are ready.
const READY: usize = 10;
/// maxevents.
const ROOM: usize = 3;

/// The experiment.
fn observe() -> io::Result<Facts> {
    let given = 0xfeed_face_cafe_f00d;
    let (epoll, event) = (Epoll::new()?, kit::raised_eventfd()?);
    epoll.control(Op::Add, event.as_raw_fd(), EPOLLIN, given)?;
    let back = kit::told(&epoll)?.first().copied().unwrap_or_default();
    let pointer = 0x7f3a_1c5e_9040_u64;
    let (turns, different) = turns()?;
    Ok(Facts {
        data: (given, back),
        mixed_up: mixed_up()?,
        union: (pointer, as_fd(pointer)),
        refusals: refusals()?,
        turns,
        different,
        no_room: kit::answer(&Epoll::new()?.wait(&mut [], 0)),
    })
}

/// What C reads from `data.fd` after a write to `data.ptr`: the union's first four bytes.
fn as_fd(pointer: u64) -> i32 {
    let bytes = pointer.to_ne_bytes();
    i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn mixed_up() -> io::Result<MixedUp> {
    let ((client, a), (_quiet, b)) = (kit::connection()?, kit::connection()?);
    a.set_nonblocking(true)?;
    b.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.control(Op::Add, a.as_raw_fd(), EPOLLIN, b.as_raw_fd() as u64)?;
    socket::send(&client, b"x")?;
    let told = kit::told_within(&epoll, 2_000)?.first().map_or(-1, |data| *data as RawFd);
    let read = |socket| match socket::recv(socket, &mut [0; 8]) {
        Ok(bytes) => format!("{bytes}"),
        Err(error) => errno_name(&error),
    };
    Ok(MixedUp { readable: a.as_raw_fd(), told, read_of_told: read(&b), read_of_readable: read(&a) })
}

fn refusals() -> io::Result<Vec<(Refusal, String)>> {
    let (epoll, event, absent) = (Epoll::new()?, socket::eventfd()?, socket::eventfd()?);
    let itself = epoll.as_fd().as_raw_fd();
    let file = std::fs::File::open("/proc/self/exe")?;
    let closed = socket::dup(&event, 60)?.as_raw_fd();
    epoll.add(&event, EPOLLIN)?;
    let attempts = [
        (Refusal::AddTwice, Op::Add, event.as_raw_fd()),
        (Refusal::ModifyAbsent, Op::Modify, absent.as_raw_fd()),
        (Refusal::DeleteAbsent, Op::Delete, absent.as_raw_fd()),
        (Refusal::RegularFile, Op::Add, file.as_raw_fd()),
        (Refusal::Itself, Op::Add, itself),
        (Refusal::Closed, Op::Add, closed),
    ];
    Ok(attempts.map(|(which, op, fd)| (which, kit::answer(&epoll.control(op, fd, EPOLLIN, 0)))).to_vec())
}

fn turns() -> io::Result<(Vec<Vec<u64>>, usize)> {
    let events = (0..READY).map(|_| kit::raised_eventfd()).collect::<io::Result<Vec<OwnedFd>>>()?;
    let epoll = Epoll::new()?;
    for (at, event) in (0..).zip(&events) {
        epoll.control(Op::Add, event.as_raw_fd(), EPOLLIN, at)?;
    }
    let mut turns = Vec::new();
    for _ in 0..READY.div_ceil(ROOM) {
        let mut told = kit::room(ROOM);
        let count = epoll.wait(&mut told, 0)?;
        turns.push(told[..count].iter().map(|event| event.u64).collect::<Vec<u64>>());
    }
    let different: BTreeSet<u64> = turns.iter().flatten().copied().collect();
    Ok((turns, different.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_does_not_keep_the_descriptor() {
        if cfg!(target_endian = "little") {
            assert_eq!(as_fd(0x1_0000_0007), 7);
        }
        assert_eq!(as_fd(0), 0);
    }
}
