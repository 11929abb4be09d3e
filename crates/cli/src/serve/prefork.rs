//! The model `prefork`: N processes, each accepting and serving one connection at a time with blocking calls.

use super::admin;
use super::blocking::{Accepted, Acceptor, BACK_OFF, converse, not_listening};
use super::board::{Count, Tally};
use super::fork::{end, no_process, nudge};
use super::pool::Pool;
use super::service::Session;
use super::setup::Setup;
use crate::failure::Failure;
use duolu_sys::process::Ended;
use std::net::TcpListener;

/// Serves until a signal ends it.
pub fn serve<S: Session>(mut setup: Setup) -> Result<(), Failure> {
    admin::start_process(&mut setup)?;
    let listener = setup.listeners.remove(0);
    listener
        .set_nonblocking(false)
        .map_err(|error| Failure::cannot(format!("cannot wait on the socket: {error}")))?;
    let max_connections = setup.max_connections;
    let mut pool = Pool::new(setup.board, setup.workers);
    for index in 0..setup.workers {
        if let Err(error) = pool.fill(index, |tally| work::<S>(&listener, tally, max_connections)) {
            let why = no_process(&error);
            return Err(Failure::cannot(format!(
                "only {index} of {} processes could be started: {why}",
                setup.workers
            )));
        }
    }
    setup.announce.ready("blocking");
    loop {
        let woken = setup.wait(None, pool.patience())?;
        if woken.stop {
            break;
        }
        while let Some(casualty) = pool.reap() {
            // Before the end begins nothing else makes a child end by itself.
            if casualty.ended == Ended::Code(0) {
                return Err(not_listening());
            }
            pool.mourn(&casualty);
        }
        pool.replace(|_, tally| work::<S>(&listener, tally, max_connections));
    }
    setup.start_draining();
    if !setup.inherited {
        // Every child has this socket: shut, it listens for none of them, and their accepts end.
        let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
    }
    let drained = setup.wait_until_drained(|| {
        while pool.reap().is_some() {}
        pool.children().for_each(nudge);
        pool.children().next().is_none() // one that has just accepted is not counted yet
    });
    pool.children().for_each(end);
    drained
}

/// A child's life.
fn work<S: Session>(listener: &TcpListener, tally: Tally, max_connections: u64) {
    let mut acceptor = Acceptor::new(listener, tally, max_connections);
    while !tally.board().draining() {
        match acceptor.accept() {
            Accepted::Stream(stream) => {
                converse::<S>(&stream, tally, |_| {});
                tally.add(Count::Closed, 1);
            }
            Accepted::Exhausted => std::thread::sleep(BACK_OFF),
            Accepted::Next | Accepted::Nobody => {}
            Accepted::Shut => return,
        }
    }
}
