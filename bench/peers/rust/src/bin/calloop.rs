//! calloop: a level-triggered source for each connection, which asks for write readiness while it has a rest.

use calloop::generic::Generic;
use calloop::{
    EventLoop, EventSource, Interest, LoopHandle, Mode, Poll, PostAction, Readiness, Token, TokenFactory,
};
use duolu_peers::{Outcome, echo_on, listen_here, say_ready, send_rest};
use std::io::{self, ErrorKind};
use std::net::TcpStream;

struct Conn {
    io: Generic<TcpStream>,
    rest: Vec<u8>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut event_loop: EventLoop<'_, ()> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    let door = Generic::new(listen_here()?, Interest::READ, Mode::Level);
    handle.clone().insert_source(door, move |_, door, ()| {
        loop {
            match door.accept() {
                Ok((stream, _)) => admit(&handle, stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(PostAction::Continue),
                Err(error) => return Err(error),
            }
        }
    })?;
    say_ready();
    event_loop.run(None, &mut (), |()| {})?;
    Ok(())
}

fn admit(handle: &LoopHandle<'_, ()>, stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?; // std has no accept4(.., SOCK_NONBLOCK)
    let conn = Conn { io: Generic::new(stream, Interest::READ, Mode::Level), rest: Vec::new() };
    handle.insert_source(conn, |(), (), ()| {}).map_err(|error| io::Error::other(error.error))?;
    Ok(())
}

impl EventSource for Conn {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    fn process_events<F>(&mut self, readiness: Readiness, token: Token, _: F) -> io::Result<PostAction>
    where
        F: FnMut((), &mut ()),
    {
        let Conn { io, rest } = self;
        let was_blocked = !rest.is_empty();
        let mut action = io.process_events(readiness, token, |_, stream| {
            let stream: &TcpStream = stream;
            let outcome = if was_blocked { send_rest(stream, std::mem::take(rest)) } else { echo_on(stream) };
            match outcome {
                Outcome::Blocked(left) => *rest = left,
                Outcome::Gone => return Ok(PostAction::Remove),
                Outcome::Done { .. } | Outcome::Empty => {}
            }
            Ok(PostAction::Continue)
        })?;
        let blocked = !rest.is_empty();
        if blocked != was_blocked && action == PostAction::Continue {
            io.interest = if blocked { Interest::WRITE } else { Interest::READ };
            action = PostAction::Reregister;
        }
        Ok(action)
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.io.register(poll, factory)
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.io.reregister(poll, factory)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.io.unregister(poll)
    }
}
