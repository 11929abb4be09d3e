//! What is asked about: a port, or a process.

use crate::failure::Failure;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// What the server is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Whoever listens on this port (at this address, if one is named).
    Port(Option<IpAddr>, u16),
    /// This process.
    Pid(u32),
}

impl Target {
    /// `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; a bare number is a process.
    ///
    /// # Errors
    /// Anything else: a usage error that says what can be written.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let refuse = || {
            Failure::usage(format!(
                "'{text}' is neither a port nor a process: write a port with its colon (:8080, 127.0.0.1:8080, \
                 [::1]:8080) or the number of a process (4711)"
            ))
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(refuse()) } else { Ok(Self::at(address)) };
        }
        if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
            let port = port.parse().ok().filter(|&port| port != 0);
            return port.map(|port| Target::Port(None, port)).ok_or_else(refuse);
        }
        if let Ok(pid) = text.parse::<u32>() {
            return if pid == 0 { Err(refuse()) } else { Ok(Target::Pid(pid)) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let named = |address: &SocketAddr| address.port() != 0;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(refuse());
        }
        text.to_socket_addrs().ok().and_then(|mut found| found.find(named)).map(Self::at).ok_or_else(refuse)
    }

    fn at(address: SocketAddr) -> Self {
        let ip = address.ip().to_canonical();
        Target::Port((!ip.is_unspecified()).then_some(ip), address.port())
    }

    /// Whether a socket bound to `local` takes what comes to this target.
    pub fn reaches(self, local: SocketAddr) -> bool {
        let Target::Port(ip, port) = self else { return false };
        let bound = local.ip().to_canonical();
        local.port() == port && ip.is_none_or(|ip| bound == ip || bound.is_unspecified())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Port(None, port) => write!(f, ":{port}"),
            Target::Port(Some(ip), port) => write!(f, "{}", SocketAddr::new(*ip, *port)),
            Target::Pid(pid) => write!(f, "{pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_processes_read_as_people_write_them() {
        let of = |text| Target::parse(text).map(|target| target.to_string());
        assert_eq!(Target::parse(":80").unwrap(), Target::Port(None, 80));
        assert_eq!(Target::parse("0.0.0.0:80").unwrap(), Target::Port(None, 80));
        assert_eq!(Target::parse("4711").unwrap(), Target::Pid(4711));
        assert_eq!(of("127.0.0.1:80").unwrap(), "127.0.0.1:80");
        assert_eq!(of("[::1]:80").unwrap(), "[::1]:80");
        assert_eq!(of("[::ffff:127.0.0.1]:80").unwrap(), "127.0.0.1:80");
        assert_eq!(of("localhost:80").unwrap().rsplit_once(':').unwrap().1, "80");
        for wrong in
            ["", ":", ":0", "0", ":65536", ":http", "nginx", "-5", "1.2.3.4", "1.2.3.4:0", "x:y:80", "::1"]
        {
            let refused = Target::parse(wrong).expect_err(wrong).message().to_owned();
            assert!(refused.contains(":8080") && refused.contains(wrong), "{refused}");
        }
    }

    #[test]
    fn a_wildcard_takes_what_comes_to_every_address() {
        let one = Target::parse("127.0.0.1:80").unwrap();
        for (bound, yes) in [
            ("0.0.0.0:80", true),
            ("[::]:80", true),
            ("127.0.0.1:80", true),
            ("10.0.0.1:80", false),
            ("0.0.0.0:81", false),
        ] {
            assert_eq!(one.reaches(bound.parse().unwrap()), yes, "{bound}");
        }
        assert!(Target::parse(":80").unwrap().reaches("10.0.0.1:80".parse().unwrap()));
    }
}
