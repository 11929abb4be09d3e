//! From the wait to the callback, in duolu's own loop: what is due is queued by priority first, then called, and every
//! callback returns to the loop. Descriptors, timers, signals and the program's own events go the same way.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
use duolu::{Config, Context, EventLoop, Interest, Next, Options, Ready};
use duolu_sys::process;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub static LAB: Lab = Lab {
    name: "callback",
    claims: &[56],
    title: said("from the wait to the callback, by priority", "从等待到回调，按优先级"),
    expected: said(
        "One wait tells of all that is ready; the loop queues it by priority and calls the most urgent queue, whatever became ready first; \
         then it looks at the kernel again, so that something urgent that came meanwhile goes before the rest. Each callback returns to \
         the loop before the next begins; what it makes due is called after it, not inside it. Timers, signals and the program's own \
         events go the same way.",
        "一次等待报告所有就绪的；循环按优先级排队，先调最紧急的那一队，与就绪的先后无关；然后再看一眼内核，这期间来的更紧急的事件就能排在前面。\
         每个回调返回循环之后，下一个才开始；它激活的事件在它之后调用，不是在它里面调用。定时器、信号、程序自己的事件走同一条路。",
    ),
    why: said(
        "epoll_wait calls nothing: it fills an array. A library (libevent, libev, duolu) turns each entry into an active event in the queue of \
         its priority, adds timers that have run out and signals (here by way of an eventfd that wakes the wait), and calls one after the \
         other. That is the reactor pattern; so a callback that takes long, or sleeps, holds up all others. Traced through duolu's own loop: \
         prepare hook, wait, check hook, callbacks.",
        "epoll_wait 不调用任何东西：它只填数组。库（libevent、libev、duolu）把每一项变成活动事件，放进对应优先级的队列，再加上到期的定时器和信号\
         （这里通过唤醒等待的 eventfd），然后一个接一个调用。这就是 reactor 模式；所以回调里耗时或睡眠，会耽误所有其他人。以下是 duolu 自己\
         的循环的跟踪：prepare 钩子、等待、check 钩子、回调。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    stage.table(said("the trace, turn by turn", "逐轮跟踪"), table(&facts.trace));
    let list = |priorities: &[u8]| priorities.iter().map(u8::to_string).collect::<Vec<_>>().join(" ");
    stage.check(
        (
            format!(
                "became ready in the order of priorities {}, called in the order {}",
                list(&facts.became_ready),
                list(&facts.called)
            ),
            format!("变为就绪的优先级顺序 {}，调用的顺序 {}", list(&facts.became_ready), list(&facts.called)),
        ),
        facts.called == [0, 1, 2],
    );
    stage.check(
        said(
            "no callback began before the one before it had returned",
            "前一个回调返回之前，没有别的回调开始",
        ),
        !facts.nested,
    );
    let called = |cause| {
        facts.trace.iter().filter(|point| matches!(point, Point::Callback(of, _) if *of == cause)).count()
    };
    for (cause, times) in [(Cause::Descriptor, 3), (Cause::User, 1), (Cause::Signal, 1), (Cause::Timer, 1)] {
        let (en, zh) = cause.said();
        stage.equal((format!("callbacks for {en}"), format!("为{zh}调用的回调")), called(cause), times);
    }
    let Facts { waits, reports, callbacks, .. } = facts;
    stage.check(
        (
            format!("{callbacks} callbacks from {reports} of the kernel's reports in {waits} waits"),
            format!("{waits} 次等待，内核报告 {reports} 次，调用 {callbacks} 次回调"),
        ),
        callbacks >= 6 && waits < callbacks,
    );
    Ok(())
}

/// A row for each turn: what the hooks and callbacks saw.
fn table(trace: &[Point]) -> Vec<Vec<Said>> {
    let mut rows = vec![vec![said("turn", "轮"), said("after the wait, in this order", "等待之后，依次")]];
    for turn in trace.split(|point| *point == Point::Prepare).filter(|turn| !turn.is_empty()) {
        let both =
            |lang: fn(&Point) -> Option<String>| turn.iter().filter_map(lang).collect::<Vec<_>>().join(" → ");
        let (en, zh) =
            (both(|point| point.said().map(|said| said.0)), both(|point| point.said().map(|said| said.1)));
        rows.push(vec![Said::same(rows.len().to_string()), (en, zh).into()]);
    }
    rows
}

/// A point of the turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// Before the wait (prepare hook).
    Prepare,
    /// After it, before any callback (check hook).
    Check,
    /// A callback.
    Callback(Cause, u8),
    /// A callback made another event due.
    Activates,
}

/// What a callback was called for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A readable descriptor.
    Descriptor,
    /// A timer.
    Timer,
    /// A signal.
    Signal,
    /// The program's own event.
    User,
}

impl Cause {
    const fn said(self) -> (&'static str, &'static str) {
        match self {
            Cause::Descriptor => ("a descriptor", "描述符"),
            Cause::Timer => ("a timer", "定时器"),
            Cause::Signal => ("a signal", "信号"),
            Cause::User => ("an event of the program's own", "程序自己的事件"),
        }
    }
}

impl Point {
    /// `None`: it begins the row.
    fn said(&self) -> Option<(String, String)> {
        let (en, zh) = match self {
            Point::Prepare => return None,
            Point::Check => ("check hook".to_owned(), "check 钩子".to_owned()),
            Point::Activates => ("(activates another)".to_owned(), "（激活另一个）".to_owned()),
            Point::Callback(cause, priority) => {
                let (en, zh) = cause.said();
                (format!("{en}, p{priority}"), format!("{zh} p{priority}"))
            }
        };
        Some((en, zh))
    }
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// The trace of the turns, in order.
    pub trace: Vec<Point>,
    /// The priorities of the descriptors' callbacks, in the order in which they were called.
    pub called: Vec<u8>,
    /// In which order the descriptors had become ready: their priorities.
    pub became_ready: Vec<u8>,
    /// How many system calls waited, how many reports came from the kernel, how many callbacks were called.
    pub waits: u64,
    /// See `waits`.
    pub reports: u64,
    /// See `waits`.
    pub callbacks: u64,
    /// Each callback had returned before the next began.
    pub nested: bool,
}

#[derive(Default)]
struct Trace {
    points: Vec<Point>,
    depth: usize,
    nested: bool,
}

/// Data of the loop: a callback says that it begins and ends.
fn within(ctx: &mut Context<Trace>, cause: Cause, priority: u8) {
    let trace = ctx.data();
    trace.nested |= trace.depth > 0;
    trace.depth += 1;
    trace.points.push(Point::Callback(cause, priority));
}

fn done(ctx: &mut Context<Trace>) {
    ctx.data().depth -= 1;
}

const SIGUSR1: i32 = rustix::process::Signal::USR1.as_raw();

/// The experiment.
fn observe() -> io::Result<Facts> {
    let mut event_loop = Config::new().ignore_environment().priorities(3).build(Trace::default())?;
    let failed = |error: duolu::Error| io::Error::other(error.to_string());
    event_loop.on_prepare(|ctx| ctx.data().points.push(Point::Prepare));
    event_loop.on_check(|ctx| ctx.data().points.push(Point::Check));
    let user = event_loop.user_event(|ctx, _| {
        within(ctx, Cause::User, 1);
        done(ctx);
        Next::Keep
    });
    // The least urgent becomes ready first.
    let became_ready = vec![2, 1, 0];
    for &priority in &became_ready {
        let event = kit::raised_eventfd()?;
        let options = Options::new(Interest::READ).priority(priority);
        event_loop
            .register(event, options, move |ctx, event: &OwnedFd, _| {
                within(ctx, Cause::Descriptor, priority);
                let _ = kit::take(event);
                if priority == 0 {
                    ctx.data().points.push(Point::Activates);
                    ctx.activate(user, Ready::NONE);
                }
                done(ctx);
                Next::Remove
            })
            .map_err(failed)?;
    }
    event_loop.run()?;
    let called = priorities(event_loop.data_ref());
    later(&mut event_loop).map_err(failed)?;
    process::kill(std::process::id(), SIGUSR1)?;
    event_loop.run()?;
    let stats = event_loop.stats();
    let trace = event_loop.data();
    Ok(Facts {
        called,
        became_ready,
        nested: trace.nested,
        trace: std::mem::take(&mut trace.points),
        waits: stats.engine.waits,
        reports: stats.engine.reports,
        callbacks: stats.callbacks,
    })
}

/// A timer and a signal, after the first pass.
fn later(event_loop: &mut EventLoop<Trace>) -> Result<(), duolu::Error> {
    event_loop.signal(SIGUSR1, |ctx, _| {
        within(ctx, Cause::Signal, 1);
        done(ctx);
        Next::Remove
    })?;
    event_loop.after(Duration::from_millis(10), |ctx| {
        within(ctx, Cause::Timer, 1);
        done(ctx);
    });
    Ok(())
}

fn priorities(trace: &Trace) -> Vec<u8> {
    let of = |point: &Point| match point {
        Point::Callback(Cause::Descriptor, priority) => Some(*priority),
        _ => None,
    };
    trace.points.iter().filter_map(of).collect()
}
