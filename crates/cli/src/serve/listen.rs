//! Where the server listens: the address as people write it, the sockets, and errors that say what to do.

use super::holder;
use crate::failure::Failure;
use duolu::net::ListenOptions;
use rustix::io::Errno;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

/// The address meant by `text`: `8080`, `:8080`, `10.0.0.1`, `0.0.0.0:80`, `[::1]:8080`, `localhost:8080`. What it
/// leaves out comes from `bind` and `port`.
pub fn parse_address(text: &str, bind: IpAddr, port: u16) -> Result<SocketAddr, Failure> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let bare = text.strip_prefix(':').unwrap_or(text);
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return match bare.parse() {
            Ok(port) => Ok(SocketAddr::new(bind, port)),
            Err(_) => Err(Failure::usage(format!("'{text}': a port is a number from 0 to 65535"))),
        };
    }
    let with_port = if text.contains(':') { text.to_owned() } else { format!("{text}:{port}") };
    with_port.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(|| {
        Failure::usage(format!(
            "'{text}' is no address to listen on; write a port (8080), an address (127.0.0.1:8080, [::1]:8080) or \
             a host name of this machine"
        ))
    })
}

/// A non-blocking listening socket. Its connections inherit TCP_NODELAY: answers are written whole, so there is
/// nothing to gather, and it costs no call for each of them.
pub fn listen(address: SocketAddr, backlog: i32, reuse_port: bool) -> Result<TcpListener, Failure> {
    let options = ListenOptions { backlog, reuse_port, ..ListenOptions::default() };
    duolu::net::listen(address, &options)
        .and_then(|listener| duolu::net::set_nodelay(&listener, true).map(|()| listener))
        .map_err(|error| Failure::cannot(explain(address, &error)))
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => {
            let who = holder::of_port(port).map_or_else(
                || "another program (of another user: 'sudo ss -ltnp' names it)".to_owned(),
                |holder| format!("{} (pid {})", holder.name, holder.pid),
            );
            format!(
                "cannot listen on {address}: {who} listens there already; stop it, or choose another port with --port \
                 (0 takes any free one)"
            )
        }
        Some(Errno::ACCESS) => {
            let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
            let first = first.map_or_else(|_| "1024".to_owned(), |text| text.trim().to_owned());
            format!(
                "cannot listen on {address}: port {port} is below {first} (net.ipv4.ip_unprivileged_port_start) and \
                 needs a privilege; choose a port from {first} on, or allow this program with: \
                 sudo setcap cap_net_bind_service=+ep \"$(command -v duolu)\""
            )
        }
        Some(Errno::ADDRNOTAVAIL) => format!(
            "cannot listen on {address}: {} is no address of this machine; 'ip -brief address' lists them",
            address.ip()
        ),
        Some(Errno::MFILE) => format!("cannot listen on {address}: no descriptor is free; raise 'ulimit -n'"),
        _ => format!("cannot listen on {address}: {error}"),
    }
}

/// What the kernel makes of a backlog: it silently cuts it to net.core.somaxconn.
pub fn cut_backlog(backlog: i32) -> Option<i32> {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()?;
    (backlog > most).then_some(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn addresses_read_as_people_write_them() {
        let of = |text| parse_address(text, BIND, 8080).unwrap().to_string();
        assert_eq!(of("9000"), "127.0.0.1:9000");
        assert_eq!(of(":9000"), "127.0.0.1:9000");
        assert_eq!(of("0.0.0.0:80"), "0.0.0.0:80");
        assert_eq!(of("10.1.2.3"), "10.1.2.3:8080");
        assert_eq!(of("[::1]:9000"), "[::1]:9000");
        assert_eq!(of("::1"), "[::1]:8080");
        assert_eq!(of("[::1]"), "[::1]:8080");
        for bad in ["70000", ":70000", "", ":", "no such host!", "1.2.3.4:x"] {
            assert!(parse_address(bad, BIND, 8080).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_in_use_names_its_holder() {
        let address = SocketAddr::new(BIND, 0);
        let first = listen(address, 16, false).unwrap();
        let taken = first.local_addr().unwrap();
        let error = listen(taken, 16, false).unwrap_err();
        assert!(error.message().contains(&format!("(pid {})", std::process::id())), "{}", error.message());
        assert!(error.message().contains("--port"));
    }

    #[test]
    fn reuseport_shares_a_port() {
        let first = listen(SocketAddr::new(BIND, 0), 16, true).unwrap();
        assert!(listen(first.local_addr().unwrap(), 16, true).is_ok());
    }

    #[test]
    fn connections_inherit_nodelay() {
        let listener = listen(SocketAddr::new(BIND, 0), 16, false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_foreign_address_says_so() {
        let error = listen("192.0.2.1:0".parse().unwrap(), 16, false).unwrap_err();
        assert!(error.message().contains("no address of this machine"), "{}", error.message());
    }
}
