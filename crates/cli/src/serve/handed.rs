//! The sockets of a service manager (LISTEN_FDS, sd_listen_fds(3)): which are for what, and what is wrong with them.
//! They stay its own: it listens on while this server restarts.

use crate::failure::Failure;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};
use std::net::TcpListener;
use std::os::fd::OwnedFd;

/// The socket of that name (FileDescriptorName=) is the admin endpoint's; all others are the service's.
const ADMIN: &str = "admin";
/// sd_listen_fds(3): they are numbered from here on.
const FIRST: usize = 3;

/// What was handed over: listening TCP sockets, the service's set up as ours are.
#[derive(Debug, Default)]
pub struct Handed {
    pub service: Vec<TcpListener>,
    pub admin: Option<TcpListener>,
}

/// Takes them. Nothing for a process that was started otherwise.
///
/// # Errors
/// One of them is of no use to this server: its number, its name, and what it is.
pub fn take() -> Result<Handed, Failure> {
    let descriptors = duolu_sys::process::take_listen_fds()
        .map_err(|error| Failure::cannot(format!("cannot take the service manager's sockets: {error}")))?;
    let names = std::env::var("LISTEN_FDNAMES").ok();
    sort(descriptors, names.as_deref())
}

fn sort(descriptors: Vec<OwnedFd>, names: Option<&str>) -> Result<Handed, Failure> {
    let count = descriptors.len();
    let names: Vec<&str> = names.map_or_else(Vec::new, |names| names.split(':').collect());
    if count > 0 && !names.is_empty() && names.len() != count {
        return Err(Failure::cannot(format!(
            "the service manager gave {count} sockets (LISTEN_FDS), but {} names (LISTEN_FDNAMES)",
            names.len()
        )));
    }
    let mut handed = Handed::default();
    for (index, fd) in descriptors.into_iter().enumerate() {
        let name = names.get(index).copied().unwrap_or_default();
        let listener = check(FIRST + index, name, fd)?;
        if name != ADMIN {
            set_up(&listener)?;
            handed.service.push(listener);
        } else if handed.admin.replace(listener).is_some() {
            return Err(Failure::cannot(
                "the service manager gave two sockets named admin (FileDescriptorName=): one endpoint takes one socket",
            ));
        }
    }
    Ok(handed)
}

fn check(number: usize, name: &str, fd: OwnedFd) -> Result<TcpListener, Failure> {
    let Some(what) = unfit(&fd) else { return Ok(TcpListener::from(fd)) };
    let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
    Err(Failure::cannot(format!(
        "descriptor {number}{name}, from the service manager (LISTEN_FDS), {what}; a TCP server's .socket unit has \
         ListenStream=PORT and Accept=no"
    )))
}

/// What it is, if it is not a listening TCP socket.
fn unfit(fd: &OwnedFd) -> Option<&'static str> {
    let kind = match sockopt::socket_type(fd) {
        Ok(kind) => kind,
        Err(Errno::NOTSOCK) => return Some("is no socket"),
        Err(_) => return Some("cannot be asked what it is"),
    };
    if kind == SocketType::DGRAM {
        return Some("is a datagram socket (ListenDatagram=)");
    }
    let family = sockopt::socket_domain(fd).ok();
    if family == Some(AddressFamily::UNIX) {
        return Some("is a Unix socket (ListenStream= with a path)");
    }
    let is_ip = matches!(family, Some(AddressFamily::INET | AddressFamily::INET6));
    if kind != SocketType::STREAM || !is_ip {
        return Some("is no TCP socket");
    }
    match sockopt::socket_acceptconn(fd) {
        Ok(true) => None,
        _ if getpeername(fd).is_ok() => Some("is a connection (Accept=yes hands over one at a time)"),
        _ => Some("is a TCP socket that does not listen"),
    }
}

fn set_up(listener: &TcpListener) -> Result<(), Failure> {
    duolu::net::set_nodelay(listener, true)
        .and_then(|()| listener.set_nonblocking(true))
        .map_err(|error| Failure::cannot(format!("cannot set up the service manager's socket: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    fn listener() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    fn refused(fd: impl Into<OwnedFd>) -> String {
        sort(vec![listener(), fd.into()], Some("web:odd")).unwrap_err().message().to_owned()
    }

    #[test]
    fn what_is_no_listening_tcp_socket_is_called_by_its_name() {
        let udp = refused(UdpSocket::bind("127.0.0.1:0").unwrap());
        assert!(udp.starts_with("descriptor 4 (odd)") && udp.contains("ListenDatagram="), "{udp}");
        let folder = std::env::temp_dir().join(format!("duolu-handed-{}", std::process::id()));
        let unix = UnixListener::bind(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        assert!(refused(unix).contains("Unix socket"));
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(door.local_addr().unwrap()).unwrap();
        let said = refused(connection);
        assert!(said.contains("is a connection") && said.contains("Accept=no"), "{said}");
        let (inet, stream) = (AddressFamily::INET, SocketType::STREAM);
        let mute = rustix::net::socket(inet, stream, None).unwrap();
        assert!(refused(mute).contains("does not listen"));
        assert!(refused(std::fs::File::open("/dev/null").unwrap()).contains("is no socket"));
    }

    #[test]
    fn a_name_tells_the_admin_endpoints_socket() {
        let handed = sort(vec![listener(), listener()], Some("admin:duolu.socket")).unwrap();
        assert_eq!((handed.service.len(), handed.admin.is_some()), (1, true));
        let handed = sort(vec![listener()], None).unwrap();
        assert_eq!((handed.service.len(), handed.admin.is_some()), (1, false));
        let twice = sort(vec![listener(), listener()], Some("admin:admin")).unwrap_err();
        assert!(twice.message().contains("two sockets named admin"), "{}", twice.message());
        let short = sort(vec![listener(), listener()], Some("one")).unwrap_err();
        assert!(short.message().contains("2 sockets") && short.message().contains("1 names"));
        assert!(sort(Vec::new(), Some("")).unwrap().service.is_empty());
    }
}
