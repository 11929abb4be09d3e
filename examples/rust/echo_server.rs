//! An echo server: what a client sends comes back. One thread, as many clients as there are descriptors.
//!
//! Run it with `cargo run --example echo_server [ADDRESS]` and talk to it with `nc 127.0.0.1 7777`. It shows: a connection as an
//! object (`Handler`), a slow reader that is not read from until it has taken what it was sent, an idle timeout.

use duolu::{Context, EventLoop, Handler, Interest, Next, Options, Ready};
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(60);

/// A client: the bytes that it has not yet taken back; none, and no memory for them, for all but the slow ones.
#[derive(Default)]
struct Client {
    unsent: Vec<u8>,
}

/// The loop's own data, which every callback reaches with `ctx.data()`: one buffer for all clients.
struct Shared {
    buffer: Vec<u8>,
}

impl Handler<Shared, TcpStream> for Client {
    /// What it returns says what happens next; after `Next::Remove` the loop closes the socket.
    fn ready(&mut self, ctx: &mut Context<Shared>, mut stream: &TcpStream, ready: Ready) -> Next {
        if ready.intersects(Ready::TIMEOUT) {
            return Next::Remove; // nothing was heard for a minute
        }
        if !self.unsent.is_empty() {
            return self.flush(stream);
        }
        let buffer = &mut ctx.data().buffer;
        match stream.read(buffer) {
            Ok(0) => Next::Remove, // the client has closed
            Ok(n) => {
                self.unsent.extend_from_slice(&buffer[..n]);
                self.flush(stream)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Next::Keep, // ready was a hint, as it always is
            Err(_) => Next::Remove,
        }
    }
}

impl Client {
    /// As long as something is left to send the loop watches for room to write, and no longer for bytes to read: so a client
    /// that never takes its replies cannot fill our memory.
    fn flush(&mut self, mut stream: &TcpStream) -> Next {
        match stream.write(&self.unsent) {
            Ok(n) => drop(self.unsent.drain(..n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return Next::Remove,
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            Next::interest(Interest::READ)
        } else {
            Next::interest(Interest::WRITE)
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let listener = TcpListener::bind(&address).map_err(|e| format!("cannot listen on {address}: {e}"))?;
    println!("listening on {}", listener.local_addr()?);

    let mut event_loop = EventLoop::with_data(Shared { buffer: vec![0; 64 * 1024] })?;
    event_loop.accept(listener, |ctx, stream, peer| {
        let options = Options::new(Interest::READ).timeout(IDLE);
        if let Err(error) = ctx.register_handler(stream, options, Client::default()) {
            eprintln!("cannot serve {peer}: {error}");
        }
    })?;
    event_loop.run()?; // the listener stays registered, so this runs until the process is ended
    Ok(())
}
