//! What is said on a connection: the bytes of the next request and the check of its reply, for each `--speak`.

use super::errors::Kind;
use super::http;
use super::pattern::{Pattern, first_difference};
use std::sync::Arc;
use std::time::Duration;

/// The protocol (`--speak`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Speak {
    /// The payload comes back as it was sent
    Echo,
    /// GET over HTTP/1.1 with keep-alive
    Http,
    /// memcached's text protocol: a key per connection, set once, then got
    Memcached,
    /// Connect and hold, say nothing
    Connect,
}

impl Speak {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Speak::Echo => "echo",
            Speak::Http => "http",
            Speak::Memcached => "memcached",
            Speak::Connect => "connect",
        }
    }
}

/// What came of some bytes of a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The reply goes on.
    More,
    /// The reply is whole and right; whether the connection ends with it, and how many bytes it carried.
    Whole { bytes: usize, close: bool },
    /// The reply is whole, but says no; the connection can go on unless `close`.
    Refused { kind: Kind, what: String, close: bool },
    /// The connection cannot go on.
    Broken(Kind, String),
}

/// What all connections of a run say.
pub struct Dialogue {
    speak: Speak,
    pattern: Pattern,
    http_request: Vec<u8>,
    key_prefix: String,
    keep_keys: Duration,
}

/// What one connection is saying.
#[derive(Default)]
pub struct Talk {
    connection: u64,
    sequence: u64,
    /// Bytes of the current reply that have come and were right.
    received: usize,
    /// memcached: the request under way, and the line in front of the value.
    request: Vec<u8>,
    head: Vec<u8>,
    http: Option<Box<http::Reader>>,
}

impl Talk {
    /// Connection number `connection` of the whole run.
    pub fn new(connection: usize) -> Self {
        Talk { connection: connection as u64, ..Talk::default() }
    }
}

impl Dialogue {
    /// `payload` bytes a message; memcached keys live for `keep_keys`. `salt` sets two loaders apart.
    pub fn new(
        speak: Speak,
        payload: usize,
        authority: &str,
        path: &str,
        salt: u64,
        keep_keys: Duration,
    ) -> Self {
        let payload = if matches!(speak, Speak::Http | Speak::Connect) { 0 } else { payload };
        Dialogue {
            speak,
            pattern: Pattern::new(payload, salt.wrapping_mul(31)),
            http_request: format!(
                "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: duolu-load/{}\r\nAccept: */*\r\n\r\n",
                env!("CARGO_PKG_VERSION")
            )
            .into_bytes(),
            key_prefix: format!("duolu-{salt}-"),
            keep_keys,
        }
    }

    /// Turns to the next message. `first`: the connection is new.
    pub fn turn(&self, talk: &mut Talk, first: bool) {
        talk.sequence += 1;
        talk.received = 0;
        match self.speak {
            Speak::Http => talk.http.get_or_insert_default().restart(),
            Speak::Memcached if first => self.set_key(talk),
            Speak::Memcached if !talk.head.is_empty() => {}
            Speak::Memcached => {
                let key = format!("{}{}", self.key_prefix, talk.connection);
                talk.request = format!("get {key}\r\n").into_bytes();
                talk.head = format!("VALUE {key} 0 {}\r\n", self.value(talk).len()).into_bytes();
            }
            Speak::Echo | Speak::Connect => {}
        }
    }

    fn set_key(&self, talk: &mut Talk) {
        let value = self.value(talk);
        let key = format!("{}{}", self.key_prefix, talk.connection);
        let line = format!("set {key} 0 {} {}\r\n", self.keep_keys.as_secs(), value.len());
        let mut request = Vec::with_capacity(line.len() + value.len() + 2);
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        talk.request = request;
        talk.head.clear();
    }

    /// What the connection's key holds: the same for the whole run.
    fn value(&self, talk: &Talk) -> &[u8] {
        self.pattern.message(talk.connection, 0)
    }

    /// The bytes of the current request.
    #[inline]
    pub fn request<'a>(&'a self, talk: &'a Talk) -> &'a [u8] {
        match self.speak {
            Speak::Echo => self.pattern.message(talk.connection, talk.sequence),
            Speak::Http => &self.http_request,
            Speak::Memcached => &talk.request,
            Speak::Connect => &[],
        }
    }

    /// Takes bytes of the reply. `shared_body`: the thread's first HTTP body.
    #[inline]
    pub fn feed(&self, talk: &mut Talk, bytes: &[u8], shared_body: &mut Option<Arc<[u8]>>) -> Progress {
        match self.speak {
            Speak::Echo => {
                let expected = self.pattern.message(talk.connection, talk.sequence);
                compare(talk, bytes, [expected, &[], &[]], expected.len())
            }
            Speak::Http => match talk.http.as_mut() {
                Some(reader) => from_http(reader.feed(bytes, shared_body)),
                None => Progress::Broken(Kind::WrongBytes, "bytes before anything was asked".into()),
            },
            Speak::Memcached => self.feed_memcached(talk, bytes),
            Speak::Connect => Progress::More, // a greeting; nothing is expected of it
        }
    }

    fn feed_memcached(&self, talk: &mut Talk, bytes: &[u8]) -> Progress {
        if talk.received == 0 {
            let line = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
            let line = line.lines().next().unwrap_or("");
            if ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|word| line.starts_with(word)) {
                return Progress::Broken(Kind::Memcached, format!("memcached answered '{line}'"));
            }
            if bytes.starts_with(b"END\r\n") && !talk.head.is_empty() {
                return Progress::Broken(
                    Kind::Miss,
                    "memcached no longer has the key: out of its memory (-m)?".into(),
                );
            }
        }
        if talk.head.is_empty() {
            return compare(talk, bytes, [b"STORED\r\n", &[], &[]], 0);
        }
        let value = self.value(talk);
        let head = std::mem::take(&mut talk.head);
        let progress = compare(talk, bytes, [&head, value, b"\r\nEND\r\n"], value.len());
        talk.head = head;
        progress
    }

    /// The peer has closed.
    pub fn end(&self, talk: &mut Talk, shared_body: &mut Option<Arc<[u8]>>) -> Progress {
        match talk.http.as_mut() {
            Some(reader) => from_http(reader.end(shared_body)),
            None => Progress::Broken(
                Kind::ClosedEarly,
                format!(
                    "the server closed connection {} after {} bytes of a reply",
                    talk.connection, talk.received
                ),
            ),
        }
    }
}

fn from_http(progress: http::Progress) -> Progress {
    match progress {
        http::Progress::More => Progress::More,
        http::Progress::Whole { status: 200..=299, body, close } => Progress::Whole { bytes: body, close },
        http::Progress::Whole { status, close, .. } => {
            Progress::Refused { kind: Kind::HttpStatus(status), what: format!("HTTP status {status}"), close }
        }
        http::Progress::Wrong(kind, what) => Progress::Broken(kind, what),
    }
}

/// Compares the next bytes of a reply with its three parts.
#[inline]
fn compare(talk: &mut Talk, bytes: &[u8], parts: [&[u8]; 3], carried: usize) -> Progress {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    if talk.received + bytes.len() > total {
        let extra = talk.received + bytes.len() - total;
        return broken(talk, format!("{extra} bytes more than the {total} of the reply"));
    }
    let mut rest = bytes;
    let mut begin = 0;
    for part in parts {
        let at = (talk.received - begin).min(part.len());
        let take = rest.len().min(part.len() - at);
        let (now, later) = rest.split_at(take);
        if let Some(wrong) = first_difference(now, &part[at..at + take]) {
            let what = format!(
                "byte {} of {total} is 0x{:02x}, expected 0x{:02x}",
                talk.received + wrong,
                now[wrong],
                part[at + wrong]
            );
            return broken(talk, what);
        }
        talk.received += take;
        begin += part.len();
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    if talk.received == total { Progress::Whole { bytes: carried, close: false } } else { Progress::More }
}

#[cold]
fn broken(talk: &Talk, what: String) -> Progress {
    Progress::Broken(
        Kind::WrongBytes,
        format!("connection {}, message {}: {what}", talk.connection, talk.sequence),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(speak: Speak) -> Dialogue {
        Dialogue::new(speak, 32, "127.0.0.1:1", "/", 9, Duration::from_secs(60))
    }

    #[test]
    fn an_echo_is_right_in_any_cut_and_wrong_in_any_byte() {
        let dialogue = dialogue(Speak::Echo);
        let mut talk = Talk::new(3);
        for size in 1..=32 {
            dialogue.turn(&mut talk, size == 1);
            let sent = dialogue.request(&talk).to_vec();
            let mut last = Progress::More;
            for piece in sent.chunks(size) {
                assert_eq!(last, Progress::More);
                last = dialogue.feed(&mut talk, piece, &mut None);
            }
            assert_eq!(last, Progress::Whole { bytes: 32, close: false });
        }
        for wrong in 0..32 {
            dialogue.turn(&mut talk, false);
            let mut sent = dialogue.request(&talk).to_vec();
            sent[wrong] ^= 0x80;
            match dialogue.feed(&mut talk, &sent, &mut None) {
                Progress::Broken(Kind::WrongBytes, what) => {
                    assert!(what.contains(&format!("byte {wrong} of 32")), "{what}")
                }
                other => panic!("{other:?}"),
            }
        }
        dialogue.turn(&mut talk, false);
        let mut longer = dialogue.request(&talk).to_vec();
        longer.push(0);
        assert!(matches!(
            dialogue.feed(&mut talk, &longer, &mut None),
            Progress::Broken(Kind::WrongBytes, _)
        ));
    }

    #[test]
    fn memcached_sets_then_gets_and_its_errors_have_names() {
        let dialogue = dialogue(Speak::Memcached);
        let mut talk = Talk::new(5);
        dialogue.turn(&mut talk, true);
        let set = dialogue.request(&talk).to_vec();
        assert!(set.starts_with(b"set duolu-9-5 0 60 32\r\n") && set.ends_with(b"\r\n"));
        let value = set[set.len() - 34..set.len() - 2].to_vec();
        assert_eq!(dialogue.feed(&mut talk, b"STO", &mut None), Progress::More);
        assert!(matches!(dialogue.feed(&mut talk, b"RED\r\n", &mut None), Progress::Whole { .. }));
        let reply = [&b"VALUE duolu-9-5 0 32\r\n"[..], &value, b"\r\nEND\r\n"].concat();
        for size in [1, 7, 21, 22, 23, 1000] {
            dialogue.turn(&mut talk, false);
            assert_eq!(dialogue.request(&talk), b"get duolu-9-5\r\n");
            let last = reply.chunks(size).map(|piece| dialogue.feed(&mut talk, piece, &mut None)).last();
            assert_eq!(last, Some(Progress::Whole { bytes: 32, close: false }), "{size}");
        }
        dialogue.turn(&mut talk, false);
        assert!(matches!(dialogue.feed(&mut talk, b"END\r\n", &mut None), Progress::Broken(Kind::Miss, _)));
        dialogue.turn(&mut talk, true);
        let answer = b"SERVER_ERROR out of memory storing object\r\n";
        assert!(matches!(dialogue.feed(&mut talk, answer, &mut None), Progress::Broken(Kind::Memcached, _)));
    }
}
