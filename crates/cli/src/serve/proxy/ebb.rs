//! After a crowd its memory goes back to the kernel: what waited for slow readers was much, and free(3) keeps most of it.

use super::Hall;
use duolu::{Context, EventId};
use std::time::Duration;

/// How often it is looked whether the crowd has gone, while there was one.
const LOOK: Duration = Duration::from_secs(1);
/// Fewer are no crowd: with the default buffers they leave behind a few megabytes at most.
const FEW: u64 = 16;

/// How many there were.
#[derive(Default)]
pub struct Ebb {
    highest: u64,
    /// The next look, if there is to be one.
    look: Option<EventId>,
    ending: bool,
}

/// Somebody has come.
pub fn rises(ctx: &mut Context<Hall>) {
    let open = ctx.data().door.open();
    let ebb = &mut ctx.data().ebb;
    ebb.highest = ebb.highest.max(open);
    arm(ctx);
}

/// The end begins: the loop is not to go on for this.
pub fn end(ctx: &mut Context<Hall>) {
    ctx.data().ebb.ending = true;
    if let Some(look) = ctx.data().ebb.look.take() {
        ctx.remove(look);
    }
}

fn arm(ctx: &mut Context<Hall>) {
    let ebb = &ctx.data().ebb;
    if ebb.look.is_none() && ebb.highest >= FEW && !ebb.ending {
        let id = ctx.after(LOOK, look);
        ctx.data().ebb.look = Some(id);
    }
}

fn look(ctx: &mut Context<Hall>) {
    let open = ctx.data().door.open();
    let ebb = &mut ctx.data().ebb;
    ebb.look = None;
    if open <= ebb.highest / 2 {
        ebb.highest = open;
        duolu_sys::heap::give_back();
    }
    arm(ctx);
}
