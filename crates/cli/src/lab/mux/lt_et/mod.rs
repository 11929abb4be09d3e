//! The notes' own scenario: 1,000 bytes come, 500 are read. Level- and edge-triggered side by side, byte for byte.

mod calls;
mod timeline;

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
use calls::MESSAGES;
use duolu_sys::calls::Epoll;
use duolu_sys::calls::flags::{EPOLLET, EPOLLIN};
use duolu_sys::socket;
use std::io;
use std::net::TcpStream;

pub static LAB: Lab = Lab {
    name: "lt-et",
    claims: &[48, 50, 51, 54, 55],
    title: said("half a message read: LT, ET, and their cost", "消息只读一半：LT、ET 与各自的代价"),
    expected: said(
        "Level-triggered epoll reports as long as something is unread. Edge-triggered it is silent about the 500 left, but reports again when \
         one more byte comes, with 501 unread: something new, not \"the buffer was emptied\". Counted in system calls for a message, ET is not \
         cheaper: the same with a small buffer, one call more with a large one, unless a short read ends the loop.",
        "水平触发：只要还有没读的就报告。边沿触发：对剩下的 500 字节不作声，但再来一个字节就又报告，此时 501 字节未读：触发的是“有新的”，\
         不是“缓冲区曾读空”。按每条消息的系统调用数，ET 并不更省：缓冲区小时一样，缓冲区大时多一次，除非读到不满就停。",
    ),
    why: said(
        "epoll(7): with EPOLLET an event is delivered only when changes occur on the descriptor, so read until EAGAIN; question 9 allows to stop at a \
         read that gives less than asked for, on a stream. The extra read is what ET pays for not being told again; what it saves are \
         re-arming (see et-uses) and wake-ups of other threads. So \"ET and non-blocking is the most efficient\" is no rule: measure it \
         with your own messages (duolu compare has epoll-lt and epoll-et side by side). Each way ran on a thread of its own name, to be counted from outside: \
         strace -fY -e trace=epoll_wait,recvfrom duolu lab lt-et.",
        "epoll(7)：用 EPOLLET 时，只有描述符上发生变化才有事件，所以要读到 EAGAIN；问答 9 允许在流上读到不满就停。多出的那次 read 是 ET “不再提醒”的\
         代价；它省下的是重新设置（见 et-uses）和别的线程的唤醒。所以“边沿非阻塞效率最高”不成立：用你自己的消息去测（duolu compare 里 epoll-lt \
         和 epoll-et 并排）。每种方式是一个有自己名字的线程，可以从外面数：strace -fY -e trace=epoll_wait,recvfrom duolu lab lt-et。",
    ),
    verdict: Verdict::Wrong,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let steps = play()?;
    stage.show(timeline::Timeline::new(steps.clone()));
    tell_scenario(stage, &steps);
    tell_piling_up(stage)?;
    let counts = calls::count()?;
    stage.table(
        said(
            "system calls for one message of 1,000 bytes: epoll_wait + recv",
            "每条 1000 字节消息的系统调用：epoll_wait + recv",
        ),
        scoreboard(&counts),
    );
    for way in calls::Way::ALL {
        let of = |buffer| counts.iter().find(move |count| (count.way, count.buffer) == (way, buffer));
        let [Some(small), Some(large)] = calls::BUFFERS.map(of) else { continue };
        let as_ruled = |count: &calls::Count| {
            let (waits, reads) = calls::by_the_rules(way, count.buffer);
            (count.waits, count.reads) == (waits * MESSAGES, reads * MESSAGES)
        };
        let sums = [small, large].map(calls::Count::per_message);
        let (en, zh) = way.said();
        stage.check(
            (
                format!("{en}: {} calls a message with the small buffer, {} with the large one ({MESSAGES} messages)", sums[0], sums[1]),
                format!("{zh}：每条消息小缓冲区 {} 次调用，大缓冲区 {} 次（{MESSAGES} 条）", sums[0], sums[1]),
            ),
            as_ruled(small) && as_ruled(large),
        );
    }
    Ok(())
}

fn tell_scenario(stage: &mut Stage, steps: &[Step]) {
    let after = |at: usize| steps.get(at).copied();
    let told = |seen: &Seen| if seen.reported { ("reported", "报告") } else { ("silent", "不报告") };
    let mut tell = |step: Option<Step>, what: (&str, &str), expected: (u64, bool, bool)| {
        let Some(Step { level, edge, .. }) = step else { return };
        stage.check(
            (
                format!("{}, {} unread: LT {}, ET {}", what.0, level.unread, told(&level).0, told(&edge).0),
                format!("{}，{} 字节未读：LT {}，ET {}", what.1, level.unread, told(&level).1, told(&edge).1),
            ),
            (level.unread, level.reported, edge.reported) == expected && level.unread == edge.unread,
        );
    };
    tell(after(1), ("1,000 bytes have come", "来了 1000 字节"), (1000, true, true));
    tell(after(2), ("500 read", "读走 500"), (500, true, false));
    tell(after(3), ("waited once more", "再等一次"), (500, true, false));
    tell(after(4), ("one more byte has come", "又来一个字节"), (501, true, true));
    tell(after(5), ("all is read", "全部读完"), (0, false, false));
}

/// The notes' fear: what stays in the buffer grows.
fn tell_piling_up(stage: &mut Stage) -> io::Result<()> {
    let (level, edge) = (pile_up(EPOLLIN)?, pile_up(EPOLLIN | EPOLLET)?);
    stage.check(
        (
            format!(
                "{PILED} messages, one read of 500 for each report: LT leaves {level} bytes unread, ET {edge}"
            ),
            format!("{PILED} 条消息，每次报告只读一次 500：LT 剩 {level} 字节未读，ET 剩 {edge}"),
        ),
        level == 0 && edge == PILED * 500,
    );
    Ok(())
}

/// Messages of 1,000 bytes, one read of 500 for each report until it is silent; what is unread in the end.
fn pile_up(flags: i32) -> io::Result<u64> {
    let side = Side::new(flags)?;
    for _ in 0..PILED {
        let before = kit::unread(&side.server)?;
        socket::send(&side.client, &[b'x'; calls::MESSAGE])?;
        kit::arrived(&side.server, before + calls::MESSAGE as u64)?;
        while !kit::told(&side.epoll)?.is_empty() {
            socket::recv(&side.server, &mut [0; 500])?;
        }
    }
    kit::unread(&side.server)
}

fn scoreboard(counts: &[calls::Count]) -> Vec<Vec<Said>> {
    let mut rows = vec![vec![
        said("how", "方式"),
        said("buffer 500", "缓冲区 500"),
        said("buffer 4,096", "缓冲区 4096"),
    ]];
    for way in calls::Way::ALL {
        let cell = |buffer: usize| {
            let found = counts.iter().find(|count| (count.way, count.buffer) == (way, buffer));
            found.map_or_else(String::new, |count| {
                format!("{} + {} = {}", count.waits / MESSAGES, count.reads / MESSAGES, count.per_message())
            })
        };
        let [small, large] = calls::BUFFERS.map(cell).map(Said::same);
        rows.push(vec![way.said().into(), small, large]);
    }
    rows
}

/// One step of the script, and what it came to on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What was done.
    pub act: Act,
    /// Level-triggered.
    pub level: Seen,
    /// Edge-triggered.
    pub edge: Seen,
}

/// What is done to both connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The peer sends so many bytes.
    Send(usize),
    /// We read up to so many.
    Read(usize),
    /// Nothing: only epoll_wait once more.
    Wait,
}

/// After the act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Bytes in the receive buffer (FIONREAD).
    pub unread: u64,
    /// Whether epoll_wait reported.
    pub reported: bool,
}

/// The notes' scenario, and what follows from it.
const SCRIPT: [Act; 8] = [
    Act::Wait,
    Act::Send(1000),
    Act::Read(500),
    Act::Wait,
    Act::Send(1),
    Act::Read(501),
    Act::Wait,
    Act::Send(1000),
];

/// Messages to pile up.
const PILED: u64 = 10;

/// How long a wait that should tell nothing sleeps, in milliseconds.
const SILENCE_MS: i32 = 40;

struct Side {
    client: TcpStream,
    server: TcpStream,
    epoll: Epoll,
}

impl Side {
    fn new(flags: i32) -> io::Result<Self> {
        let (client, server) = kit::connection()?;
        server.set_nonblocking(true)?;
        let epoll = Epoll::new()?;
        epoll.add(&server, flags)?;
        Ok(Side { client, server, epoll })
    }

    fn act(&self, act: Act) -> io::Result<Seen> {
        match act {
            Act::Send(bytes) => {
                let before = kit::unread(&self.server)?;
                socket::send(&self.client, &vec![b'x'; bytes])?;
                kit::arrived(&self.server, before + bytes as u64)?;
            }
            Act::Read(bytes) => socket::recv(&self.server, &mut vec![0; bytes]).map(drop)?,
            Act::Wait => {}
        }
        let unread = kit::unread(&self.server)?;
        Ok(Seen { unread, reported: !kit::told_within(&self.epoll, SILENCE_MS)?.is_empty() })
    }
}

/// The script, on two connections that differ in one flag.
fn play() -> io::Result<Vec<Step>> {
    let (level, edge) = (Side::new(EPOLLIN)?, Side::new(EPOLLIN | EPOLLET)?);
    SCRIPT.into_iter().map(|act| Ok(Step { act, level: level.act(act)?, edge: edge.act(act)? })).collect()
}
