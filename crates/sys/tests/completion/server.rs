//! A server for the tests: a ring in a thread of its own, with what it did to look at.

use crate::{PATIENCE, uring};
use duolu_core::completion::{Completion, ConnId, Report};
use duolu_sys::Waker;
use duolu_sys::completion::{Config, Counters, Uring};
use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Watched {
    pub live: AtomicUsize,
    pub closed: AtomicU64,
    pub most_pending: AtomicUsize,
    pub pauses: AtomicU64,
    stop: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Policy {
    /// Sends what comes, straight from the receive buffer.
    Echo,
    /// Sends a copy of what comes.
    Copy,
}

pub struct Server {
    pub address: SocketAddr,
    pub waker: Arc<Waker>,
    pub watched: Arc<Watched>,
    thread: Option<JoinHandle<(Counters, u32)>>,
}

impl Server {
    pub fn start(config: Config) -> Server {
        Server::with(config, Policy::Echo)
    }

    pub fn with(config: Config, policy: Policy) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let waker = Arc::new(Waker::new().unwrap());
        let watched = Arc::new(Watched::default());
        let thread = std::thread::spawn({
            let (waker, watched) = (Arc::clone(&waker), Arc::clone(&watched));
            move || serve(uring(config), listener, policy, &waker, &watched)
        });
        Server { address, waker, watched, thread: Some(thread) }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits until the server has no connection any more.
    pub fn until_empty(&self) {
        let start = Instant::now();
        while self.watched.live.load(Ordering::Acquire) > 0 {
            assert!(start.elapsed() < PATIENCE, "connections are left");
            self.waker.wake();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the server. Its counters, and how many connections it still had.
    pub fn stop(mut self) -> (Counters, u32) {
        self.watched.stop.store(true, Ordering::Release);
        self.waker.wake();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.watched.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut uring: Uring,
    listener: TcpListener,
    policy: Policy,
    waker: &Waker,
    watched: &Watched,
) -> (Counters, u32) {
    uring.watch(waker.as_fd().try_clone_to_owned().unwrap(), 7).unwrap();
    uring.listen(OwnedFd::from(listener)).unwrap();
    let mut known: HashSet<ConnId> = HashSet::new();
    loop {
        // Without a limit: whoever forgets to wake up is found out.
        uring.wait(None).unwrap();
        while let Some(report) = uring.next_report() {
            match report {
                Report::Accepted { conn, .. } => {
                    assert!(known.insert(conn), "an id came twice");
                    uring.receive(conn);
                }
                Report::Received { conn, chunk } => {
                    assert!(known.contains(&conn), "bytes for a stranger");
                    assert!(!chunk.is_empty());
                    if policy == Policy::Copy {
                        let copy = uring.bytes(chunk).to_vec();
                        let (head, tail) = copy.split_at(copy.len() / 3);
                        uring.send(conn, head);
                        uring.send(conn, tail);
                    } else {
                        uring.send_chunk(conn, chunk);
                    }
                }
                Report::PeerFinished { conn } => {
                    assert!(known.remove(&conn));
                    uring.close(conn);
                    uring.send(conn, b"after the close");
                }
                Report::Failed { conn, .. } => {
                    assert!(known.remove(&conn));
                    uring.close(conn);
                }
                Report::Drained { conn } => assert!(known.contains(&conn)),
                Report::Readable { user: 7 } => {
                    waker.drain();
                    if !watched.stop.load(Ordering::Acquire) {
                        continue;
                    }
                    // Once more, so that what is lent comes back.
                    while uring.next_report().is_some() {}
                    uring.wait(Some(0)).unwrap();
                    return (uring.counters(), uring.connections());
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        if known.len() < 10 {
            let most = known.iter().map(|&conn| uring.pending_bytes(conn)).max();
            watched.most_pending.fetch_max(most.unwrap_or(0), Ordering::AcqRel);
        }
        let counters = uring.counters();
        watched.live.store(uring.connections() as usize, Ordering::Release);
        watched.closed.store(counters.closed, Ordering::Release);
        watched.pauses.store(counters.pauses, Ordering::Release);
    }
}
