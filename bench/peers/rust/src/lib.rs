//! What every echo server in Rust shares, so that they differ in their loop only: the listening socket, one input
//! buffer of 64 KiB for all connections, and what the peer's window did not take. The same as `../c/echo.h`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// How much is read at once.
pub const INPUT_BYTES: usize = 64 * 1024;
const BACKLOG: i32 = 4096;

thread_local! {
    static INPUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; INPUT_BYTES].into());
}

/// The non-blocking listening socket of the port in the first argument. Connections inherit TCP_NODELAY from it on
/// Linux, which saves a call for each of them.
///
/// # Errors
/// No port, or the kernel's refusal.
pub fn listen_here() -> io::Result<TcpListener> {
    let port = std::env::args().nth(1).and_then(|text| text.parse::<u16>().ok());
    let port = port.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "usage: PROGRAM PORT"))?;
    raise_descriptor_limit();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// As many descriptors as this user may have. Where that is refused, what there is has to do.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Tells whoever started this that it listens.
pub fn say_ready() {
    println!("ready");
}

/// What one readiness came to.
pub enum Outcome {
    /// All that was read is sent; `full` when the buffer was full, so that there may be more.
    Done { full: bool },
    /// There was nothing to read.
    Empty,
    /// This is left to send.
    Blocked(Vec<u8>),
    /// The peer's end, or an error.
    Gone,
}

/// Reads once with `read` and sends it back with `write`.
pub fn echo(
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> Outcome {
    INPUT.with_borrow_mut(|input| {
        let got = match read(input) {
            Ok(0) => return Outcome::Gone,
            Ok(got) => got,
            Err(error) if is_passing(&error) => return Outcome::Empty,
            Err(_) => return Outcome::Gone,
        };
        let sent = match write(&input[..got]) {
            Ok(sent) => sent,
            Err(error) if is_passing(&error) => 0,
            Err(_) => return Outcome::Gone,
        };
        if sent == got {
            Outcome::Done { full: got == INPUT_BYTES }
        } else {
            Outcome::Blocked(input[sent..got].to_vec())
        }
    })
}

/// [`echo`] on a stream.
pub fn echo_on<S>(stream: &S) -> Outcome
where
    for<'a> &'a S: Read + Write,
{
    let (mut reader, mut writer) = (stream, stream);
    echo(|room| reader.read(room), |bytes| writer.write(bytes))
}

/// Sends more of the rest. `Done` when it is empty; otherwise it is `Blocked` with what is left.
pub fn send_rest<S>(stream: &S, mut rest: Vec<u8>) -> Outcome
where
    for<'a> &'a S: Read + Write,
{
    let mut writer = stream;
    match writer.write(&rest) {
        Ok(sent) => drop(rest.drain(..sent)),
        Err(error) if is_passing(&error) => {}
        Err(_) => return Outcome::Gone,
    }
    if rest.is_empty() { Outcome::Done { full: false } } else { Outcome::Blocked(rest) }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
