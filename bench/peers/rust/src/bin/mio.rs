//! mio: edge-triggered, as it always is; a short read ends a turn, and only the peer's end is read up to.

use duolu_peers::{Outcome, echo_on, listen_here, say_ready, send_rest};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind};

const DOOR: Token = Token(usize::MAX);

struct Conn {
    stream: TcpStream,
    rest: Vec<u8>,
}

struct Hall {
    poll: Poll,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
}

fn main() -> io::Result<()> {
    let mut door = TcpListener::from_std(listen_here()?);
    let mut hall = Hall { poll: Poll::new()?, conns: Vec::new(), free: Vec::new() };
    hall.poll.registry().register(&mut door, DOOR, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    say_ready();
    loop {
        match hall.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                DOOR => hall.admit_all(&door)?,
                Token(at) => hall.serve(at, event.is_read_closed())?,
            }
        }
    }
}

impl Hall {
    fn admit_all(&mut self, door: &TcpListener) -> io::Result<()> {
        loop {
            let mut stream = match door.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let at = self.free.pop().unwrap_or_else(|| {
                self.conns.push(None);
                self.conns.len() - 1
            });
            self.poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            self.conns[at] = Some(Conn { stream, rest: Vec::new() });
        }
    }

    fn serve(&mut self, at: usize, to_end: bool) -> io::Result<()> {
        let Some(conn) = &mut self.conns[at] else { return Ok(()) };
        let was_blocked = !conn.rest.is_empty();
        let mut flush = was_blocked;
        let blocked = loop {
            let outcome = if std::mem::take(&mut flush) {
                send_rest(&conn.stream, std::mem::take(&mut conn.rest))
            } else {
                echo_on(&conn.stream)
            };
            match outcome {
                // Registering anew looks at the state of things, so what came while blocked is told then.
                Outcome::Done { full } if full || to_end && !was_blocked => {}
                Outcome::Done { .. } | Outcome::Empty => break false,
                Outcome::Blocked(rest) => {
                    conn.rest = rest;
                    break true;
                }
                Outcome::Gone => {
                    self.conns[at] = None;
                    self.free.push(at);
                    return Ok(());
                }
            }
        };
        if blocked != was_blocked {
            let interest = if blocked { Interest::WRITABLE } else { Interest::READABLE };
            self.poll.registry().reregister(&mut conn.stream, Token(at), interest)?;
        }
        Ok(())
    }
}
