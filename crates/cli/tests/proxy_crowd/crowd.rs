//! The clients: one loop, an event for each.

use duolu::{Context, EventId, EventLoop, Handler, Interest, Next, Ready};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What an ordinary client sends and gets back.
const MESSAGE: usize = 1024;
/// Everybody's time comes once in so many ticks of [`TICK`]: an ordinary client's to send, a slow one's to read.
const ORDINARY_TICKS: usize = 20;
const SLOW_TICKS: usize = 5;
const TICK: Duration = Duration::from_millis(100);
/// What a slow reader reads at a time.
const SIP: usize = 8 * 1024;
/// What one that never reads sends at most: more than all buffers on the way take, or the kernel's memory would be the
/// machine's.
const NEVER_MOST: u64 = 8 << 20;
/// No multiple of anything on the way, so that a piece in the wrong place shows.
const PATTERN: usize = 65_521;
/// How long all of them may take to get the rest, once they all read.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Ordinary,
    Slow,
    Never,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Readers {
    pub slow: u64,
    pub never: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Of the ordinary ones.
    pub messages: u64,
    /// That came back, and were what had been sent.
    pub bytes: u64,
    /// On their way, or taken by nobody, when those who never read began to.
    pub blocked_bytes: u64,
    pub readers: Readers,
    done: u64,
}

pub struct Crowd {
    pattern: Vec<u8>,
    input: Vec<u8>,
    clients: Vec<Option<(Rc<TcpStream>, EventId)>>,
    finishing: bool,
    ticks: usize,
    totals: Totals,
}

/// A connection. Byte n of it is byte n of the pattern, from a place of its own on.
struct Client {
    number: usize,
    kind: Kind,
    sent: u64,
    got: u64,
    /// Of a message that was begun.
    owed: usize,
    shut: bool,
}

impl Crowd {
    /// Has so many connect, hold, and read to the end. Panics where a byte is lost or changed.
    pub fn run(address: SocketAddr, connections: u64, hold: Duration) -> Totals {
        let mut state = 1_u64;
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        });
        let pattern: Vec<u8> = bytes.take(PATTERN).collect();
        let crowd = Crowd {
            // It goes on with its beginning, so that a piece of it always lies in one.
            pattern: pattern.iter().cycle().take(PATTERN + 64 * 1024).copied().collect(),
            input: vec![0; 64 * 1024],
            clients: Vec::new(),
            finishing: false,
            ticks: 0,
            totals: Totals::default(),
        };
        let mut event_loop = EventLoop::with_data(crowd).expect("a loop");
        for number in 0..connections as usize {
            let stream = TcpStream::connect(address).expect("connect");
            event_loop.join(number, stream);
        }
        let begin = Instant::now();
        event_loop.every(TICK, move |ctx| {
            if begin.elapsed() >= hold && !ctx.data().finishing {
                finish(ctx);
            }
            assert!(begin.elapsed() < hold + PATIENCE, "not all came back: {:?}", ctx.data().totals);
            tick(ctx);
            if ctx.data().totals.done == connections { Next::Remove } else { Next::Keep }
        });
        event_loop.run().expect("a loop that runs");
        event_loop.data().totals
    }
}

trait Join {
    fn join(&mut self, number: usize, stream: TcpStream);
}

impl Join for EventLoop<Crowd> {
    fn join(&mut self, number: usize, stream: TcpStream) {
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        let readers = &mut self.data().totals.readers;
        let kind = match number % 20 {
            0 => Kind::Never,
            1 | 2 => Kind::Slow,
            _ => Kind::Ordinary,
        };
        match kind {
            Kind::Ordinary => {}
            Kind::Slow => readers.slow += 1,
            Kind::Never => readers.never += 1,
        }
        let interest = if kind == Kind::Ordinary { Interest::READ } else { Interest::WRITE };
        let stream = Rc::new(stream);
        let client = Client { number, kind, sent: 0, got: 0, owed: 0, shut: false };
        let id = self.register_handler(Rc::clone(&stream), interest, client).expect("an event");
        self.data().clients.push(Some((stream, id)));
    }
}

/// Those whose time has come are called, as if something had happened.
fn tick(ctx: &mut Context<Crowd>) {
    ctx.data().ticks += 1;
    let ticks = ctx.data().ticks;
    for number in 0..ctx.data().clients.len() {
        let every = if matches!(number % 20, 1 | 2) { SLOW_TICKS } else { ORDINARY_TICKS };
        let its_time = (number / 20 + ticks).is_multiple_of(every);
        let Some((_, id)) = ctx.data().clients[number].as_ref().filter(|_| its_time) else { continue };
        let id = *id;
        ctx.activate(id, Ready::USER);
    }
}

/// Nobody sends anything new, and everybody reads.
fn finish(ctx: &mut Context<Crowd>) {
    ctx.data().finishing = true;
    let ids: Vec<EventId> = ctx.data().clients.iter().flatten().map(|(_, id)| *id).collect();
    for id in ids {
        ctx.activate(id, Ready::USER);
    }
}

impl Handler<Crowd, Rc<TcpStream>> for Client {
    fn ready(&mut self, ctx: &mut Context<Crowd>, stream: &Rc<TcpStream>, ready: Ready) -> Next {
        let crowd = ctx.data();
        if crowd.finishing {
            return self.finish(crowd, stream);
        }
        match self.kind {
            Kind::Ordinary => {
                if ready.intersects(Ready::USER) && self.sent == self.got && self.owed == 0 {
                    self.owed = MESSAGE;
                    crowd.totals.messages += 1;
                }
                self.send_owed(crowd, stream);
                if ready.intersects(Ready::READ) {
                    self.read(crowd, stream, usize::MAX);
                }
            }
            Kind::Slow => {
                if ready.intersects(Ready::USER) {
                    self.read(crowd, stream, SIP);
                }
                self.send(crowd, stream, MESSAGE * 16);
            }
            Kind::Never if self.sent < NEVER_MOST => {
                self.send(crowd, stream, MESSAGE * 16);
            }
            Kind::Never => return Next::Rearm(duolu::Rearm::again().interest(Interest::PEER_CLOSED)),
        }
        Next::Keep
    }
}

impl Client {
    fn place(&self, at: u64) -> usize {
        ((self.number as u64 * 7919 + at) % PATTERN as u64) as usize
    }

    /// Sends up to `most` bytes; how many the kernel took.
    fn send(&mut self, crowd: &Crowd, mut stream: &TcpStream, most: usize) -> usize {
        let from = self.place(self.sent);
        match stream.write(&crowd.pattern[from..from + most]) {
            Ok(count) => {
                self.sent += count as u64;
                count
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{:?} {}: {error}", self.kind, self.number);
                0
            }
        }
    }

    fn send_owed(&mut self, crowd: &Crowd, stream: &TcpStream) {
        if self.owed > 0 {
            self.owed -= self.send(crowd, stream, self.owed);
        }
    }

    /// Reads up to `most` bytes and compares them. True at the end.
    fn read(&mut self, crowd: &mut Crowd, mut stream: &TcpStream, most: usize) -> bool {
        let room = most.min(crowd.input.len());
        match stream.read(&mut crowd.input[..room]) {
            Ok(0) => true,
            Ok(count) => {
                let from = self.place(self.got);
                let as_sent = crowd.input[..count] == crowd.pattern[from..from + count];
                assert!(as_sent, "{:?} {}: changed after {} bytes", self.kind, self.number, self.got);
                self.got += count as u64;
                crowd.totals.bytes += count as u64;
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{:?} {}: {error}", self.kind, self.number);
                false
            }
        }
    }

    fn finish(&mut self, crowd: &mut Crowd, stream: &TcpStream) -> Next {
        self.send_owed(crowd, stream);
        if self.owed == 0 && !self.shut {
            stream.shutdown(Shutdown::Write).expect("still connected");
            self.shut = true;
            if self.kind == Kind::Never {
                crowd.totals.blocked_bytes += self.sent - self.got;
            }
            return Next::Rearm(duolu::Rearm::again().interest(Interest::READ));
        }
        if self.read(crowd, stream, usize::MAX) {
            assert_eq!(self.got, self.sent, "{:?} {}: an end before the last byte", self.kind, self.number);
            crowd.totals.done += 1;
            crowd.clients[self.number] = None;
            return Next::Remove;
        }
        Next::Keep
    }
}
