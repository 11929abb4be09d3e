//! The model `fork`: the parent accepts, each connection gets a child process with blocking calls.

use super::admin;
use super::blocking::{Accepted, Acceptor, BACK_OFF, converse};
use super::board::{Count, Tally};
use super::grumble::Grumble;
use super::service::Session;
use super::setup::{Setup, failed_to_wait};
use crate::failure::Failure;
use duolu_sys::worker::{ChildId, Fork, Forker, exit_now};
use std::collections::HashSet;
use std::os::fd::AsFd;

/// Serves until a signal ends it.
pub fn serve<S: Session>(mut setup: Setup) -> Result<(), Failure> {
    let forker = forker()?;
    admin::start_process(&mut setup, &forker)?;
    let tally = setup.board.tally(0, false);
    let listener = setup.listeners.remove(0);
    let mut acceptor = Acceptor::new(listener, tally, setup.max_connections);
    let mut children = HashSet::new();
    let mut trouble = Grumble::default();
    setup.announce.ready("blocking");
    let mut resting = false;
    loop {
        let source = (!resting).then(|| acceptor.as_fd());
        let woken = setup.control.wait(source, resting.then_some(BACK_OFF)).map_err(failed_to_wait)?;
        reap(&forker, &mut children, &tally);
        resting = loop {
            let stream = match acceptor.accept() {
                Accepted::Stream(stream) => stream,
                Accepted::Next => continue,
                Accepted::Nobody | Accepted::Shut => break false,
                Accepted::Exhausted => break true,
            };
            match forker.fork() {
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
        reap(&forker, &mut children, &tally);
        children.iter().for_each(|child| forker.nudge(*child));
    });
    children.iter().for_each(|child| forker.kill(*child));
    drained
}

/// The right to fork.
pub fn forker() -> Result<Forker, Failure> {
    Forker::new().map_err(|error| Failure::cannot(format!("cannot fork: {error}")))
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
fn reap(forker: &Forker, children: &mut HashSet<ChildId>, tally: &Tally) {
    while let Some((child, _)) = forker.reap() {
        if children.remove(&child) {
            tally.add(Count::Closed, 1);
        }
    }
}
