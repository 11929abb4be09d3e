//! What several labs need: connections of their own, waiting without guessing, and timing that a busy machine bends
//! only one way.

use crate::lab::experiment::Trouble;
use crate::lab::said::said;
use crate::lab::stage::errno_name;
use duolu_sys::calls::{self, Epoll, FdSet, event};
use duolu_sys::{process, socket};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Sees to it that at least so many descriptors are allowed, and gives how many are.
///
/// # Errors
/// Cannot: the hard limit is lower, and only root can raise it.
pub fn descriptors(least: u64) -> Result<u64, Trouble> {
    let limit = process::raise_descriptor_limit()?.soft;
    if limit >= least {
        return Ok(limit);
    }
    Err(Trouble::Cannot {
        missing: (
            format!("{least} descriptors (the hard limit is {limit})"),
            format!("{least} 个描述符（硬上限是 {limit}）"),
        )
            .into(),
        unlock: said("as root raise the hard limit: ulimit -Hn 4096", "以 root 提高硬上限：ulimit -Hn 4096"),
    })
}

/// A connection over loopback: the client's end and the server's, both blocking, as std makes them. Nothing is held
/// back (TCP_NODELAY).
pub fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// An eventfd whose counter is one: readable until it is read.
pub fn raised_eventfd() -> io::Result<OwnedFd> {
    let event = socket::eventfd()?;
    raise(&event)?;
    Ok(event)
}

/// Adds one to an eventfd's counter.
pub fn raise(event: impl AsFd) -> io::Result<()> {
    socket::write(event, &1u64.to_ne_bytes()).map(drop)
}

/// Takes an eventfd's counter, which is 0 after.
pub fn take(event: impl AsFd) -> io::Result<u64> {
    let mut count = [0; 8];
    match socket::read(event, &mut count) {
        Ok(_) => Ok(u64::from_ne_bytes(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}

/// Bytes that have arrived and nobody has read (FIONREAD).
pub fn unread(socket: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(socket)?)
}

/// Sends until the kernel takes no more (EAGAIN), and gives how many bytes it took. `socket` is non-blocking. The peer's
/// kernel goes on taking for a moment, so "no more" means that it stayed so for some milliseconds.
pub fn fill(socket: impl AsFd) -> io::Result<u64> {
    let data = vec![b'x'; 64 * 1024];
    let (mut sent, mut quiet) = (0, 0);
    while quiet < 5 {
        match socket::send(socket.as_fd(), &data) {
            Ok(bytes) => (sent, quiet) = (sent + bytes as u64, 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                quiet += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Reads and throws away until nothing has come for some milliseconds; how many bytes. `socket` is non-blocking.
pub fn drain(socket: impl AsFd) -> io::Result<u64> {
    let mut memory = vec![0; 64 * 1024];
    let (mut got, mut quiet) = (0, 0);
    while quiet < 5 {
        match socket::recv(socket.as_fd(), &mut memory) {
            Ok(0) => break,
            Ok(bytes) => (got, quiet) = (got + bytes as u64, 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                quiet += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Waits until so many bytes lie unread.
pub fn arrived(socket: impl AsFd, bytes: u64) -> io::Result<()> {
    let what = format!("{bytes} bytes to arrive");
    until(&what, || Ok(unread(socket.as_fd())? >= bytes))
}

/// Looks every half millisecond until it is so.
///
/// # Errors
/// TimedOut after five seconds, saying what did not happen.
pub fn until(what: &str, mut so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !so()? {
        if Instant::now() > deadline {
            let text = format!("waited five seconds for {what}, in vain");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// Room for so many events.
pub fn room(events: usize) -> Vec<event> {
    vec![event { events: 0, u64: 0 }; events]
}

/// The data of what an epoll tells now, without sleeping.
pub fn told(epoll: &Epoll) -> io::Result<Vec<u64>> {
    told_within(epoll, 0)
}

/// The same, sleeping up to `timeout_ms` for the first.
pub fn told_within(epoll: &Epoll, timeout_ms: i32) -> io::Result<Vec<u64>> {
    let mut events = room(16);
    let count = epoll.wait(&mut events, timeout_ms)?;
    Ok(events[..count].iter().map(|event| event.u64).collect())
}

/// select(2) for reading that only looks.
pub fn readable(nfds: usize, set: &mut FdSet) -> io::Result<usize> {
    let mut no_time = Duration::ZERO;
    calls::select(nfds, Some(set), None, None, Some(&mut no_time))
}

/// What a call answered: `OK`, or the error's name.
pub fn answer<T>(outcome: &io::Result<T>) -> String {
    outcome.as_ref().map_or_else(errno_name, |_| "OK".to_owned())
}

/// How long one call takes, in nanoseconds, of several rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cost {
    /// The fastest round: what a busy machine disturbs least.
    pub best: f64,
    /// The slowest.
    pub worst: f64,
}

impl Cost {
    /// Of both.
    pub fn with(self, other: Cost) -> Cost {
        Cost { best: self.best.min(other.best), worst: self.worst.max(other.worst) }
    }

    /// The fastest: `1.95 us`.
    pub fn text(&self) -> String {
        nanos(self.best)
    }
}

/// Nanoseconds with three digits and a unit.
pub fn nanos(ns: f64) -> String {
    match ns {
        ns if ns < 999.5 => format!("{ns:.0} ns"),
        ns if ns < 9_995.0 => format!("{:.2} us", ns / 1e3),
        ns if ns < 99_950.0 => format!("{:.1} us", ns / 1e3),
        ns if ns < 999_500.0 => format!("{:.0} us", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// Times `call`: several rounds of at least `round` each. Rounds instead of single calls, because a clock reading costs
/// as much as a short system call.
pub fn time(rounds: usize, round: Duration, mut call: impl FnMut() -> io::Result<()>) -> io::Result<Cost> {
    let began = Instant::now();
    call()?;
    let first = began.elapsed().as_nanos().max(1);
    let calls = (round.as_nanos() / first).clamp(3, 100_000) as u32;
    let mut cost = Cost { best: f64::INFINITY, worst: 0.0 };
    for _ in 0..rounds {
        let began = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        let each = began.elapsed().as_nanos() as f64 / f64::from(calls);
        cost = Cost { best: cost.best.min(each), worst: cost.worst.max(each) };
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_read_well() {
        let figures = [0.4, 580.0, 1_950.0, 50_800.0, 508_000.0, 1_200_000.0].map(nanos);
        assert_eq!(figures, ["0 ns", "580 ns", "1.95 us", "50.8 us", "508 us", "1.20 ms"]);
    }

    #[test]
    fn the_best_round_is_not_slower_than_the_worst() {
        let cost = time(3, Duration::from_micros(50), || Ok(())).unwrap();
        assert!(cost.best <= cost.worst && cost.worst.is_finite());
    }

    #[test]
    fn a_wait_in_vain_says_for_what() {
        let error = io::Error::from(io::ErrorKind::Other);
        let failed = until("anything", || Err(error.kind().into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
    }
}
