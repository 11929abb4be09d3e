//! Reading HTTP/1.1 replies (RFC 9112): Content-Length, chunked, or up to the close.
//!
//! The body is compared byte by byte with the first body this connection was given; connections that got the same
//! first body share one copy of it.

use super::errors::Kind;
use std::sync::Arc;

/// So much of a body is kept and compared; of what lies beyond only the length is.
const COMPARED_BYTES: usize = 4 << 20;
/// A longer head is taken for a mistake.
const LONGEST_HEAD: usize = 64 << 10;

/// What came of a piece of a reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The reply goes on.
    More,
    /// The reply is whole: its status, the length of its body, and whether the connection ends with it.
    Whole { status: u16, body: usize, close: bool },
    /// Not what was expected.
    Wrong(Kind, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Length(usize),
    UntilClose,
    ChunkSize {
        size: usize,
        digits: u8,
        rest: bool,
    },
    ChunkData(usize),
    ChunkEnd,
    /// The trailer section; how many bytes of the current line were read.
    Trailer(usize),
}

/// One connection's reader.
pub struct Reader {
    stage: Stage,
    head: Vec<u8>,
    status: u16,
    close: bool,
    body: usize,
    first: Vec<u8>,
    reference: Option<Arc<[u8]>>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            stage: Stage::Head,
            head: Vec::new(),
            status: 0,
            close: false,
            body: 0,
            first: Vec::new(),
            reference: None,
        }
    }
}

impl Reader {
    /// Ready for the next reply, on the same connection or another.
    pub fn restart(&mut self) {
        self.stage = Stage::Head;
        self.head.clear();
        self.first.clear();
        self.body = 0;
    }

    /// Takes bytes as they come. `shared`: the body that the thread's connections got first.
    pub fn feed(&mut self, mut bytes: &[u8], shared: &mut Option<Arc<[u8]>>) -> Progress {
        while !bytes.is_empty() {
            let step = match self.stage {
                Stage::Head => self.head(&mut bytes),
                Stage::Length(left) => self.counted(&mut bytes, left, Stage::Length),
                Stage::ChunkData(left) => self.counted(&mut bytes, left, Stage::ChunkData),
                Stage::UntilClose => {
                    let part = std::mem::take(&mut bytes);
                    self.take_body(part)
                }
                Stage::ChunkSize { .. } | Stage::ChunkEnd | Stage::Trailer(_) => self.chunk_frame(&mut bytes),
            };
            match step {
                Ok(false) => {}
                Ok(true) if bytes.is_empty() => return self.whole(shared),
                Ok(true) => return wrong(format!("{} bytes more than one reply", bytes.len())),
                Err(what) => return wrong(what),
            }
        }
        Progress::More
    }

    /// The peer has closed.
    pub fn end(&mut self, shared: &mut Option<Arc<[u8]>>) -> Progress {
        match self.stage {
            Stage::UntilClose => {
                self.close = true;
                self.whole(shared)
            }
            _ => Progress::Wrong(Kind::ClosedEarly, "the server closed in the middle of a reply".into()),
        }
    }

    fn whole(&mut self, shared: &mut Option<Arc<[u8]>>) -> Progress {
        let good = (200..300).contains(&self.status);
        match &self.reference {
            _ if !good => {}
            Some(reference) if self.body < reference.len() => {
                return wrong(format!(
                    "a body of {} bytes, the first one had {}",
                    self.body,
                    reference.len()
                ));
            }
            Some(_) => {}
            None => {
                let same = shared.as_ref().filter(|shared| shared[..] == self.first[..]).cloned();
                let first = same.unwrap_or_else(|| Arc::from(&self.first[..]));
                shared.get_or_insert_with(|| first.clone());
                self.reference = Some(first);
            }
        }
        Progress::Whole { status: self.status, body: self.body, close: self.close }
    }

    fn take_body(&mut self, part: &[u8]) -> Result<bool, String> {
        let at = self.body;
        self.body += part.len();
        if !(200..300).contains(&self.status) || at >= COMPARED_BYTES {
            return Ok(false);
        }
        let part = &part[..part.len().min(COMPARED_BYTES - at)];
        let Some(reference) = &self.reference else {
            self.first.extend_from_slice(part);
            return Ok(false);
        };
        let Some(expected) = reference.get(at..at + part.len()) else {
            return Err(format!("a body longer than the first one's {} bytes", reference.len()));
        };
        match super::pattern::first_difference(part, expected) {
            None => Ok(false),
            Some(byte) => Err(format!(
                "byte {} of the body is 0x{:02x}, in the first reply it was 0x{:02x}",
                at + byte,
                part[byte],
                expected[byte]
            )),
        }
    }

    fn counted(&mut self, bytes: &mut &[u8], left: usize, stage: fn(usize) -> Stage) -> Result<bool, String> {
        let part = bytes.split_off(..left.min(bytes.len())).unwrap_or_default();
        self.take_body(part)?;
        self.stage = stage(left - part.len());
        match self.stage {
            Stage::Length(0) => Ok(true),
            Stage::ChunkData(0) => {
                self.stage = Stage::ChunkEnd;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    fn head(&mut self, bytes: &mut &[u8]) -> Result<bool, String> {
        if self.head.is_empty() {
            // The ordinary case: the whole head in one read, parsed where it lies.
            let all = *bytes;
            return match self.parse(all)? {
                Some(length) => {
                    *bytes = &all[length..];
                    self.after_head()
                }
                None => {
                    self.head.extend_from_slice(all);
                    *bytes = &[];
                    Ok(false)
                }
            };
        }
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let head = std::mem::take(&mut self.head);
        match self.parse(&head)? {
            Some(length) => {
                *bytes = &bytes[length - before..];
                self.after_head()
            }
            None if head.len() > LONGEST_HEAD => Err(format!("a head longer than {LONGEST_HEAD} bytes")),
            None => {
                self.head = head;
                *bytes = &[];
                Ok(false)
            }
        }
    }

    /// Parses a head. `None`: it is not whole yet. 1xx replies are left out.
    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut reply = httparse::Response::new(&mut fields);
        let length = match reply.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("not an HTTP reply: {error}")),
        };
        self.status = reply.code.unwrap_or(0);
        self.close = reply.version == Some(0);
        let (mut content_length, mut chunked) = (None, false);
        for field in reply.headers.iter() {
            let value = std::str::from_utf8(field.value).unwrap_or("").trim();
            if field.name.eq_ignore_ascii_case("content-length") {
                content_length =
                    Some(value.parse::<usize>().map_err(|_| format!("Content-Length '{value}'"))?);
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.to_ascii_lowercase().ends_with("chunked");
            } else if field.name.eq_ignore_ascii_case("connection") {
                self.close = match value {
                    value if value.eq_ignore_ascii_case("close") => true,
                    value if value.eq_ignore_ascii_case("keep-alive") => false,
                    _ => self.close,
                };
            }
        }
        self.stage = match (chunked, content_length) {
            (true, _) => Stage::ChunkSize { size: 0, digits: 0, rest: false },
            (false, Some(length)) => Stage::Length(length),
            (false, None) if matches!(self.status, 204 | 304) => Stage::Length(0),
            (false, None) => Stage::UntilClose,
        };
        if (100..200).contains(&self.status) {
            self.stage = Stage::Head;
        }
        Ok(Some(length))
    }

    fn after_head(&mut self) -> Result<bool, String> {
        Ok(self.stage == Stage::Length(0))
    }

    /// One byte of what stands between chunks. `true`: the last chunk has ended.
    fn chunk_frame(&mut self, bytes: &mut &[u8]) -> Result<bool, String> {
        let Some(&byte) = bytes.split_off_first() else { return Ok(false) };
        let digit = char::from(byte).to_digit(16).map(|digit| digit as usize);
        self.stage = match (self.stage, byte, digit) {
            (Stage::ChunkSize { size, digits, rest: false }, _, Some(digit)) if digits < 15 => {
                Stage::ChunkSize { size: size * 16 + digit, digits: digits + 1, rest: false }
            }
            (Stage::ChunkSize { size: 0, digits: 1.., .. }, b'\n', _) => Stage::Trailer(0),
            (Stage::ChunkSize { size, digits: 1.., .. }, b'\n', _) => Stage::ChunkData(size),
            (Stage::ChunkSize { size, digits: digits @ 1.., rest }, _, _)
                if rest || b"\r; \t".contains(&byte) =>
            {
                Stage::ChunkSize { size, digits, rest: true }
            }
            (Stage::ChunkEnd, b'\r', _) => Stage::ChunkEnd,
            (Stage::ChunkEnd, b'\n', _) => Stage::ChunkSize { size: 0, digits: 0, rest: false },
            (Stage::Trailer(line), b'\r', _) => Stage::Trailer(line),
            (Stage::Trailer(0), b'\n', _) => return Ok(true),
            (Stage::Trailer(_), b'\n', _) => Stage::Trailer(0),
            (Stage::Trailer(line), _, _) if line < LONGEST_HEAD => Stage::Trailer(line + 1),
            _ => return Err(format!("byte 0x{byte:02x} in the frame of a chunk")),
        };
        Ok(false)
    }
}

fn wrong(what: String) -> Progress {
    Progress::Wrong(Kind::WrongBytes, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nA: b\r\n\r\n";

    /// Feeds a reply in pieces of `size` bytes.
    fn read(reader: &mut Reader, reply: &[u8], size: usize) -> Progress {
        let mut shared = None;
        reader.restart();
        let mut last = Progress::More;
        for piece in reply.chunks(size) {
            assert_eq!(last, Progress::More);
            last = reader.feed(piece, &mut shared);
        }
        last
    }

    #[test]
    fn every_framing_reads_whole_however_it_is_cut() {
        for reply in [PLAIN, CHUNKED] {
            for size in 1..=reply.len() {
                let mut reader = Reader::default();
                for _ in 0..2 {
                    let whole = Progress::Whole { status: 200, body: 5, close: false };
                    assert_eq!(read(&mut reader, reply, size), whole, "{size}");
                }
            }
        }
        let mut reader = Reader::default();
        assert_eq!(read(&mut reader, b"HTTP/1.0 200 OK\r\n\r\nhello", 7), Progress::More);
        assert_eq!(reader.end(&mut None), Progress::Whole { status: 200, body: 5, close: true });
        let reply = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        let whole = Progress::Whole { status: 204, body: 0, close: true };
        assert_eq!(read(&mut Reader::default(), reply, 200), whole);
    }

    #[test]
    fn bodies_are_compared_with_the_first_one() {
        let mut reader = Reader::default();
        read(&mut reader, PLAIN, 100);
        for other in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellO"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell",
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
            b"rubbish\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let got = read(&mut reader, other, 1000);
            assert!(matches!(got, Progress::Wrong(Kind::WrongBytes, _)), "{got:?}");
        }
        assert_eq!(read(&mut reader, CHUNKED, 100), Progress::Whole { status: 200, body: 5, close: false });
        read(&mut reader, &PLAIN[..20], 100);
        assert!(matches!(reader.end(&mut None), Progress::Wrong(Kind::ClosedEarly, _)));
    }

    #[test]
    fn connections_share_one_copy_of_the_same_body() {
        let mut shared = None;
        let (mut one, mut two) = (Reader::default(), Reader::default());
        one.feed(PLAIN, &mut shared);
        two.feed(PLAIN, &mut shared);
        assert!(Arc::ptr_eq(one.reference.as_ref().unwrap(), two.reference.as_ref().unwrap()));
    }
}
