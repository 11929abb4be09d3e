//! Connections to one server: a process of its own, so that each has its own descriptors. It says `ready` once all
//! connections have got a first reply and its bytes were right; then each line of input, a number of milliseconds, is
//! a window, answered with how many messages there were and how many nanoseconds it took.
//!
//! Closed loop: who has its reply sends the next message, until the window is over; then the last replies are waited
//! for, so that whatever the server did belongs to a message that counts.

use crate::server::Usage;
use crate::{Load, Outcome};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The first argument that makes this program a loader.
pub const VERB: &str = "load-for-pairs";
/// How long nothing may come from a server that owes replies.
const SILENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
const INPUT_BYTES: usize = 64 * 1024;

/// A loader, seen from outside.
pub struct Loader {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Loader {
    pub fn start(port: u16, load: Load) -> Outcome<Self> {
        let numbers = [port.into(), load.connections, load.active, load.bytes, load.churn.into()];
        let mut child = Command::new(std::env::current_exe()?)
            .arg(VERB)
            .args(numbers.map(|number: usize| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("a pipe")?;
        let answers = BufReader::new(child.stdout.take().ok_or("a pipe")?);
        let mut loader = Loader { child, orders, answers };
        loader.answer().map(|_| loader)
    }

    /// Messages, and nanoseconds.
    pub fn window(&mut self, length: Duration) -> Outcome<(u64, u64)> {
        writeln!(self.orders, "{}", length.as_millis())?;
        let answer = self.answer()?;
        let (messages, elapsed_ns) =
            answer.trim().split_once(' ').ok_or("a loader answers with two numbers")?;
        Ok((messages.parse()?, elapsed_ns.parse()?))
    }

    pub fn usage(&self) -> Outcome<Usage> {
        Usage::of(self.child.id())
    }

    fn answer(&mut self) -> Outcome<String> {
        let mut line = String::new();
        let is_there = self.answers.read_line(&mut line)? > 0;
        if is_there { Ok(line) } else { Err("its loader ended; what it said is above".into()) }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Conn {
    stream: TcpStream,
    /// Bytes of the message that still go out, and of the reply that still come in.
    unsent: usize,
    owed: usize,
    wants_write: bool,
}

struct Hall {
    port: u16,
    load: Load,
    epoll: OwnedFd,
    conns: Vec<Conn>,
    message: Vec<u8>,
    input: Box<[u8]>,
    /// Of this window.
    messages: u64,
}

/// The loader itself.
pub fn run(words: impl Iterator<Item = String>) -> Outcome<()> {
    let numbers = words.map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    let &[port, connections, active, bytes, churn] = numbers.as_slice() else {
        return Err("a loader takes five numbers".into());
    };
    let load = Load { connections, active, bytes, churn: churn != 0 };
    let mut hall = Hall {
        port: u16::try_from(port)?,
        load,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        conns: Vec::new(),
        message: (0..bytes).map(|at| (at * 31 % 251) as u8).collect(),
        input: vec![0; INPUT_BYTES].into(),
        messages: 0,
    };
    let _idle = if load.churn { hall.check(1)? } else { hall.fill()? };
    println!("ready");
    for line in io::stdin().lines() {
        let length = Duration::from_millis(line?.trim().parse()?);
        let began = Instant::now();
        if load.churn {
            hall.churn(began + length)?
        } else {
            hall.talk(began + length)?
        }
        println!("{} {}", std::mem::take(&mut hall.messages), began.elapsed().as_nanos());
    }
    Ok(())
}

impl Hall {
    /// Makes the connections; gives back those that stay idle.
    fn fill(&mut self) -> Outcome<Vec<TcpStream>> {
        let mut made = self.check(self.load.connections)?;
        let idle = made.split_off(self.load.active);
        for (at, stream) in made.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
            self.conns.push(Conn { stream, unsent: 0, owed: 0, wants_write: false });
        }
        Ok(idle)
    }

    /// So many connections, each of which has got a reply with the right bytes.
    fn check(&self, count: usize) -> Outcome<Vec<TcpStream>> {
        let mut made = Vec::with_capacity(count);
        let mut reply = vec![0; self.message.len()];
        for at in 0..count {
            let mut stream = connect(self.port).map_err(|error| format!("connection {at}: {error}"))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(&self.message)?;
            stream.read_exact(&mut reply).map_err(|error| format!("connection {at}: no reply: {error}"))?;
            if reply != self.message {
                return Err(format!("connection {at}: the reply is not what was sent").into());
            }
            made.push(stream);
        }
        Ok(made)
    }

    fn talk(&mut self, until: Instant) -> Outcome<()> {
        for at in 0..self.conns.len() {
            self.begin(at)?;
        }
        let mut owing = self.conns.len();
        let mut reports = Vec::with_capacity(1024);
        while owing > 0 {
            self.wait(&mut reports)?;
            let more = Instant::now() < until;
            for report in reports.drain(..) {
                let at = { report.data }.u64() as usize;
                if self.conns[at].unsent > 0 {
                    self.send(at)?;
                }
                if self.receive(at)? {
                    if more { self.begin(at)? } else { owing -= 1 }
                }
            }
        }
        Ok(())
    }

    fn churn(&mut self, until: Instant) -> Outcome<()> {
        for _ in 0..self.load.connections {
            let conn = self.fresh(self.conns.len())?;
            self.conns.push(conn);
        }
        let mut owing = self.conns.len();
        let mut reports = Vec::with_capacity(1024);
        while owing > 0 {
            self.wait(&mut reports)?;
            for report in reports.drain(..) {
                let at = { report.data }.u64() as usize;
                if !self.receive(at)? {
                    continue;
                }
                if Instant::now() < until {
                    self.conns[at] = self.fresh(at)?; // and the old one is closed
                } else {
                    let over = &self.conns[at].stream;
                    epoll::delete(&self.epoll, over)?; // or the server's own end would be reported
                    over.shutdown(Shutdown::Write)?;
                    owing -= 1;
                }
            }
        }
        self.conns.clear();
        Ok(())
    }

    /// A connection with its message under way.
    fn fresh(&self, at: usize) -> Outcome<Conn> {
        let mut stream = connect(self.port)?;
        stream.write_all(&self.message)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
        Ok(Conn { stream, unsent: 0, owed: self.message.len(), wants_write: false })
    }

    fn wait(&self, reports: &mut Vec<epoll::Event>) -> Outcome<()> {
        match epoll::wait(&self.epoll, spare_capacity(reports), Some(&SILENCE)) {
            Ok(0) => Err("no reply for 10 s".into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn begin(&mut self, at: usize) -> Outcome<()> {
        let conn = &mut self.conns[at];
        (conn.unsent, conn.owed) = (self.message.len(), self.message.len());
        self.send(at)
    }

    fn send(&mut self, at: usize) -> Outcome<()> {
        let conn = &mut self.conns[at];
        match conn.stream.write(&self.message[self.message.len() - conn.unsent..]) {
            Ok(sent) => conn.unsent -= sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(format!("sending: {error}").into()),
        }
        let wants_write = conn.unsent > 0;
        if wants_write != conn.wants_write {
            conn.wants_write = wants_write;
            let write = if wants_write { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(at as u64);
            epoll::modify(&self.epoll, &conn.stream, data, epoll::EventFlags::IN | write)?;
        }
        Ok(())
    }

    /// Reads once. Whether that was the end of a reply.
    fn receive(&mut self, at: usize) -> Outcome<bool> {
        let conn = &mut self.conns[at];
        match conn.stream.read(&mut self.input) {
            Ok(0) => Err("the server closed a connection".into()),
            Ok(got) if got > conn.owed => Err("the server sent more than it got".into()),
            Ok(got) => {
                conn.owed -= got;
                let over = conn.owed == 0;
                self.messages += u64::from(over);
                Ok(over)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(format!("receiving: {error}").into()),
        }
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
