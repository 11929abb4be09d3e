//! What the blocking models share: accepting, and the conversation of one connection from start to end.

use super::board::{Count, Tally};
use super::grumble::Grumble;
use super::service::{HEAD_LIMIT_MS, LINGER_LIMIT_BYTES, LINGER_LIMIT_MS, Reply, Session, Then};
use super::setup::Setup;
use crate::failure::Failure;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How much is read at once, in bytes. Allocated and never zeroed, so that an idle connection pays for the pages that
/// it used; on the stack it would pay for all of them, because large frames are probed page by page.
const READ_BYTES: usize = 64 * 1024;
/// An answer buffer that grew beyond this is given back, in bytes.
const KEPT_BYTES: usize = 64 * 1024;
/// How long an acceptor rests when descriptors have run out. Trying at once would keep a core busy with failing.
pub const BACK_OFF: Duration = Duration::from_millis(75);

/// What came of one accept.
pub enum Accepted {
    /// A connection, blocking, counted.
    Stream(TcpStream),
    /// Nobody waits (or, for a blocking socket, a signal came).
    Nobody,
    /// Try the next one at once: this peer has gone again, or was one too many.
    Next,
    /// No descriptor is free: rest for [`BACK_OFF`].
    Exhausted,
    /// The socket does not listen any more.
    Shut,
}

/// A listening socket, and the trouble with it.
pub struct Acceptor<L> {
    listener: L,
    tally: Tally,
    max_connections: u64,
    exhausted: Grumble,
    failed: Grumble,
}

impl<L: AsFd> Acceptor<L> {
    /// Accepts on `listener`, blocking or not as it is.
    pub fn new(listener: L, tally: Tally, max_connections: u64) -> Self {
        Acceptor {
            listener,
            tally,
            max_connections,
            exhausted: Grumble::default(),
            failed: Grumble::default(),
        }
    }

    /// Accepts one connection. The sockets are blocking: Linux does not hand O_NONBLOCK down.
    pub fn accept(&mut self) -> Accepted {
        match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(fd) => self.admit(TcpStream::from(fd)),
            Err(Errno::AGAIN | Errno::INTR) => Accepted::Nobody,
            Err(Errno::INVAL | Errno::BADF | Errno::NOTSOCK | Errno::OPNOTSUPP) => Accepted::Shut,
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                self.tally.add(Count::AcceptErrors, 1);
                self.tally.add(Count::BackOffs, 1);
                self.exhausted.say(|| exhausted(error));
                Accepted::Exhausted
            }
            // The connection died in the queue (accept(2) lists what Linux passes on): not the server's trouble.
            Err(error) => {
                self.tally.add(Count::AcceptErrors, 1);
                self.failed.say(|| format!("a connection was lost before it was accepted: {error}"));
                Accepted::Next
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) -> Accepted {
        self.tally.add(Count::Accepted, 1);
        if Setup::has_room(self.tally.board(), self.max_connections) {
            return Accepted::Stream(stream);
        }
        self.tally.add(Count::Closed, 1);
        self.tally.add(Count::Refused, 1);
        Accepted::Next
    }
}

impl<L: AsFd> AsFd for Acceptor<L> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// How a server ends whose socket no longer listens, though nobody has asked it to end. To wait for connections would be
/// to keep a core busy, or to look alive in vain.
pub fn not_listening() -> Failure {
    Failure::cannot(
        "the socket does not listen any more: whoever handed it over (LISTEN_FDS) has shut it down",
    )
}

/// The line for a server that cannot accept for want of descriptors.
pub fn exhausted(error: Errno) -> String {
    let error = std::io::Error::from(error);
    format!(
        "cannot accept: {error}; connections wait in the queue (raise the limit with 'ulimit -n' before starting)"
    )
}

/// Serves one connection until its end. `about_to_read` is told before each read whether the connection is idle.
pub fn converse<S: Session>(stream: &TcpStream, tally: Tally, mut about_to_read: impl FnMut(bool)) {
    let mut session = S::default();
    let mut input = Vec::with_capacity(READ_BYTES);
    let mut output = Vec::new();
    let mut head_deadline = None;
    loop {
        about_to_read(session.is_idle());
        input.clear();
        match rustix::net::recv(stream, spare_capacity(&mut input), RecvFlags::empty()) {
            Ok((0, _)) => return,
            Ok(_) => {}
            Err(Errno::INTR) => {
                end_if_idle(stream, &session, tally);
                continue;
            }
            Err(_) => return, // reset, or the rest of a head did not come in time
        }
        tally.add(Count::BytesIn, input.len() as u64);
        let turn = session.handle(&input, &mut output, tally.board().leaving());
        let answer = if turn.reply == Reply::Input { input.as_slice() } else { output.as_slice() };
        let mut writer = stream;
        if writer.write_all(answer).is_err() {
            return;
        }
        tally.add(Count::BytesOut, answer.len() as u64);
        tally.add(Count::Messages, turn.messages);
        match turn.then {
            Then::Keep => {}
            Then::Close => return,
            Then::Linger => return linger(stream),
        }
        output.clear();
        output.shrink_to(KEPT_BYTES);
        if session.is_owed() || head_deadline.is_some() {
            let begun = head_deadline.filter(|_| turn.messages == 0);
            head_deadline = limit_head(stream, session.is_owed(), begun);
        }
    }
}

/// The server ends and nudged us: nothing more will come, but what has come already is still answered.
fn end_if_idle<S: Session>(stream: &TcpStream, session: &S, tally: Tally) {
    if tally.board().draining() && session.is_idle() {
        let _ = stream.shutdown(Shutdown::Read);
    }
}

/// A begun head must end within [`HEAD_LIMIT_MS`] of its beginning, however slowly it trickles.
fn limit_head(stream: &TcpStream, owed: bool, deadline: Option<Instant>) -> Option<Instant> {
    let now = Instant::now();
    let deadline = owed.then(|| deadline.unwrap_or(now + Duration::from_millis(HEAD_LIMIT_MS)));
    // A timeout of zero would mean none.
    let left = deadline.map(|deadline| deadline.saturating_duration_since(now).max(Duration::from_millis(1)));
    let _ = stream.set_read_timeout(left);
    deadline
}

fn linger(stream: &TcpStream) {
    let deadline = Instant::now() + Duration::from_millis(LINGER_LIMIT_MS);
    let mut thrown_away = Vec::with_capacity(READ_BYTES);
    let mut left_bytes = LINGER_LIMIT_BYTES;
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    while left_bytes > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        thrown_away.clear();
        match rustix::net::recv(stream, spare_capacity(&mut thrown_away), RecvFlags::empty()) {
            Ok((count @ 1.., _)) => left_bytes = left_bytes.saturating_sub(count as u64),
            Err(Errno::INTR) => {}
            _ => return,
        }
    }
}
