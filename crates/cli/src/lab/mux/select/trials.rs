//! What select(2) does with each of its arguments.

use crate::lab::mux::kit;
use duolu_sys::calls::{self, FdSet};
use duolu_sys::socket;
use rustix::net::SendFlags;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    pub nfds: Nfds,
    pub sets: Sets,
    pub total: Total,
    pub timeout: Timeout,
    pub listener: Listener,
    pub exceptional: Exceptional,
    pub error: Failed,
}

/// A readable descriptor, asked for with two values of nfds.
#[derive(Debug)]
pub struct Nfds {
    pub fd: RawFd,
    /// The answer to nfds = fd.
    pub too_small: usize,
    /// The answer to nfds = fd + 1.
    pub enough: usize,
}

/// Two watched, one readable; then the other, too, with and without a copy of the watched set.
#[derive(Debug)]
pub struct Sets {
    pub watched: usize,
    pub came_out: usize,
    /// Readable descriptors that a second call found, given what the first left.
    pub found_without_copy: usize,
    /// The same, given a copy of the watched set.
    pub found_with_copy: usize,
}

/// One call with three sets.
#[derive(Debug)]
pub struct Total {
    pub descriptors: usize,
    pub returned: usize,
    pub readable: usize,
    pub writable: usize,
    pub exceptional: usize,
}

/// What the timeout holds after the call.
#[derive(Debug)]
pub struct Timeout {
    pub given: Duration,
    /// After a byte came on the way.
    pub left_after_event: Duration,
    /// After nothing did.
    pub left_after_timeout: Duration,
}

/// A listener in the read set.
#[derive(Debug)]
pub struct Listener {
    pub idle: usize,
    pub after_connect: usize,
    /// Somebody else took the connection between select and accept.
    pub second_accept: String,
}

/// What is in the third set.
#[derive(Debug)]
pub struct Exceptional {
    pub urgent_byte: bool,
    pub reset: bool,
    pub reset_is_readable: bool,
}

/// A closed number in a set.
#[derive(Debug)]
pub struct Failed {
    pub answer: String,
    pub sets_unmodified: bool,
}

/// The experiment.
pub fn observe() -> io::Result<Facts> {
    Ok(Facts {
        nfds: nfds()?,
        sets: sets()?,
        total: total()?,
        timeout: timeout()?,
        listener: listener()?,
        exceptional: exceptional()?,
        error: error()?,
    })
}

/// One more than the highest.
fn end(numbers: &[RawFd]) -> usize {
    numbers.iter().max().map_or(0, |highest| *highest as usize + 1)
}

fn nfds() -> io::Result<Nfds> {
    let event = kit::raised_eventfd()?;
    let fd = event.as_raw_fd();
    let ask = |nfds| kit::readable(nfds, &mut FdSet::of([fd]));
    Ok(Nfds { fd, too_small: ask(fd as usize)?, enough: ask(fd as usize + 1)? })
}

fn sets() -> io::Result<Sets> {
    let (one, other) = (kit::raised_eventfd()?, socket::eventfd()?);
    let numbers = [one.as_raw_fd(), other.as_raw_fd()];
    let watched = FdSet::of(numbers);
    let mut set = watched.clone();
    kit::readable(end(&numbers), &mut set)?;
    let came_out = set.len();
    kit::raise(&other)?;
    let found_without_copy = kit::readable(end(&numbers), &mut set)?;
    set.copy_from(&watched);
    let found_with_copy = kit::readable(end(&numbers), &mut set)?;
    Ok(Sets { watched: watched.len(), came_out, found_without_copy, found_with_copy })
}

fn total() -> io::Result<Total> {
    let (client, server) = kit::connection()?;
    let (quiet, _its_peer) = kit::connection()?;
    urgent(&client)?;
    socket::send(&client, b"x")?;
    let numbers = [server.as_raw_fd(), quiet.as_raw_fd()];
    let watch = || FdSet::of(numbers);
    kit::until("data and urgent data to arrive", || {
        let (mut read, mut except) = (watch(), watch());
        let ready = calls::select(
            end(&numbers),
            Some(&mut read),
            None,
            Some(&mut except),
            Some(&mut { Duration::ZERO }),
        );
        Ok(ready? == 2)
    })?;
    let (mut read, mut write, mut except) = (watch(), watch(), watch());
    let wait = &mut Duration::from_secs(2);
    let returned =
        calls::select(end(&numbers), Some(&mut read), Some(&mut write), Some(&mut except), Some(wait))?;
    Ok(Total {
        descriptors: numbers.len(),
        returned,
        readable: read.len(),
        writable: write.len(),
        exceptional: except.len(),
    })
}

/// Sends a byte out of band (MSG_OOB): TCP's urgent data.
fn urgent(socket: &TcpStream) -> io::Result<()> {
    rustix::net::send(socket, b"!", SendFlags::OOB)?;
    Ok(())
}

fn timeout() -> io::Result<Timeout> {
    let event = socket::eventfd()?;
    let numbers = [event.as_raw_fd()];
    let given = Duration::from_millis(400);
    let mut left_after_event = given;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            kit::raise(&event)
        });
        calls::select(end(&numbers), Some(&mut FdSet::of(numbers)), None, None, Some(&mut left_after_event))
    })?;
    kit::take(&event)?;
    let mut left_after_timeout = Duration::from_millis(20);
    calls::select(end(&numbers), Some(&mut FdSet::of(numbers)), None, None, Some(&mut left_after_timeout))?;
    Ok(Timeout { given, left_after_event, left_after_timeout })
}

fn listener() -> io::Result<Listener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let numbers = [listener.as_raw_fd()];
    let idle = kit::readable(end(&numbers), &mut FdSet::of(numbers))?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let within = &mut Duration::from_secs(2);
    let after_connect =
        calls::select(end(&numbers), Some(&mut FdSet::of(numbers)), None, None, Some(within))?;
    listener.accept()?;
    let second_accept = kit::answer(&listener.accept());
    Ok(Listener { idle, after_connect, second_accept })
}

fn exceptional() -> io::Result<Exceptional> {
    let (client, server) = kit::connection()?;
    urgent(&client)?;
    let urgent_byte = in_sets(&server)?.1;
    let (client, server) = kit::connection()?;
    socket::set_linger(&client, Some(0))?;
    drop(client);
    let (reset_is_readable, reset) = in_sets(&server)?;
    Ok(Exceptional { urgent_byte, reset, reset_is_readable })
}

/// Waits for either, and says whether it is readable and whether exceptional.
fn in_sets(socket: &TcpStream) -> io::Result<(bool, bool)> {
    let fd = socket.as_raw_fd();
    let (mut read, mut except) = (FdSet::of([fd]), FdSet::of([fd]));
    calls::select(end(&[fd]), Some(&mut read), None, Some(&mut except), Some(&mut Duration::from_secs(2)))?;
    Ok((read.contains(fd), except.contains(fd)))
}

fn error() -> io::Result<Failed> {
    let open = kit::raised_eventfd()?;
    // High, so that no other thread of ours takes the number meanwhile; closed at once.
    let closed = socket::dup(&open, 60)?.as_raw_fd();
    let mut set = FdSet::of([open.as_raw_fd(), closed]);
    let before = set.clone();
    let outcome = kit::readable(end(&[open.as_raw_fd(), closed]), &mut set);
    Ok(Failed { answer: kit::answer(&outcome), sets_unmodified: set == before })
}
