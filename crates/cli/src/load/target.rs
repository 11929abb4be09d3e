//! Where the load goes: `127.0.0.1:8080`, `:8080`, `localhost:8080`, `http://127.0.0.1:8080/path`.

use crate::failure::Failure;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// A target that has been resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Where connections go.
    pub address: SocketAddr,
    /// As the user wrote it.
    pub shown: String,
    /// HOST[:PORT] for HTTP's Host field.
    pub authority: String,
    /// The path of an `http://` target.
    pub path: Option<String>,
    /// Whether the address belongs to this machine, so that the server's process can be looked at.
    pub is_here: bool,
}

impl Target {
    /// Resolves what the user wrote.
    pub fn resolve(text: &str) -> Result<Self, Failure> {
        let (authority, path) = split(text)?;
        let default_port = path.is_some().then_some(80);
        let (host, port) = host_and_port(&authority, default_port).ok_or_else(|| {
            Failure::usage(format!(
                "'{text}' has no port (1 to 65535); write HOST:PORT, :PORT or http://HOST[:PORT]/PATH"
            ))
        })?;
        let address = resolve(&host, port)?;
        let is_here = is_here(address.ip());
        let authority = if authority.starts_with(':') { format!("127.0.0.1{authority}") } else { authority };
        Ok(Target { address, shown: text.to_owned(), authority, path, is_here })
    }

    /// Refuses what is not this machine, unless the user says that they may.
    pub fn check_permission(&self, may_load_this_host: bool) -> Result<(), Failure> {
        if self.is_here || may_load_this_host {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{} is not this machine; load is put on other hosts only with --i-may-load-this-host, and only where \
             you have their owner's permission",
            self.address.ip()
        )))
    }
}

/// The part with host and port, and the path where the target is a URL.
fn split(text: &str) -> Result<(String, Option<String>), Failure> {
    if text.starts_with("https://") {
        return Err(Failure::usage("https:// is not spoken; load the plain port behind the TLS end"));
    }
    let Some(rest) = text.strip_prefix("http://") else {
        if text.contains('/') {
            return Err(Failure::usage(format!(
                "'{text}' is not a target; write HOST:PORT or http://HOST:PORT/PATH"
            )));
        }
        return Ok((text.to_owned(), None));
    };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let path = path.split('#').next().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if path.bytes().any(|byte| byte <= b' ' || byte == 127) {
        return Err(Failure::usage(format!(
            "'{text}' has a blank or control character in its path; write %20"
        )));
    }
    Ok((authority.to_owned(), Some(path)))
}

fn host_and_port(authority: &str, default_port: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        // Without brackets a colon inside an IPv6 address is not a port's.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default_port?),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    (port != 0).then(|| (host.to_owned(), port))
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let mut found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| Failure::usage(format!("'{host}' cannot be resolved: {error}")))?
        .map(loopback_for_wildcard)
        .collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.dedup();
    match found[..] {
        [] => Err(Failure::usage(format!("'{host}' has no address"))),
        [only] => Ok(only),
        // localhost is often both 127.0.0.1 and ::1 while the server has only one of them. Other hosts are
        // not tried here: permission comes first.
        [first, ..] if !is_here(first.ip()) => Ok(first),
        [first, ..] => {
            let answers =
                |address: &&SocketAddr| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok();
            Ok(found.iter().filter(|address| is_here(address.ip())).find(answers).copied().unwrap_or(first))
        }
    }
}

/// 0.0.0.0 is where servers listen; connecting to it means this machine.
fn loopback_for_wildcard(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        });
    }
    address
}

/// Whether the address is one of this machine's: only those can be bound (ip_nonlocal_bind aside).
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> String {
        Target::resolve(text).expect(text).address.to_string()
    }

    #[test]
    fn targets_read_as_people_write_them() {
        assert_eq!(address("127.0.0.1:8080"), "127.0.0.1:8080");
        assert_eq!(address(":8080"), "127.0.0.1:8080");
        assert_eq!(address("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(address("[::1]:8080"), "[::1]:8080");
        let target = Target::resolve("http://127.0.0.1:8080/a?b=c#d").expect("a URL");
        assert_eq!((target.path.as_deref(), target.authority.as_str()), (Some("/a?b=c"), "127.0.0.1:8080"));
        let target = Target::resolve("http://127.0.0.1").expect("a URL without port and path");
        assert_eq!((target.path.as_deref(), target.address.port()), (Some("/"), 80));
        for bad in
            ["127.0.0.1", "8080", "127.0.0.1:0", "127.0.0.1:99999", "https://127.0.0.1:1/", "a/b:1", "::1"]
        {
            assert!(Target::resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_hosts_need_the_flag() {
        let other = Target::resolve("192.0.2.1:80").expect("TEST-NET-1, RFC 5737");
        assert!(other.check_permission(false).is_err());
        assert!(other.check_permission(true).is_ok());
        assert!(Target::resolve("127.9.9.9:80").expect("loopback").check_permission(false).is_ok());
    }
}
