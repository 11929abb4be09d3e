//! What to look at: nothing (all), `:8080`, `8080`, `127.0.0.1:8080`, `localhost:8080`, `[::1]:8080`.

use crate::failure::Failure;
use crate::inspect::Socket;
use duolu_sys::tcp_diag::{Ports, TcpState};
use std::net::{IpAddr, ToSocketAddrs};

/// A port, perhaps of certain addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// `None`: all ports.
    pub port: Option<u16>,
    /// The addresses that the host's name stands for; empty: any.
    pub hosts: Vec<IpAddr>,
}

impl Target {
    /// Reads what the user wrote.
    ///
    /// # Errors
    /// Usage: no port, or a host that cannot be resolved.
    pub fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Target::default()) };
        let garbage = || {
            Failure::usage(format!(
                "'{text}' is not a port (1 to 65535) or an address with one; write :8080, 127.0.0.1:8080 or \
                 [::1]:8080, or nothing to see all"
            ))
        };
        let (host, port) = match text.rsplit_once(':') {
            // Without brackets a colon inside an IPv6 address is not a port's.
            Some((host, _)) if host.contains(':') && !host.ends_with(']') => return Err(garbage()),
            Some((host, port)) => (host, port),
            None => ("", text),
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = port.parse().ok().filter(|port| digits && *port != 0).ok_or_else(garbage)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Target { port: Some(port), hosts: addresses(host, port)? })
    }

    /// The filter for the kernel.
    pub fn ports(&self) -> Ports {
        self.port.map_or(Ports::Any, Ports::Either)
    }

    /// Whether the socket has the asked address at one of its ends. A listener on the wildcard address has any.
    pub fn takes(&self, socket: &Socket) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let (local, remote) = socket.tcp.ends();
        let asked = |at: std::net::SocketAddr| {
            self.port.is_none_or(|port| port == at.port()) && self.hosts.contains(&at.ip())
        };
        let wildcard = socket.tcp.state == TcpState::Listen && local.ip().is_unspecified();
        wildcard || asked(local) || asked(remote)
    }

    /// As a person writes it: `:8080`, `127.0.0.1:8080`.
    pub fn shown(&self) -> Option<String> {
        let port = self.port?;
        Some(match self.hosts[..] {
            [IpAddr::V4(host)] => format!("{host}:{port}"),
            [IpAddr::V6(host)] => format!("[{host}]:{port}"),
            _ => format!(":{port}"),
        })
    }
}

/// None for "any": no host, or the wildcard address of either family.
fn addresses(host: &str, port: u16) -> Result<Vec<IpAddr>, Failure> {
    if host.is_empty() || host == "*" {
        return Ok(Vec::new());
    }
    let found = (host, port).to_socket_addrs().map_err(|error| {
        Failure::usage(format!("'{host}' cannot be resolved: {error}; write its address, or :{port} for any"))
    })?;
    let mut found: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
    found.sort_unstable();
    found.dedup();
    Ok(if found.iter().any(IpAddr::is_unspecified) { Vec::new() } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_as_people_write_them() {
        let shown = |text| Target::parse(Some(text)).expect(text).shown();
        for (text, expected) in [
            (":8080", ":8080"),
            ("8080", ":8080"),
            ("*:8080", ":8080"),
            ("0.0.0.0:8080", ":8080"),
            ("[::]:8080", ":8080"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::ffff:127.0.0.1]:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(Target::parse(None).expect("all"), Target::default());
        for garbage in [
            "",
            ":",
            ":0",
            ":65536",
            ":http",
            "8080/tcp",
            "::1",
            "::1:80",
            ":+80",
            "127.0.0.1",
            ":-1",
            "x y:1",
        ] {
            assert!(Target::parse(Some(garbage)).is_err(), "{garbage}");
        }
    }
}
