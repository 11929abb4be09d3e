//! An echo server for datagrams: whatever a client sends comes back. A batch of messages costs two system calls.
//!
//! Run it with `cargo run --example udp_echo [ADDRESS]` and talk to it with `nc -u 127.0.0.1 7777`.
//!
//! It shows: a batch of received messages, answers from the address that was asked (a machine may have several), and what
//! happens when more is to be sent than the network takes.

use duolu::{Context, DatagramEvent, DatagramOptions, Datagrams, EventLoop};
use std::error::Error;
use std::net::UdpSocket;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let socket = UdpSocket::bind(&address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let listening = socket.local_addr()?;
    let mut event_loop = EventLoop::new()?;
    let options = DatagramOptions::new().local_address();
    let echo = |_: &mut Context, socket: &mut Datagrams<'_>, event: DatagramEvent<'_>| match event {
        DatagramEvent::Received(batch) => {
            for message in batch {
                // Refused where too much waits to be sent. Whoever uses UDP bears that a message is lost, and it is counted:
                // `socket.stats().refused`.
                let _ = socket.reply(&message, message.bytes());
            }
        }
        other => eprintln!("{other}"), // nothing of it ends the socket
    };
    event_loop.datagrams(socket, options, echo)?;
    // Not before: of messages that came earlier the kernel has not kept which address they were sent to.
    println!("listening on {listening}");
    // The socket stays registered, so this runs until the process is ended.
    event_loop.run()?;
    Ok(())
}
