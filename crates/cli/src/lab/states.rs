//! The state of each end of a connection, as the kernel tells it to anybody.

use duolu_sys::tcp_diag::{Diag, Families, Ports, Query, TcpSocket};
pub use duolu_sys::tcp_diag::{TcpState as State, TimerKind};
use std::net::SocketAddr;

/// The IPv4 sockets of this network with this port at either end, listening first. Where sock_diag is closed to us (a
/// sandbox) there are none, and no experiment about states holds.
pub fn on_port(port: u16) -> Vec<TcpSocket> {
    Diag::open().map(|mut diag| on_port_there(&mut diag, port)).unwrap_or_default()
}

/// The same in the network in which `diag` was opened.
pub fn on_port_there(diag: &mut Diag, port: u16) -> Vec<TcpSocket> {
    let query = Query { families: Families::V4, ports: Ports::Either(port), ..Query::default() };
    let mut sockets = diag.dump(&query).map(|dump| dump.sockets).unwrap_or_default();
    sockets.sort_by_key(|socket| socket.state != State::Listen);
    sockets
}

/// The end at `local` of its connection with `remote`.
pub fn socket(local: SocketAddr, remote: SocketAddr) -> Option<TcpSocket> {
    on_port(local.port()).into_iter().find(|socket| socket.local == local && socket.remote == remote)
}

/// The state of the end at `local` of its connection with `remote`; CLOSED: there is no such socket.
pub fn state(local: SocketAddr, remote: SocketAddr) -> State {
    socket(local, remote).map_or(State::Closed, |socket| socket.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn both_ends_of_a_connection_are_found_in_their_states() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let client = TcpStream::connect(there).unwrap();
        let here = client.local_addr().unwrap();
        let served = listener.accept().unwrap().0;
        assert_eq!((state(here, there), state(there, here)), (State::Established, State::Established));
        client.shutdown(Shutdown::Write).unwrap();
        let seen = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            (state(here, there), state(there, here)) == (State::FinWait2, State::CloseWait)
        });
        assert!(seen, "{:?}", on_port(there.port()));
        assert_eq!(on_port(there.port())[0].state, State::Listen);
        drop((client, served));
        assert_eq!(state(here, "127.0.0.2:1".parse().unwrap()), State::Closed);
    }
}
