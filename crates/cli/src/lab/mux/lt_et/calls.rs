//! What a message of 1,000 bytes costs in system calls: level-triggered, edge-triggered until EAGAIN, edge-triggered
//! until a short read; with a buffer smaller than the message, and with a larger one. Every call is counted where it is
//! made. Each combination runs on a thread of its own, named after it, so that `strace -f` tells them apart.

use super::super::kit;
use super::super::task::Thread;
use duolu_sys::calls::Epoll;
use duolu_sys::calls::flags::{EPOLLET, EPOLLIN};
use duolu_sys::socket;
use std::io;
use std::net::TcpStream;

/// Bytes of a message: the notes' example, its typing error mended.
pub const MESSAGE: usize = 1000;
/// Messages in a row, each sent when the one before was read.
pub const MESSAGES: usize = 100;
/// The buffers.
pub const BUFFERS: [usize; 2] = [500, 4096];

/// How a message is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Level-triggered, one read for each report.
    Level,
    /// Edge-triggered, read until EAGAIN.
    EdgeDrained,
    /// Edge-triggered, read until EAGAIN or until a read gives less than the buffer holds (epoll(7), question 9).
    EdgeShort,
    /// Level-triggered, read until a read gives less than the buffer holds.
    LevelShort,
}

impl Way {
    /// All.
    pub const ALL: [Way; 4] = [Way::Level, Way::LevelShort, Way::EdgeDrained, Way::EdgeShort];

    const fn flags(self) -> i32 {
        match self {
            Way::Level | Way::LevelShort => EPOLLIN,
            Way::EdgeDrained | Way::EdgeShort => EPOLLIN | EPOLLET,
        }
    }

    /// As people read it.
    pub const fn said(self) -> (&'static str, &'static str) {
        match self {
            Way::Level => ("LT, one read for a report", "LT，每次报告读一次"),
            Way::LevelShort => ("LT, until a short read", "LT，读到不满为止"),
            Way::EdgeDrained => ("ET, until EAGAIN", "ET，读到 EAGAIN"),
            Way::EdgeShort => ("ET, until a short read", "ET，读到不满为止"),
        }
    }

    /// Part of the thread's name.
    pub const fn tag(self) -> &'static str {
        match self {
            Way::Level => "lt",
            Way::LevelShort => "lt-short",
            Way::EdgeDrained => "et",
            Way::EdgeShort => "et-short",
        }
    }
}

/// What [`MESSAGES`] messages cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// How.
    pub way: Way,
    /// Bytes of the buffer.
    pub buffer: usize,
    /// Calls of epoll_wait.
    pub waits: usize,
    /// Calls of recv, those that answered EAGAIN included.
    pub reads: usize,
}

impl Count {
    /// Of one message.
    pub fn per_message(&self) -> f64 {
        (self.waits + self.reads) as f64 / MESSAGES as f64
    }
}

/// All combinations.
pub fn count() -> io::Result<Vec<Count>> {
    let combinations = Way::ALL.into_iter().flat_map(|way| BUFFERS.map(|buffer| (way, buffer)));
    combinations
        .map(|(way, buffer)| {
            let name = format!("{}/{buffer}", way.tag());
            let (client, server) = kit::connection()?;
            Thread::start(&name, move || one(way, buffer, &client, &server))?.join()?
        })
        .collect()
}

fn one(way: Way, buffer: usize, client: &TcpStream, server: &TcpStream) -> io::Result<Count> {
    server.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(server, way.flags())?;
    let (message, mut memory) = (vec![b'x'; MESSAGE], vec![0; buffer]);
    let mut count = Count { way, buffer, waits: 0, reads: 0 };
    for _ in 0..MESSAGES {
        socket::send(client, &message)?;
        // All of it, so that the count does not depend on how the network cut it.
        kit::arrived(server, MESSAGE as u64)?;
        let mut left = MESSAGE;
        while left > 0 {
            count.waits += 1;
            if kit::told_within(&epoll, 5_000)?.is_empty() {
                return Err(io::Error::other("a message was stranded: data unread, and no event"));
            }
            left -= read(way, server, &mut memory, &mut count.reads)?;
        }
    }
    Ok(count)
}

/// What a callback does for one report; how many bytes that were.
fn read(way: Way, server: &TcpStream, memory: &mut [u8], reads: &mut usize) -> io::Result<usize> {
    let mut got = 0;
    loop {
        *reads += 1;
        match socket::recv(server, memory) {
            Ok(bytes) => {
                got += bytes;
                let done = match way {
                    Way::Level => true,
                    Way::LevelShort | Way::EdgeShort => bytes < memory.len(),
                    Way::EdgeDrained => bytes == 0,
                };
                if done {
                    return Ok(got);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(got),
            Err(error) => return Err(error),
        }
    }
}

/// Calls for one message, as the ways of reading have it: waits and reads.
pub const fn by_the_rules(way: Way, buffer: usize) -> (usize, usize) {
    let (full, all) = (MESSAGE / buffer, MESSAGE.div_ceil(buffer));
    match way {
        Way::Level => (all, all),
        Way::EdgeDrained => (1, all + 1),
        // A read that fills the buffer cannot know that it was the last.
        Way::EdgeShort | Way::LevelShort => (1, full + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_give_the_numbers_of_the_notes_scenario() {
        let sums = |buffer| Way::ALL.map(|way| by_the_rules(way, buffer)).map(|(waits, reads)| waits + reads);
        assert_eq!(sums(500), [4, 4, 4, 4]);
        assert_eq!(sums(4096), [2, 2, 3, 2]);
        assert_eq!(by_the_rules(Way::Level, 500), (2, 2));
        assert_eq!(by_the_rules(Way::EdgeDrained, 500), (1, 3));
    }
}
