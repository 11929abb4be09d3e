//! What the TCP labs share: a listener and connections whose every step is recorded.

use crate::lab::ladder::Who;
use crate::lab::said::{Said, said};
use crate::lab::stage::{PATIENCE, Stage, errno_name};
use duolu_sys::socket::{self, ListenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A port of the kernel's choice on the loopback.
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listener on a port of the kernel's choice, and its address.
pub fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = socket::listen(ANY, &ListenOptions::default())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// A connection: the client's end and the server's. The ladder is about it from here on.
pub fn connect(stage: &mut Stage, listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let address = listener.local_addr()?;
    let client = stage.call(Who::Client, "connect()", || connect_plainly(address))?;
    stage.watch(client.local_addr()?, address);
    let served = stage.call(Who::Server, "accept()", || {
        wait_readable(listener)?;
        socket::accept(listener)
    })?;
    Ok((client, served))
}

/// Reads what is there, once it is: the text, empty for the end of the stream.
pub fn read(stage: &mut Stage, who: Who, socket: &TcpStream) -> io::Result<Received> {
    stage.call(who, "read()", || {
        wait_readable(socket)?;
        let mut buffer = [0; 4096];
        let count = socket::recv(socket, &mut buffer)?;
        Ok(Received(crate::lab::stage::text(&buffer[..count])))
    })
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received(pub String);

impl Received {
    /// As an experiment tells it.
    pub fn said(&self) -> Said {
        if self.0.is_empty() { said("0, the end", "0，结束") } else { Said::same(format!("{:?}", self.0)) }
    }
}

impl crate::lab::stage::Shown for Received {
    fn shown(&self) -> String {
        if self.0.is_empty() { "0, the end".to_owned() } else { format!("{:?}", self.0) }
    }
}

/// Reads at one end, and says that it should give `text`: nothing is the end of the stream.
pub fn hears(
    stage: &mut Stage,
    what: impl Into<Said>,
    who: Who,
    socket: &TcpStream,
    text: &str,
) -> io::Result<()> {
    let wanted = Received(text.to_owned());
    match read(stage, who, socket) {
        Ok(got) => stage.same(what, got.said(), wanted.said()),
        Err(error) => stage.same(what, Said::same(errno_name(&error)), wanted.said()),
    }
    Ok(())
}

/// Waits until a socket can be read from, or has failed; [`PATIENCE`] at most.
pub fn wait_readable(socket: impl std::os::fd::AsFd) -> io::Result<()> {
    wait(socket, rustix::event::PollFlags::IN)
}

/// Waits until a socket can be read from, however long that takes: for a child, which is ended when it has to be.
pub fn wait_for_ever(socket: impl std::os::fd::AsFd) {
    let _ =
        rustix::event::poll(&mut [rustix::event::PollFd::new(&socket, rustix::event::PollFlags::IN)], None);
}

/// Waits until a connection stands.
pub fn wait_connected(socket: impl std::os::fd::AsFd) -> io::Result<()> {
    wait(&socket, rustix::event::PollFlags::OUT)?;
    socket::take_error(&socket)
}

fn wait(socket: impl std::os::fd::AsFd, flags: rustix::event::PollFlags) -> io::Result<()> {
    let mut fds = [rustix::event::PollFd::new(&socket, flags)];
    let most = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&most)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A connection that no ladder is about.
pub fn plain_connection(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = connect_plainly(listener.local_addr()?)?;
    wait_readable(listener)?;
    Ok((client, socket::accept(listener)?))
}

/// Waits until something is so; [`PATIENCE`] at most. Whether it is.
pub fn wait_until(mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// So many clients of one server.
pub fn connect_many(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|_| connect_plainly(address)).collect()
}

/// A client that no ladder is about.
pub fn connect_plainly(address: SocketAddr) -> io::Result<TcpStream> {
    let started = socket::connect(address, None)?;
    wait_connected(&started.stream)?;
    Ok(started.stream)
}
