//! The model `fork`: the parent accepts, each connection gets a child process with blocking calls.

use super::admin;
use super::blocking::{Accepted, Acceptor, BACK_OFF, converse, not_listening};
use super::board::{Count, Tally};
use super::grumble::Grumble;
use super::service::Session;
use super::setup::Setup;
use crate::failure::Failure;
use duolu_sys::process::{Fork, exit_now, kill, try_wait_any};
use duolu_sys::worker::fork_worker;
use signal_hook::consts::{SIGKILL, SIGTERM};
use std::collections::HashSet;
use std::os::fd::AsFd;

/// Serves until a signal ends it.
pub fn serve<S: Session>(mut setup: Setup) -> Result<(), Failure> {
    admin::start_process(&mut setup)?;
    let tally = setup.board.tally(0, false);
    let listener = setup.listeners.remove(0);
    let mut acceptor = Acceptor::new(listener, tally, setup.max_connections);
    let mut children = HashSet::new();
    let mut trouble = Grumble::default();
    setup.announce.ready("blocking");
    let mut resting = false;
    loop {
        let source = (!resting).then(|| acceptor.as_fd());
        let woken = setup.wait(source, resting.then_some(BACK_OFF))?;
        reap(&mut children, &tally);
        resting = loop {
            let stream = match acceptor.accept() {
                Accepted::Stream(stream) => stream,
                Accepted::Next => continue,
                Accepted::Nobody => break false,
                Accepted::Exhausted => break true,
                Accepted::Shut => return Err(not_listening()),
            };
            match fork_worker() {
                Ok(Fork::Parent(child)) => {
                    children.insert(child);
                }
                Ok(Fork::Child) => {
                    drop(acceptor); // or the port would listen on after the parent has stopped
                    in_child(|| converse::<S>(&stream, tally, |_| {}));
                }
                Err(error) => {
                    tally.add(Count::Closed, 1);
                    tally.add(Count::Refused, 1);
                    trouble
                        .say(|| format!("no process for a connection, it is closed: {}", no_process(&error)));
                }
            }
        };
        if woken.stop {
            break; // after a last look into the queue
        }
    }
    drop(acceptor);
    setup.start_draining();
    let drained = setup.wait_until_drained(|| {
        reap(&mut children, &tally);
        children.iter().for_each(|child| nudge(*child));
        children.is_empty()
    });
    children.iter().for_each(|child| end(*child));
    drained
}

// A child that is not yet reaped keeps its number, so these two cannot reach a stranger; that it has ended meanwhile
// is no error.

/// Ends the blocking call that a child is in, so that it looks around.
pub fn nudge(child: u32) {
    let _ = kill(child, SIGTERM);
}

/// Ends a child at once.
pub fn end(child: u32) {
    let _ = kill(child, SIGKILL);
}

/// Runs `body` in a child and ends it, also when `body` panics: nothing of the parent's code may follow.
pub fn in_child(body: impl FnOnce()) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    exit_now(if outcome.is_ok() { 0 } else { 101 })
}

/// Why there is no child, and what to do.
pub fn no_process(error: &std::io::Error) -> String {
    format!("{error} (see 'ulimit -u' and the cgroup's pids.max)")
}

/// Takes ended children out of the process table; whatever ended them, their connection is closed.
fn reap(children: &mut HashSet<u32>, tally: &Tally) {
    while let Ok(Some((child, _))) = try_wait_any() {
        if children.remove(&child) {
            tally.add(Count::Closed, 1);
        }
    }
}
