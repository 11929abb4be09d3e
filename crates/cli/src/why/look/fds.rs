//! The descriptors of a process, by what they are.

use std::fs;
use std::io;

/// What a descriptor is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A socket of any family, by its inode.
    Socket(u64),
    /// An epoll instance.
    Epoll,
    /// An io_uring.
    Ring,
    /// An eventfd.
    Event,
    /// A signalfd.
    Signal,
    /// A timerfd.
    Timer,
    /// One end of a pipe or FIFO, by its inode.
    Pipe(u64),
    /// A file, a device, anything else.
    Other,
}

/// One descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fd {
    /// Its number.
    pub number: i32,
    /// What it is.
    pub kind: Kind,
}

/// All of them, by number. One readlink(2) each.
///
/// # Errors
/// The process is gone, or not ours to read.
pub fn read(pid: u32) -> io::Result<Vec<Fd>> {
    let mut fds = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(link) = fs::read_link(entry.path()) else { continue }; // closed since
        fds.push(Fd { number, kind: kind(&link.to_string_lossy()) });
    }
    fds.sort_unstable_by_key(|fd| fd.number);
    Ok(fds)
}

fn kind(link: &str) -> Kind {
    let inode = |prefix: &str| link.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok();
    if let Some(inode) = inode("socket:[") {
        return Kind::Socket(inode);
    }
    if let Some(inode) = inode("pipe:[") {
        return Kind::Pipe(inode);
    }
    match link {
        "anon_inode:[eventpoll]" => Kind::Epoll,
        "anon_inode:[io_uring]" => Kind::Ring,
        "anon_inode:[eventfd]" => Kind::Event,
        "anon_inode:[signalfd]" => Kind::Signal,
        "anon_inode:[timerfd]" => Kind::Timer,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_say_what_a_descriptor_is() {
        assert_eq!(kind("socket:[4711]"), Kind::Socket(4711));
        assert_eq!(kind("pipe:[12]"), Kind::Pipe(12));
        assert_eq!(kind("anon_inode:[eventpoll]"), Kind::Epoll);
        assert_eq!(kind("anon_inode:[io_uring]"), Kind::Ring);
        assert_eq!(kind("/tmp/socket:[1]"), Kind::Other);
    }

    #[test]
    fn own_descriptors_are_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let number = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let found = read(std::process::id()).expect("our own");
        assert!(found.iter().any(|fd| fd.number == number && matches!(fd.kind, Kind::Socket(_))));
        assert!(read(u32::MAX).is_err());
    }
}
