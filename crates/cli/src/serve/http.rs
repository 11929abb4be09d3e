//! The service `http`: one small page for every GET and HEAD, over HTTP/1.0 and 1.1, with keep-alive and
//! pipelining. Heads are parsed by httparse; what is a body is decided here, strictly (RFC 9112, section 6):
//! whatever two readers could understand differently is refused, and the connection ends.

use super::service::{Reply, Session, Then, Turn};
use std::mem::MaybeUninit;

/// A longer request head is answered with 431, in bytes.
const HEAD_LIMIT_BYTES: usize = 64 * 1024;
/// So is one with more fields.
const HEAD_LIMIT_FIELDS: usize = 100;

const PAGE: &[u8] = b"hello from duolu\n";
/// The answer to nearly every request, whole.
const OK_KEPT: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: duolu\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n\
    hello from duolu\n";

/// What is remembered between two reads.
#[derive(Default)]
pub struct Http {
    /// The beginning of a head whose end has not come yet. Without capacity while there is none.
    partial: Vec<u8>,
    /// Length of `partial` when it was parsed last: a head that comes a byte at a time is parsed again only when
    /// it ends or has doubled, so the work stays linear.
    parsed_bytes: usize,
    /// Bytes of a request's body that are still to come and to be thrown away.
    skip_bytes: u64,
}

impl Session for Http {
    fn handle(&mut self, input: &[u8], output: &mut Vec<u8>, leaving: bool) -> Turn {
        if self.partial.is_empty() {
            let (used, turn) = self.consume(input, output, leaving);
            if turn.then == Then::Keep && used < input.len() {
                self.partial.extend_from_slice(&input[used..]);
                self.parsed_bytes = self.partial.len();
            }
            return turn;
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(input);
        if !self.is_worth_parsing(before) {
            return Turn { reply: Reply::Output, then: Then::Keep, messages: 0 };
        }
        let mut held = std::mem::take(&mut self.partial);
        let (used, turn) = self.consume(&held, output, leaving);
        if turn.then == Then::Keep && used < held.len() {
            held.drain(..used);
            self.parsed_bytes = held.len();
            self.partial = held;
        }
        turn
    }

    fn is_idle(&self) -> bool {
        self.partial.is_empty() && self.skip_bytes == 0
    }

    fn is_owed(&self) -> bool {
        !self.partial.is_empty()
    }
}

impl Http {
    /// Answers every whole request in `bytes`; gives how many bytes are done with.
    fn consume(&mut self, bytes: &[u8], output: &mut Vec<u8>, leaving: bool) -> (usize, Turn) {
        let (mut used, mut messages) = (0, 0);
        let then = loop {
            let skipped = self.skip_bytes.min((bytes.len() - used) as u64);
            self.skip_bytes -= skipped;
            used += skipped as usize;
            if used == bytes.len() {
                break Then::Keep;
            }
            let (head, length) = match read_head(&bytes[used..]) {
                Ok(Some(found)) => found,
                Ok(None) => break Then::Keep,
                Err(status) => {
                    answer(output, status, &Head::unreadable(), false);
                    messages += 1;
                    break Then::Linger;
                }
            };
            used += length;
            messages += 1;
            let keep = head.keep && !leaving && !head.expects;
            answer(output, if head.known { Status::OK } else { Status::NOT_ALLOWED }, &head, keep);
            self.skip_bytes = head.body_bytes;
            if !keep {
                let unread = self.skip_bytes > 0 || used < bytes.len();
                break if unread { Then::Linger } else { Then::Close };
            }
        };
        (used, Turn { reply: Reply::Output, then, messages })
    }

    fn is_worth_parsing(&self, before: usize) -> bool {
        let tail = &self.partial[before.saturating_sub(3)..];
        let ends =
            tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|three| three == b"\n\r\n");
        ends || self.partial.len() > HEAD_LIMIT_BYTES || self.partial.len() >= 2 * self.parsed_bytes
    }
}

/// A status line's number and phrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Status(u16, &'static str);

impl Status {
    const OK: Status = Status(200, "OK");
    const BAD_REQUEST: Status = Status(400, "Bad Request");
    const NOT_ALLOWED: Status = Status(405, "Method Not Allowed");
    const LENGTH_REQUIRED: Status = Status(411, "Length Required");
    const HEAD_TOO_LARGE: Status = Status(431, "Request Header Fields Too Large");
    const NOT_IMPLEMENTED: Status = Status(501, "Not Implemented");
    const VERSION_NOT_SUPPORTED: Status = Status(505, "HTTP Version Not Supported");
}

/// What matters of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    /// GET or HEAD.
    known: bool,
    /// HEAD: the answer has no body.
    bare: bool,
    /// The x of HTTP/1.x.
    minor: u8,
    /// The peer wants to go on after this request.
    keep: bool,
    /// The peer waits for leave before it sends the body. It gets the final answer instead and may then send the
    /// body or not, so nothing after it can be understood.
    expects: bool,
    body_bytes: u64,
}

impl Head {
    fn unreadable() -> Self {
        Head { known: false, bare: false, minor: 1, keep: false, expects: false, body_bytes: 0 }
    }
}

/// The head at the start of `bytes` and its length, `None` while its end is missing, or how to refuse it.
fn read_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Status> {
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_LIMIT_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_LIMIT_BYTES => length,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_LIMIT_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Status::HEAD_TOO_LARGE),
        Err(httparse::Error::Version) if names_a_version(bytes) => return Err(Status::VERSION_NOT_SUPPORTED),
        Err(_) => return Err(Status::BAD_REQUEST),
    };
    judge(&request).map(|head| Some((head, length)))
}

/// Whether the first line is HTTP of another version, rather than garbage.
fn names_a_version(bytes: &[u8]) -> bool {
    let line =
        bytes.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    line.trim_ascii().rsplit(|&byte| byte == b' ').next().is_some_and(|word| word.starts_with(b"HTTP/"))
}

fn judge(request: &httparse::Request<'_, '_>) -> Result<Head, Status> {
    let minor = request.version.unwrap_or(0);
    let (mut length, mut coding, mut hosts) = (None, None, 0);
    let (mut close, mut keep_alive, mut expects) = (false, false, false);
    for field in request.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("connection") {
            close |= has_token(field.value, "close");
            keep_alive |= has_token(field.value, "keep-alive");
        } else if is("content-length") {
            // Twice, even with the same number, is how requests are smuggled past a proxy.
            if length.replace(decimal(field.value).ok_or(Status::BAD_REQUEST)?).is_some() {
                return Err(Status::BAD_REQUEST);
            }
        } else if is("transfer-encoding") {
            coding = Some(field.value);
        } else if is("expect") {
            expects = true;
        }
    }
    if let Some(coding) = coding {
        return Err(match () {
            () if length.is_some() || minor == 0 => Status::BAD_REQUEST,
            () if has_token(coding, "chunked") => Status::LENGTH_REQUIRED,
            () => Status::NOT_IMPLEMENTED,
        });
    }
    if hosts > 1 || (hosts == 0 && minor == 1) {
        return Err(Status::BAD_REQUEST); // RFC 9112, section 3.2
    }
    let method = request.method.unwrap_or_default();
    Ok(Head {
        known: matches!(method, "GET" | "HEAD"),
        bare: method == "HEAD",
        minor,
        keep: !close && (minor == 1 || keep_alive),
        expects,
        body_bytes: length.unwrap_or(0),
    })
}

/// Whether a comma-separated list holds `token`.
fn has_token(list: &[u8], token: &str) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Digits only: no sign, no list, no overflow.
fn decimal(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value.trim_ascii()).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn answer(output: &mut Vec<u8>, status: Status, head: &Head, keep: bool) {
    if status == Status::OK && keep && head.minor == 1 && !head.bare {
        return output.extend_from_slice(OK_KEPT);
    }
    let Status(number, phrase) = status;
    let text = format!("{number} {phrase}\n");
    let body = if status == Status::OK { PAGE } else { text.as_bytes() };
    let allow = if status == Status::NOT_ALLOWED { "Allow: GET, HEAD\r\n" } else { "" };
    let connection = match (keep, head.minor) {
        (false, _) => "Connection: close\r\n",
        (true, 0) => "Connection: keep-alive\r\n",
        (true, _) => "",
    };
    let length = body.len();
    output.extend_from_slice(
        format!(
            "HTTP/1.1 {number} {phrase}\r\nServer: duolu\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n{allow}{connection}\r\n"
        )
        .as_bytes(),
    );
    if !head.bare {
        output.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn serve(pieces: &[&[u8]]) -> (String, Then) {
        let (mut session, mut all, mut then) = (Http::default(), Vec::new(), Then::Keep);
        for piece in pieces {
            let mut output = Vec::new();
            then = session.handle(piece, &mut output, false).then;
            all.extend_from_slice(&output);
            if then != Then::Keep {
                break;
            }
        }
        (String::from_utf8(all).unwrap(), then)
    }

    fn statuses(input: &str) -> (Vec<u16>, Then) {
        let (answers, then) = serve(&[input.as_bytes()]);
        let of = |line: &str| line.strip_prefix("HTTP/1.1 ").map(|rest| rest[..3].parse().unwrap());
        (answers.lines().filter_map(of).collect(), then)
    }

    #[test]
    fn the_usual_answer_is_well_formed() {
        let (answer, then) = serve(&[GET.as_bytes()]);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert_eq!((body.as_bytes(), then), (PAGE, Then::Keep));
    }

    #[test]
    fn a_head_may_be_cut_anywhere() {
        let whole = serve(&[GET.as_bytes()]).0;
        for cut in 1..GET.len() {
            let (first, rest) = GET.as_bytes().split_at(cut);
            assert_eq!(serve(&[first, rest]), (whole.clone(), Then::Keep), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = GET.as_bytes().chunks(1).collect();
        assert_eq!(serve(&bytes), (whole, Then::Keep));
    }

    #[test]
    fn pipelined_requests_are_answered_in_order_wherever_they_are_cut() {
        let three = format!(
            "{GET}HEAD / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody{GET}"
        );
        assert_eq!(statuses(&three), (vec![200, 200, 405, 200], Then::Keep));
        let whole = serve(&[three.as_bytes()]).0;
        for cut in 1..three.len() {
            let (first, rest) = three.as_bytes().split_at(cut);
            assert_eq!(serve(&[first, rest]).0, whole, "cut at {cut}");
        }
    }

    #[test]
    fn the_peer_says_when_a_connection_ends() {
        let of = |rest: &str| statuses(&format!("GET / HTTP/{rest}\r\n\r\n"));
        assert_eq!(of("1.1\r\nHost: a\r\nConnection: close"), (vec![200], Then::Close));
        assert_eq!(of("1.1\r\nHost: a\r\nConnection: Upgrade, Close"), (vec![200], Then::Close));
        assert_eq!(of("1.0"), (vec![200], Then::Close));
        assert_eq!(of("1.0\r\nConnection: keep-alive"), (vec![200], Then::Keep));
        let (answer, _) = serve(&[b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"]);
        assert!(answer.contains("\r\nConnection: keep-alive\r\n"), "{answer}");
    }

    #[test]
    fn head_has_no_body() {
        let (answer, _) = serve(&[b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"]);
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("Content-Length: 17"), "{answer}");
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        let of = |fields: &str| statuses(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{GET}"));
        assert_eq!(of("Transfer-Encoding: chunked"), (vec![411], Then::Linger));
        assert_eq!(of("Transfer-Encoding: gzip"), (vec![501], Then::Linger));
        assert_eq!(of("Transfer-Encoding: chunked\r\nContent-Length: 3"), (vec![400], Then::Linger));
        assert_eq!(of("Content-Length: 3\r\nContent-Length: 3"), (vec![400], Then::Linger));
        for bad in ["-1", "+1", "0x10", "1, 1", "", "99999999999999999999", "1 1"] {
            assert_eq!(of(&format!("Content-Length: {bad}")), (vec![400], Then::Linger), "{bad}");
        }
        assert_eq!(of("Host: b"), (vec![400], Then::Linger));
        assert_eq!(of("Content-Length: 1\r\nExpect: 100-continue"), (vec![200], Then::Linger));
        assert_eq!(statuses("GET / HTTP/1.1\r\n\r\n"), (vec![400], Then::Linger));
        assert_eq!(statuses("GET / HTTP/2.0\r\n\r\n"), (vec![505], Then::Linger));
        assert_eq!(statuses("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (vec![505], Then::Linger));
        assert_eq!(statuses("no http at all\r\n\r\n"), (vec![400], Then::Linger));
        assert_eq!(statuses("\x16\x03\x01\x02"), (vec![400], Then::Linger));
    }

    #[test]
    fn long_heads_are_refused_and_cost_linear_work() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_LIMIT_BYTES));
        assert_eq!(statuses(&long), (vec![431], Then::Linger));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(HEAD_LIMIT_FIELDS));
        assert_eq!(statuses(&many), (vec![431], Then::Linger));
        let bytes: Vec<&[u8]> = long.as_bytes().chunks(1).collect();
        assert!(serve(&bytes).0.starts_with("HTTP/1.1 431 "));
        let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(HEAD_LIMIT_BYTES - 100));
        assert_eq!(statuses(&fits), (vec![200], Then::Keep));
    }

    #[test]
    fn a_draining_server_says_goodbye_with_its_answer() {
        let (mut session, mut output) = (Http::default(), Vec::new());
        assert_eq!(session.handle(GET.as_bytes(), &mut output, true).then, Then::Close);
        assert!(String::from_utf8(output).unwrap().contains("\r\nConnection: close\r\n"));
    }

    #[test]
    fn nothing_is_kept_between_requests() {
        let mut session = Http::default();
        let mut output = Vec::new();
        session.handle(&GET.as_bytes()[..9], &mut output, false);
        assert!(!session.is_idle() && session.is_owed());
        session.handle(&GET.as_bytes()[9..], &mut output, false);
        assert!(session.is_idle() && !session.is_owed());
        assert_eq!(session.partial.capacity(), 0);
    }
}
