//! Making a descriptor non-blocking, the ways that work and two that are written often and do not; and what
//! `while (read() > 0)` cannot tell apart.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::{Stage, errno_name};
use duolu_sys::calls::flags::{EPOLLET, EPOLLIN, FD_CLOEXEC, O_APPEND, O_NONBLOCK};
use duolu_sys::calls::{Epoll, Fcntl, fcntl, open_again};
use duolu_sys::socket;
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, socket_with};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

pub static LAB: Lab = Lab {
    name: "nonblock",
    claims: &[53, 54],
    title: said("O_NONBLOCK; what while (read() > 0) hides", "O_NONBLOCK；while (read() > 0) 掩盖了什么"),
    expected: said(
        "fcntl(F_SETFL), open, socket(SOCK_NONBLOCK) and accept4 work; F_SETFD does nothing, and accept inherits nothing. while (read() > 0) \
         ends in the same way for \"nothing left\", for the end of the connection and for an error, and edge-triggered epoll will not tell \
         again. A peer that sends without a pause keeps the loop for itself.",
        "fcntl(F_SETFL)、open、socket(SOCK_NONBLOCK)、accept4 都行；F_SETFD 没有作用，accept 不继承。while (read() > 0) 对“读完了”、\
         连接结束、出错三种情况的结束方式一样，而边沿触发的 epoll 不会再报告。不停发送的对端会独占这个循环。",
    ),
    why: said(
        "O_NONBLOCK belongs to the open file: F_GETFL and F_SETFL (fcntl(2)); F_GETFD and F_SETFD know only FD_CLOEXEC, and the kernel \
         ignores other bits. Mixed up as F_SETFL of F_GETFD it does become non-blocking, but loses the file's other flags. SOCK_NONBLOCK \
         and accept4 (Linux 2.6.27, 2.6.28) need no second call. read says 0 at the end, -1 with EAGAIN when drained, -1 with another errno on \
         failure: three different things to do. For starvation keep a ready list of your own and take turns (epoll(7)). \"O_NOBLOCK\" is a typing error.",
        "O_NONBLOCK 属于打开的文件：用 F_GETFL、F_SETFL（fcntl(2)）；F_GETFD、F_SETFD 只认 FD_CLOEXEC，其他位内核忽略。混用成 F_SETFL 写 F_GETFD \
         的结果，虽然变成非阻塞，却丢了文件的其他标志。SOCK_NONBLOCK 和 accept4（Linux 2.6.27、2.6.28）不需要第二次调用。read 结束返回 0，读空返回 \
         -1 和 EAGAIN，失败返回 -1 和别的 errno：要做三件不同的事。防止饿死：自己维护就绪列表，轮流处理（epoll(7)）。“O_NOBLOCK”是笔误。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    for (way, nonblocking) in &facts.ways {
        let (code, expected) = way.said();
        let became =
            if *nonblocking { ("non-blocking", "非阻塞") } else { ("still blocking", "仍然阻塞") };
        stage.check(
            (format!("{code}: {}", became.0), format!("{code}：{}", became.1)),
            *nonblocking == expected,
        );
    }
    stage.check(
        said(
            "a dup of a descriptor made non-blocking is non-blocking, too",
            "描述符设为非阻塞后，它的 dup 也是非阻塞",
        ),
        facts.shared_by_dup,
    );
    let (before, after) = facts.append;
    let yes = |yes| if yes { ("yes", "有") } else { ("no", "无") };
    stage.check(
        (
            format!(
                "F_SETFL with what F_GETFD gave | O_NONBLOCK: O_APPEND before {}, after {}",
                yes(before).0,
                yes(after).0
            ),
            format!(
                "F_SETFL 写入 F_GETFD 的结果 | O_NONBLOCK：O_APPEND 之前{}，之后{}",
                yes(before).1,
                yes(after).1
            ),
        ),
        before && !after,
    );
    for End { cause, bytes, last, told_again } in &facts.ends {
        let (en, zh, expected) = cause.said();
        let again = if *told_again {
            ("told again", "再次报告")
        } else {
            ("not told again (ET)", "不再报告（ET）")
        };
        stage.check(
            (
                format!("while (read() > 0), {en}: {bytes} bytes, then {last}; {}", again.0),
                format!("while (read() > 0)，{zh}：{bytes} 字节，然后 {last}；{}", again.1),
            ),
            last == expected && !told_again,
        );
    }
    let Starved { reads, never_empty, other_waits } = facts.starved;
    stage.check(
        (
            format!("a sender that does not pause: {reads} reads in a row and no EAGAIN, while another connection's byte waits"),
            format!("对端不停发送：连续 {reads} 次 read 都没有 EAGAIN，而另一个连接的字节一直在等"),
        ),
        never_empty && other_waits,
    );
    Ok(())
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Every way tried.
    pub ways: Vec<(Way, bool)>,
    /// A copy made by dup is non-blocking once the other is.
    pub shared_by_dup: bool,
    /// O_APPEND before and after F_SETFL with what F_GETFD gave.
    pub append: (bool, bool),
    /// How the loop ended.
    pub ends: Vec<End>,
    /// Messages of one sender read in a row, while another's byte lay waiting; the loop had not come to its end.
    pub starved: Starved,
}

/// A way of setting O_NONBLOCK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// fcntl(F_GETFL), F_SETFL with O_NONBLOCK added.
    Fcntl,
    /// fcntl(F_GETFD), F_SETFD with O_NONBLOCK added: the wrong pair.
    WrongPair,
    /// open(O_NONBLOCK), here of a pipe.
    Open,
    /// socket(SOCK_NONBLOCK).
    Socket,
    /// accept of a non-blocking listener: nothing is inherited.
    Accept,
    /// accept4(SOCK_NONBLOCK).
    Accept4,
}

impl Way {
    /// The code, and whether it does what it is written for.
    const fn said(self) -> (&'static str, bool) {
        match self {
            Way::Fcntl => ("fcntl(F_SETFL, fcntl(F_GETFL) | O_NONBLOCK)", true),
            Way::WrongPair => ("fcntl(F_SETFD, fcntl(F_GETFD) | O_NONBLOCK)", false),
            Way::Open => ("open(O_NONBLOCK)", true),
            Way::Socket => ("socket(SOCK_NONBLOCK)", true),
            Way::Accept => ("accept() (listener: O_NONBLOCK)", false),
            Way::Accept4 => ("accept4(SOCK_NONBLOCK)", true),
        }
    }
}

/// An end of `while (read() > 0)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// What had happened.
    pub cause: Cause,
    /// Bytes read before.
    pub bytes: usize,
    /// The last answer of read: `EAGAIN`, `0`, `ECONNRESET`.
    pub last: String,
    /// Whether an edge-triggered epoll reports this descriptor once more.
    pub told_again: bool,
}

/// Why the loop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// All was read.
    Drained,
    /// All was read, and the peer has closed.
    Closed,
    /// The peer has reset the connection.
    Reset,
}

impl Cause {
    const fn said(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Cause::Drained => ("all is read", "读完了", "EAGAIN"),
            Cause::Closed => ("the peer has closed", "对端已关闭", "0"),
            Cause::Reset => ("the peer has reset", "对端已重置", "ECONNRESET"),
        }
    }
}

/// A loop that reads until EAGAIN, and a sender who does not stop.
#[derive(Clone, Copy, Debug)]
pub struct Starved {
    /// Reads in a row.
    pub reads: usize,
    /// None of them answered EAGAIN.
    pub never_empty: bool,
    /// The other connection's byte was still unread.
    pub other_waits: bool,
}

const READS: usize = 1_000;

/// The experiment.
fn observe() -> io::Result<Facts> {
    let (one, _other) = kit::connection()?;
    let copy = socket::dup(&one, 3)?;
    socket::set_nonblocking(&one, true)?;
    Ok(Facts {
        ways: ways()?,
        shared_by_dup: is_nonblocking(&copy)?,
        append: append()?,
        ends: [Cause::Drained, Cause::Closed, Cause::Reset]
            .into_iter()
            .map(end)
            .collect::<io::Result<_>>()?,
        starved: starve()?,
    })
}

fn is_nonblocking(fd: impl AsFd) -> io::Result<bool> {
    Ok(fcntl(fd, Fcntl::GetFileFlags)? & O_NONBLOCK != 0)
}

fn ways() -> io::Result<Vec<(Way, bool)>> {
    let (one, other) = kit::connection()?;
    fcntl(&one, Fcntl::SetFileFlags(fcntl(&one, Fcntl::GetFileFlags)? | O_NONBLOCK))?;
    fcntl(&other, Fcntl::SetDescriptorFlags(fcntl(&other, Fcntl::GetDescriptorFlags)? | O_NONBLOCK))?;
    let (reader, _writer) = socket::pipe()?;
    let opened = open_again(&reader, O_NONBLOCK)?;
    let made = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _clients = [TcpStream::connect(listener.local_addr()?)?, TcpStream::connect(listener.local_addr()?)?];
    listener.set_nonblocking(true)?;
    let accepted = accept_with(&listener, SocketFlags::empty())?;
    let accepted4 = accept_with(&listener, SocketFlags::NONBLOCK)?;
    Ok(vec![
        (Way::Fcntl, is_nonblocking(&one)?),
        (Way::WrongPair, is_nonblocking(&other)?),
        (Way::Open, is_nonblocking(&opened)?),
        (Way::Socket, is_nonblocking(&made)?),
        (Way::Accept, is_nonblocking(&accepted)?),
        (Way::Accept4, is_nonblocking(&accepted4)?),
    ])
}

/// `fcntl(fd, F_SETFL, fcntl(fd, F_GETFD) | O_NONBLOCK)`: it becomes non-blocking, and loses its other flags.
fn append() -> io::Result<(bool, bool)> {
    let file = std::fs::OpenOptions::new().append(true).open("/dev/null")?;
    let appends = || Ok::<bool, io::Error>(fcntl(&file, Fcntl::GetFileFlags)? & O_APPEND != 0);
    let before = appends()?;
    let wrong = fcntl(&file, Fcntl::GetDescriptorFlags)? & FD_CLOEXEC;
    fcntl(&file, Fcntl::SetFileFlags(wrong | O_NONBLOCK))?;
    Ok((before, appends()?))
}

/// `while ((n = read()) > 0)` on a connection to which `cause` has happened.
fn end(cause: Cause) -> io::Result<End> {
    let (client, server) = kit::connection()?;
    server.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(&server, EPOLLIN | EPOLLET)?;
    socket::send(&client, b"500 bytes, say")?;
    kit::arrived(&server, 14)?;
    let kept = happen(cause, client)?;
    kit::told_within(&epoll, 2_000)?;
    let (mut bytes, mut memory) = (0, [0; 64]);
    let last = loop {
        match socket::recv(&server, &mut memory) {
            Ok(0) => break "0".to_owned(),
            Ok(got) => bytes += got,
            Err(error) => break errno_name(&error),
        }
    };
    let told_again = !kit::told_within(&epoll, 40)?.is_empty();
    drop(kept);
    Ok(End { cause, bytes, last, told_again })
}

fn happen(cause: Cause, client: TcpStream) -> io::Result<Option<TcpStream>> {
    match cause {
        Cause::Drained => return Ok(Some(client)),
        Cause::Closed => {}
        Cause::Reset => socket::set_linger(&client, Some(0))?,
    }
    drop(client);
    // The FIN or RST is there at once on the loopback, unless the machine is busy.
    std::thread::sleep(std::time::Duration::from_millis(20));
    Ok(None)
}

/// The sender puts in as much as is read: what a fast peer does on a busy day.
fn starve() -> io::Result<Starved> {
    let (fast, served) = kit::connection()?;
    let (quiet, waiting) = kit::connection()?;
    served.set_nonblocking(true)?;
    socket::send(&quiet, b"x")?;
    kit::arrived(&waiting, 1)?;
    let data = [b'x'; 512];
    let mut memory = [0; 512];
    let mut starved = Starved { reads: 0, never_empty: true, other_waits: false };
    socket::send(&fast, &data)?;
    for _ in 0..READS {
        socket::send(&fast, &data)?;
        kit::arrived(&served, 1)?;
        starved.reads += 1;
        match socket::recv(&served, &mut memory) {
            Ok(_) => {}
            Err(_) => starved.never_empty = false,
        }
    }
    starved.other_waits = kit::unread(&waiting)? == 1;
    Ok(starved)
}
