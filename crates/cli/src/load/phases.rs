//! The parts of a thread's run: opening, the measured window, the drain, the end.

use super::args::Mode;
use super::conn::State;
use super::drive::{Driven, End, Event, close, is_quiet, proceed, settle};
use super::schedule::Schedule;
use super::tally::Tally;
use super::worker::{Phase, Window};
use duolu::{Context, Next};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Requests sent before the loop looks for replies again.
const SENDS_A_TURN: usize = 256;
/// What is owed at the end may still be sent for so long.
const SENDING_AFTER_END_NS: u64 = 1_000_000_000;

/// What the phases remember.
#[derive(Default)]
pub struct Times {
    /// When the opening began.
    pub opening_since_ns: u64,
    cpu_at_begin: Duration,
    cpu: Duration,
    /// Churn: connections open when the window ended.
    churning_at_end: usize,
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Begins to open the connections. Churn opens none in advance.
pub fn start_opening(ctx: &mut Context<Driven>) {
    let driven = ctx.data();
    let now_ns = driven.worker.now_ns();
    driven.worker.phase = Phase::Opening;
    driven.times.opening_since_ns = now_ns;
    driven.worker.progress_ns = now_ns;
    if !driven.worker.is_churn() {
        for index in 0..driven.worker.conns.len() {
            driven.worker.queue(index);
        }
    }
    proceed(ctx);
    advance(ctx);
}

/// Whatever ends a phase by itself.
pub fn advance(ctx: &mut Context<Driven>) {
    let driven = ctx.data();
    let worker = &mut driven.worker;
    match worker.phase {
        Phase::Opening if worker.to_open.is_empty() && worker.opening == 0 => {
            worker.phase = Phase::Ready;
            driven.tell(Event::Opened);
        }
        Phase::Draining => {
            if worker.now_ns() > worker.window.end_ns.saturating_add(SENDING_AFTER_END_NS) {
                forget_owed(driven);
            }
            if is_quiet(&ctx.data().worker) {
                finish(ctx);
            }
        }
        _ => {}
    }
}

/// Sets the window, and the timers that go through it.
pub fn schedule_run(ctx: &mut Context<Driven>, window: Window) {
    let worker = &mut ctx.data().worker;
    worker.window = window;
    let now_ns = worker.now_ns();
    let until = |time_ns: u64| Duration::from_nanos(time_ns.saturating_sub(now_ns));
    ctx.after(until(window.begin_ns), begin);
    ctx.after(until(window.from_ns), |ctx| ctx.data().times.cpu_at_begin = thread_cpu());
    ctx.after(until(window.end_ns), drain);
}

fn begin(ctx: &mut Context<Driven>) {
    let worker = &mut ctx.data().worker;
    if worker.phase > Phase::Running {
        return; // interrupted
    }
    worker.phase = Phase::Running;
    let share = worker.active as f64 / worker.plan.active.max(1) as f64;
    let rate = match worker.plan.mode {
        Mode::Open(rate) | Mode::Churn(Some(rate)) => Some(rate * share),
        Mode::Closed | Mode::Churn(None) => None,
    };
    worker.schedule = rate
        .filter(|_| worker.active > 0)
        .map(|rate| Schedule::new(worker.window.begin_ns, rate, worker.active));
    ctx.every(Duration::from_secs(1), second);
    if ctx.data().worker.schedule.is_some() {
        ctx.timer(Duration::ZERO, send_what_is_due);
    } else {
        begin_closed(ctx);
    }
}

fn begin_closed(ctx: &mut Context<Driven>) {
    for index in 0..ctx.data().worker.active {
        let worker = &mut ctx.data().worker;
        worker.queue(index); // those that are closed: in churn all, else those whose first exchange failed
        let now_ns = worker.now_ns();
        let step = worker.next_request(index, now_ns);
        settle(ctx, index, step);
    }
    proceed(ctx);
}

/// Open loop: begins every request that is due, then sleeps to the next.
fn send_what_is_due(ctx: &mut Context<Driven>) -> Next {
    for _ in 0..SENDS_A_TURN {
        let worker = &mut ctx.data().worker;
        if worker.phase != Phase::Running {
            return Next::Remove;
        }
        let now_ns = worker.now_ns();
        let end_ns = worker.window.end_ns;
        let Some(schedule) = worker.schedule.as_mut().filter(|schedule| schedule.next_due_ns() < end_ns)
        else {
            return Next::Remove;
        };
        let Some((index, due_ns)) = schedule.take(now_ns) else {
            let until_next_ns = schedule.next_due_ns().saturating_sub(now_ns);
            proceed(ctx);
            return Next::after(Duration::from_nanos(until_next_ns));
        };
        worker.conns[index].owed += 1;
        if worker.conns[index].state == State::Idle {
            if worker.window.holds(due_ns) {
                worker.tally.lag.saturating_record(now_ns - due_ns);
            }
            let step = worker.next_request(index, now_ns);
            settle(ctx, index, step);
        } else if worker.is_churn() {
            worker.queue(index);
        }
    }
    proceed(ctx);
    Next::after(Duration::ZERO)
}

fn second(ctx: &mut Context<Driven>) -> Next {
    let driven = ctx.data();
    if driven.worker.phase != Phase::Running {
        return Next::Remove;
    }
    let tally = std::mem::take(&mut driven.worker.tally);
    driven.tell(Event::Second(Box::new(tally)));
    Next::Keep
}

/// The window has ended: replies to what was asked in it are still awaited, for at most the timeout each.
fn drain(ctx: &mut Context<Driven>) {
    let driven = ctx.data();
    if driven.worker.phase >= Phase::Draining {
        return;
    }
    driven.worker.phase = Phase::Draining;
    driven.times.cpu = thread_cpu().saturating_sub(driven.times.cpu_at_begin);
    // What was due before the end and has not been seen by `send_what_is_due` is owed as well.
    let worker = &mut driven.worker;
    let last_ns = worker.window.end_ns - 1;
    if let Some(schedule) = worker.schedule.as_mut() {
        while let Some((index, _)) = schedule.take(last_ns) {
            worker.conns[index].owed += 1;
        }
    }
    worker.to_open.clear();
    let under_way = if worker.is_churn() { worker.opening } else { 0 };
    driven.times.churning_at_end = under_way;
    let worker = &mut driven.worker;
    let now_ns = worker.now_ns();
    for index in 0..worker.active {
        let step = ctx.data().worker.next_request(index, now_ns);
        settle(ctx, index, step);
    }
    advance(ctx);
}

/// Requests that were due and will not be sent.
fn forget_owed(driven: &mut Driven) {
    let owed: u64 = driven.worker.conns.iter_mut().map(|conn| std::mem::take(&mut conn.owed)).sum();
    driven.worker.tally.unsent += owed;
}

/// Ends the run at once; what was measured so far is told.
pub fn interrupt(ctx: &mut Context<Driven>) {
    let driven = ctx.data();
    if driven.worker.phase == Phase::Running {
        driven.times.cpu = thread_cpu().saturating_sub(driven.times.cpu_at_begin);
    }
    finish(ctx);
}

fn finish(ctx: &mut Context<Driven>) {
    let driven = ctx.data();
    if driven.worker.phase == Phase::Finished {
        return;
    }
    forget_owed(driven);
    let worker = &mut driven.worker;
    worker.phase = Phase::Finished;
    let end = End {
        tally: std::mem::take::<Tally>(&mut worker.tally),
        held: worker.held + driven.times.churning_at_end,
        cpu: driven.times.cpu,
        wall: worker.wall.take(),
        own_limit: worker.own_limit,
    };
    driven.tell(Event::Finished(Box::new(end)));
    for index in 0..ctx.data().worker.conns.len() {
        close(ctx, index);
    }
    ctx.stop();
}
