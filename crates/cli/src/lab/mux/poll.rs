//! poll(2): what is asked and what is told stand apart, three flags come unasked, the list has no limit but that on
//! descriptors, and the timeout's two special values.

use super::kit;
use super::task::{POLL, Thread};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use duolu_sys::calls::flags::{POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDHUP};
use duolu_sys::calls::{self, pollfd};
use duolu_sys::socket;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

pub static LAB: Lab = Lab {
    name: "poll",
    claims: &[31, 32, 35, 39],
    title: said("events asked, revents told, flags, timeouts", "events 与 revents 分开，标志与超时"),
    expected: said(
        "The same array serves call after call: events stays, revents is the answer. POLLERR, POLLHUP and POLLNVAL come though nobody \
         asked; POLLRDHUP only if asked for. More than 1024 entries are fine; more than RLIMIT_NOFILE are EINVAL. Timeout 0 only looks, \
         -1 sleeps until something comes.",
        "同一个数组可以一直用：events 不变，revents 是答案。POLLERR、POLLHUP、POLLNVAL 不请自来；POLLRDHUP 要求了才有。超过 1024 项没有\
         问题；超过 RLIMIT_NOFILE 则是 EINVAL。timeout 为 0 只看一眼，-1 一直睡到有事件。",
    ),
    why: said(
        "poll(2): events is an input, revents an output. POLLERR, POLLHUP and POLLNVAL are ignored in events and may always be in revents, so \
         POLLERR is nothing to ask for; POLLRDHUP (Linux 2.6.17) tells that the peer has ended its sending. The list may have as many \
         entries as RLIMIT_NOFILE allows (ERRORS, EINVAL). Any negative timeout means for ever, 0 returns at once.",
        "poll(2)：events 是输入，revents 是输出。POLLERR、POLLHUP、POLLNVAL 写在 events 里会被忽略，却随时可能出现在 revents 里，所以不需要\
         监听 POLLERR；POLLRDHUP（Linux 2.6.17）表示对端不再发送。项数上限是 RLIMIT_NOFILE（ERRORS，EINVAL）。负的 timeout 表示永远等，\
         0 立即返回。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe(kit::descriptors(MANY as u64)?)?;
    stage.check(
        (
            format!(
                "one array, {REUSED} calls: events unchanged {} times, revents always right",
                facts.reused
            ),
            format!("同一个数组调用 {REUSED} 次：events 有 {} 次未变，revents 每次都对", facts.reused),
        ),
        facts.reused == REUSED && facts.reused_right,
    );
    for Unasked { cause, revents } in &facts.unasked {
        let (en, zh, expected) = cause.said();
        stage.equal(
            (format!("events = 0, {en}: revents"), format!("events = 0，{zh}：revents")),
            names(*revents),
            names(expected),
        );
    }
    let (without, with) = facts.half_closed;
    stage.equal(
        said("the peer ended its sending, POLLIN asked for: revents", "对端不再发送，监听 POLLIN：revents"),
        names(without),
        names(POLLIN),
    );
    stage.equal(
        said("POLLIN|POLLRDHUP asked for: revents", "监听 POLLIN|POLLRDHUP：revents"),
        names(with),
        names(POLLIN | POLLRDHUP),
    );
    stage.check(
        (
            format!("{} entries in one call, all ready: all told", facts.many),
            format!("一次调用 {} 项，全部就绪：全部报告", facts.many),
        ),
        facts.many == MANY,
    );
    if let Some((limit, answer)) = &facts.too_many {
        stage.equal(
            (
                format!("{} entries, one more than RLIMIT_NOFILE: poll answers", limit + 1),
                format!("{} 项，比 RLIMIT_NOFILE 多一项：poll 得到", limit + 1),
            ),
            answer.as_str(),
            "EINVAL",
        );
    }
    let (zero, forever) = (facts.zero.as_micros(), facts.forever.asleep_after.as_millis());
    stage.check(
        (
            format!("timeout 0, nothing ready: back after {zero} us"),
            format!("timeout 为 0，无就绪：{zero} 微秒后返回"),
        ),
        facts.zero < LONG,
    );
    stage.check(
        (
            format!(
                "timeout -1: asleep in poll after {forever} ms; a byte comes, and it returns {}",
                facts.forever.answer
            ),
            format!(
                "timeout 为 -1：{forever} 毫秒后仍睡在 poll 里；来一个字节，返回 {}",
                facts.forever.answer
            ),
        ),
        facts.forever.answer == 1,
    );
    Ok(())
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// `events` was as it had been after so many calls with the same array.
    pub reused: usize,
    /// And the right descriptors were told each time.
    pub reused_right: bool,
    /// With `events` 0.
    pub unasked: Vec<Unasked>,
    /// The peer has ended its sending: what is told without and with POLLRDHUP asked for.
    pub half_closed: (i16, i16),
    /// So many entries in one call were all told.
    pub many: usize,
    /// RLIMIT_NOFILE, and what one entry more answers. `None` where the limit is too high to try.
    pub too_many: Option<(u64, String)>,
    /// How long a call with timeout 0 took, with nothing ready.
    pub zero: Duration,
    /// With -1: asleep as long as nothing came, then woken by a byte.
    pub forever: Forever,
}

/// A flag that nobody asked for.
#[derive(Clone, Copy, Debug)]
pub struct Unasked {
    /// How it came about.
    pub cause: Cause,
    /// What `revents` was.
    pub revents: i16,
}

/// Why a flag comes unasked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A pipe's reader has gone: its writer.
    ReaderGone,
    /// A pipe's writer has gone: its reader.
    WriterGone,
    /// The number is no open descriptor.
    Closed,
}

impl Cause {
    const fn said(self) -> (&'static str, &'static str, i16) {
        match self {
            Cause::ReaderGone => ("a pipe whose reader has gone", "管道的读端已关闭", POLLERR),
            Cause::WriterGone => ("a pipe whose writer has gone", "管道的写端已关闭", POLLHUP),
            Cause::Closed => ("a closed number", "已关闭的编号", POLLNVAL),
        }
    }
}

/// A wait without end.
#[derive(Debug)]
pub struct Forever {
    /// Seen asleep in poll after this time.
    pub asleep_after: Duration,
    /// What it answered when a byte came.
    pub answer: usize,
}

const REUSED: usize = 4;
/// More than select's set has bits.
const MANY: usize = 2_000;
/// Longer than a call that does not sleep can take on a busy machine.
const LONG: Duration = Duration::from_millis(100);

/// The experiment.
fn observe(limit: u64) -> io::Result<Facts> {
    let (reused, reused_right) = reuse()?;
    let (many, too_many) = limits(limit)?;
    let event = socket::eventfd()?;
    let began = Instant::now();
    calls::poll(&mut [ask(event.as_raw_fd(), POLLIN)], 0)?;
    let zero = began.elapsed();
    Ok(Facts {
        reused,
        reused_right,
        unasked: unasked()?,
        half_closed: half_closed()?,
        many,
        too_many,
        zero,
        forever: forever()?,
    })
}

fn ask(fd: RawFd, events: i16) -> pollfd {
    pollfd { fd, events, revents: 0 }
}

/// One of two is readable, in turns; the array is never filled in anew.
fn reuse() -> io::Result<(usize, bool)> {
    let events = [socket::eventfd()?, socket::eventfd()?];
    let mut list = [ask(events[0].as_raw_fd(), POLLIN), ask(events[1].as_raw_fd(), POLLIN)];
    let mut right = true;
    let mut untouched = 0;
    for turn in 0..REUSED {
        kit::raise(&events[turn % 2])?;
        calls::poll(&mut list, 0)?;
        right &= list[turn % 2].revents == POLLIN && list[1 - turn % 2].revents == 0;
        untouched += usize::from(list.iter().all(|entry| entry.events == POLLIN));
        kit::take(&events[turn % 2])?;
    }
    Ok((untouched, right))
}

fn unasked() -> io::Result<Vec<Unasked>> {
    let revents = |fd: RawFd| -> io::Result<i16> {
        let mut list = [ask(fd, 0)];
        calls::poll(&mut list, 0)?;
        Ok(list[0].revents)
    };
    let (reader, writer) = socket::pipe()?;
    drop(reader);
    let reader_gone = revents(writer.as_raw_fd())?;
    let (reader, writer) = socket::pipe()?;
    drop(writer);
    let writer_gone = revents(reader.as_raw_fd())?;
    // Closed at the end of this line; high, so that nobody takes the number meanwhile.
    let number = socket::dup(&reader, 60)?.as_raw_fd();
    let closed = revents(number)?;
    Ok(vec![
        Unasked { cause: Cause::ReaderGone, revents: reader_gone },
        Unasked { cause: Cause::WriterGone, revents: writer_gone },
        Unasked { cause: Cause::Closed, revents: closed },
    ])
}

fn half_closed() -> io::Result<(i16, i16)> {
    let (client, server) = kit::connection()?;
    client.shutdown(Shutdown::Write)?;
    let told = |events| -> io::Result<i16> {
        let mut list = [ask(server.as_raw_fd(), events)];
        calls::poll(&mut list, 2_000)?;
        Ok(list[0].revents)
    };
    Ok((told(POLLIN)?, told(POLLIN | POLLRDHUP)?))
}

fn limits(limit: u64) -> io::Result<(usize, Option<(u64, String)>)> {
    let event = kit::raised_eventfd()?;
    let mut list = vec![ask(event.as_raw_fd(), POLLIN); MANY];
    let many = calls::poll(&mut list, 0)?;
    // 8 bytes an entry: a limit of a thousand million would want 8 GB.
    if limit > 1 << 22 {
        return Ok((many, None));
    }
    let mut list = vec![ask(-1, POLLIN); limit as usize + 1];
    Ok((many, Some((limit, kit::answer(&calls::poll(&mut list, 0))))))
}

fn forever() -> io::Result<Forever> {
    let event = std::sync::Arc::new(socket::eventfd()?);
    let its_own = std::sync::Arc::clone(&event);
    let began = Instant::now();
    let thread = Thread::start("lab-poll", move || calls::poll(&mut [ask(its_own.as_raw_fd(), POLLIN)], -1))?;
    std::thread::sleep(Duration::from_millis(150));
    let seen = thread.asleep_in(POLL);
    let asleep_after = began.elapsed();
    kit::raise(&event)?;
    let answer = thread.join()??;
    seen.map(|_| Forever { asleep_after, answer })
}

/// `POLLIN|POLLHUP`.
pub fn names(revents: i16) -> String {
    let known = [
        (POLLIN, "POLLIN"),
        (POLLOUT, "POLLOUT"),
        (POLLERR, "POLLERR"),
        (POLLHUP, "POLLHUP"),
        (POLLNVAL, "POLLNVAL"),
        (POLLRDHUP, "POLLRDHUP"),
    ];
    let names: Vec<&str> =
        known.iter().filter(|(bit, _)| revents & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_names() {
        assert_eq!(names(POLLIN | POLLHUP), "POLLIN|POLLHUP");
        assert_eq!(names(0), "0");
    }
}
