//! The model `thread`: the main thread accepts, each connection gets a thread with blocking calls.

use super::admin;
use super::blocking::{Accepted, Acceptor, BACK_OFF, converse, not_listening};
use super::board::{Count, Tally};
use super::grumble::Grumble;
use super::service::Session;
use super::setup::Setup;
use crate::failure::Failure;
use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Stack of a connection's thread, in bytes: room for the read buffer and what is called. Address space only; a page
/// is taken when it is touched.
const STACK_BYTES: usize = 256 * 1024;

struct Connection {
    stream: TcpStream,
    /// Its thread waits for the next request. It reads the mark of the end itself before it waits again.
    idle: AtomicBool,
}

/// Who is connected, so that the idle ones can be told of the end.
#[derive(Default)]
struct Registry {
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
}

impl Registry {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Idle connections get no more input: their threads read what has come already, then the end.
    fn end_idle(&self) {
        for connection in self.lock().values().filter(|one| one.idle.load(Ordering::Relaxed)) {
            let _ = connection.stream.shutdown(Shutdown::Read);
        }
    }
}

/// Serves until a signal ends it.
pub fn serve<S: Session>(mut setup: Setup) -> Result<(), Failure> {
    let tally = setup.board.tally(0, false);
    let listener = setup.listeners.remove(0);
    let mut acceptor = Acceptor::new(listener, tally, setup.max_connections);
    let registry = Arc::new(Registry::default());
    let mut trouble = Grumble::default();
    admin::start_thread(&mut setup)?;
    setup.announce.ready("blocking");
    let (mut number, mut resting) = (0, false);
    loop {
        let source = (!resting).then(|| acceptor.as_fd());
        let woken = setup.wait(source, resting.then_some(BACK_OFF))?;
        resting = loop {
            match acceptor.accept() {
                Accepted::Stream(stream) => {
                    number += 1;
                    start::<S>(&registry, number, stream, tally, &mut trouble);
                }
                Accepted::Next => {}
                Accepted::Nobody => break false,
                Accepted::Exhausted => break true,
                Accepted::Shut => return Err(not_listening()),
            }
        };
        if woken.stop {
            break; // after a last look into the queue
        }
    }
    drop(acceptor);
    setup.start_draining();
    let board = setup.board;
    setup.wait_until_drained(|| {
        registry.end_idle();
        board.open() == 0
    })
}

fn start<S: Session>(
    registry: &Arc<Registry>,
    number: u64,
    stream: TcpStream,
    tally: Tally,
    trouble: &mut Grumble,
) {
    let connection = Arc::new(Connection { stream, idle: AtomicBool::new(false) });
    registry.lock().insert(number, connection.clone());
    let entry = Entry { registry: registry.clone(), number, tally };
    let body = move || {
        let _entry = entry;
        converse::<S>(&connection.stream, tally, |idle| connection.idle.store(idle, Ordering::Relaxed));
    };
    // Without a thread the closure is dropped, and with it the connection.
    if let Err(error) = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(body) {
        tally.add(Count::Refused, 1);
        trouble
            .say(|| format!("no thread for a connection, it is closed: {error} (see 'ulimit -u', pids.max)"));
    }
}

/// A line of the registry, taken out when dropped, also when the thread panics.
struct Entry {
    registry: Arc<Registry>,
    number: u64,
    tally: Tally,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.number);
        self.tally.add(Count::Closed, 1);
    }
}
