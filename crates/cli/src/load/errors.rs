//! What can go wrong with a connection, by the names of the JSON.

use crate::lang::Lang;
use crate::walls::grouped;
use rustix::io::Errno;
use std::fmt;

/// Why a connection or an exchange failed. `Display` gives the name in reports and JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// ECONNREFUSED: nobody listens.
    ConnectRefused,
    /// The handshake did not end in time.
    ConnectTimeout,
    /// EMFILE or ENFILE: the loader has no descriptor left.
    NoDescriptors,
    /// EADDRNOTAVAIL: no local port left.
    NoPorts,
    /// The kernel completed the handshake, but the server never accepted the connection.
    NotAccepted,
    /// ECONNRESET or EPIPE.
    Reset,
    /// The peer closed in the middle of an exchange, or a connection that was to be held.
    ClosedEarly,
    /// No whole reply in time, on a connection that the server had accepted.
    Timeout,
    /// A byte that was not the one expected, a byte missing, or one too many.
    WrongBytes,
    /// memcached no longer has the key: it was evicted.
    Miss,
    /// An HTTP status outside 200-299.
    HttpStatus(u16),
    /// memcached answered ERROR, CLIENT_ERROR or SERVER_ERROR.
    Memcached,
    /// Another errno.
    Other(i32),
}

impl Kind {
    /// What an errno of socket, bind, connect, read or write means here.
    pub fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::CONNREFUSED => Kind::ConnectRefused,
            Errno::TIMEDOUT => Kind::ConnectTimeout,
            Errno::MFILE | Errno::NFILE => Kind::NoDescriptors,
            Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => Kind::NoPorts,
            Errno::CONNRESET | Errno::PIPE => Kind::Reset,
            other => Kind::Other(other.raw_os_error()),
        }
    }

    /// Whether the target ended or refused a connection: all of them do where its process is gone.
    pub fn is_loss(self) -> bool {
        matches!(self, Kind::ConnectRefused | Kind::Reset | Kind::ClosedEarly)
    }

    /// Whether the same will happen to every connection still to be opened.
    pub fn stops_opening(self) -> bool {
        matches!(self, Kind::ConnectRefused | Kind::NoDescriptors | Kind::NoPorts)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Kind::ConnectRefused => "connect_refused",
            Kind::ConnectTimeout => "connect_timeout",
            Kind::NoDescriptors => "no_descriptors",
            Kind::NoPorts => "no_ports",
            Kind::NotAccepted => "not_accepted",
            Kind::Reset => "reset",
            Kind::ClosedEarly => "closed_early",
            Kind::Timeout => "timeout",
            Kind::WrongBytes => "wrong_bytes",
            Kind::Miss => "miss",
            Kind::HttpStatus(status) => return write!(f, "http_status:{status}"),
            Kind::Memcached => "memcached_error",
            Kind::Other(errno) => return write!(f, "other:{}", errno_name(*errno)),
        };
        f.pad(name)
    }
}

fn errno_name(errno: i32) -> String {
    const NAMES: [(Errno, &str); 12] = [
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::NOBUFS, "ENOBUFS"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::HOSTUNREACH, "EHOSTUNREACH"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::NETDOWN, "ENETDOWN"),
        (Errno::CONNABORTED, "ECONNABORTED"),
        (Errno::INVAL, "EINVAL"),
        (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::BADF, "EBADF"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.raw_os_error() == errno)
        .map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

/// What people call a kind, by its name in JSON. An unknown one, from another version, keeps its name.
pub fn words(lang: Lang, kind: &str) -> String {
    const WORDS: [(&str, &str, &str); 11] = [
        ("connect_refused", "connect refused", "连接被拒绝"),
        ("connect_timeout", "connect timeout", "连接超时"),
        ("no_descriptors", "no descriptors", "压测端描述符用尽"),
        ("no_ports", "no ports", "本地端口用尽"),
        ("not_accepted", "not accepted", "未被 accept"),
        ("reset", "reset", "连接被重置"),
        ("closed_early", "closed early", "被提前关闭"),
        ("timeout", "timeout", "回答超时"),
        ("wrong_bytes", "wrong bytes", "字节不符"),
        ("miss", "miss", "键已被淘汰"),
        ("memcached_error", "memcached error", "memcached 报错"),
    ];
    let known = WORDS.iter().find(|(name, ..)| *name == kind);
    match (known, kind.split_once(':')) {
        (Some((_, en, zh)), _) => lang.pick(en, zh).to_owned(),
        (None, Some(("http_status", status))) => {
            format!("{} {status}", lang.pick("HTTP status", "HTTP 状态码"))
        }
        (None, Some(("other", errno))) => errno.to_owned(),
        (None, _) => kind.to_owned(),
    }
}

/// Kinds and how many of each there were; of which there was none fall out.
pub fn list<'a>(lang: Lang, kinds: impl Iterator<Item = (&'a String, Option<u64>)>) -> String {
    let counted = kinds.filter_map(|(kind, count)| Some((kind, count.filter(|count| *count > 0)?)));
    let parts: Vec<String> =
        counted.map(|(kind, count)| format!("{} {}", words(lang, kind), grouped(count))).collect();
    if parts.is_empty() { lang.pick("none", "无").to_owned() } else { lang.list(&parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        assert_eq!(Kind::from_errno(Errno::MFILE).to_string(), "no_descriptors");
        assert_eq!(Kind::from_errno(Errno::ADDRNOTAVAIL).to_string(), "no_ports");
        assert_eq!(Kind::from_errno(Errno::HOSTUNREACH).to_string(), "other:EHOSTUNREACH");
        assert_eq!(Kind::from_errno(Errno::from_raw_os_error(95)).to_string(), "other:95");
        assert_eq!(Kind::HttpStatus(503).to_string(), "http_status:503");
    }

    #[test]
    fn every_kind_has_words_in_both_languages() {
        use Kind::*;
        for kind in [
            ConnectRefused,
            ConnectTimeout,
            NoDescriptors,
            NoPorts,
            NotAccepted,
            Reset,
            ClosedEarly,
            Timeout,
            WrongBytes,
            Miss,
            HttpStatus(404),
            Memcached,
        ] {
            let name = kind.to_string();
            assert!(words(Lang::Zh, &name).chars().any(|letter| letter as u32 >= 0x4e00), "{name}");
            assert_eq!(words(Lang::En, &name).replace(' ', "_").to_lowercase(), name.replace(':', "_"));
        }
        assert_eq!(words(Lang::Zh, "other:ENOBUFS"), "ENOBUFS");
        assert_eq!(words(Lang::Zh, "a new kind"), "a new kind");
    }

    #[test]
    fn a_list_names_what_there_was() {
        let kinds =
            [("reset".to_owned(), Some(1_200)), ("miss".to_owned(), Some(0)), ("timeout".to_owned(), None)];
        let all = || kinds.iter().map(|(kind, count)| (kind, *count));
        assert_eq!(list(Lang::En, all()), "reset 1,200");
        assert_eq!(list(Lang::Zh, all().skip(1)), "无");
    }
}
