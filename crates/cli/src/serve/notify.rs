//! Telling the service manager (sd_notify(3)): a datagram to the socket in NOTIFY_SOCKET, nothing without one.

use crate::terminal::tell;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The server accepts connections.
pub fn ready() {
    send("READY=1\n");
}

/// The server has begun to end.
pub fn stopping() {
    send("STOPPING=1\n");
}

fn send(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent =
        address(&path).and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tell(&format!("duolu serve: cannot tell the service manager ({}): {error}", path.display()));
    }
}

/// A path, or an abstract name where the first letter is '@'.
fn address(path: &OsStr) -> std::io::Result<SocketAddr> {
    match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
}
