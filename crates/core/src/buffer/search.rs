//! Looking for bytes and for ends of lines. What is looked for may lie across chunks.

use super::{Buffer, BufferError, Piece};
use alloc::vec::Vec;
use memchr::{memchr, memchr2};

/// What ends a line (libevent's evbuffer_eol_style).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eol {
    /// Any sequence of CR and LF, as one end. "a\r\n\nb" has no empty line.
    Any,
    /// An LF, and a CR before it if there is one: what protocols should accept.
    CrLf,
    /// A CR and an LF: what protocols should send (RFC 9112, 2.2).
    CrLfStrict,
    /// An LF.
    Lf,
    /// A zero byte.
    Nul,
}

/// Where a line ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// The position of its first byte that is not the line's any more.
    pub end: usize,
    /// How many bytes mark the end.
    pub eol: usize,
}

impl Buffer {
    /// The position of the first occurrence of `needle` that begins at `from` or later and ends before `to`. An empty
    /// needle is found at `from`. O(bytes), and the length of the needle more for each place that looks like it.
    pub fn find(&self, needle: &[u8], from: usize, to: usize) -> Result<Option<usize>, BufferError> {
        let to = to.min(self.len);
        let Some((first, rest)) = needle.split_first() else { return Ok((from <= to).then_some(from)) };
        let mut at = from;
        while let Some(found) = self.find_with(at, to, |bytes| memchr(*first, bytes))? {
            if found + needle.len() > to {
                return Ok(None);
            }
            if self.matches(found + 1, rest)? {
                return Ok(Some(found));
            }
            at = found + 1;
        }
        Ok(None)
    }

    /// Where the line that begins at `from` ends; `None` if its end has not come yet. O(bytes of the line).
    pub fn find_line(&self, from: usize, style: Eol) -> Result<Option<Line>, BufferError> {
        let to = self.len;
        match style {
            Eol::Nul => Ok(self.find_with(from, to, |b| memchr(0, b))?.map(|end| Line { end, eol: 1 })),
            Eol::Lf => Ok(self.find_with(from, to, |b| memchr(b'\n', b))?.map(|end| Line { end, eol: 1 })),
            Eol::CrLfStrict => Ok(self.find(b"\r\n", from, to)?.map(|end| Line { end, eol: 2 })),
            Eol::CrLf => {
                let Some(lf) = self.find_with(from, to, |b| memchr(b'\n', b))? else { return Ok(None) };
                let with_cr = lf > from && self.byte_at(lf - 1)? == Some(b'\r');
                Ok(Some(if with_cr { Line { end: lf - 1, eol: 2 } } else { Line { end: lf, eol: 1 } }))
            }
            Eol::Any => {
                let Some(end) = self.find_with(from, to, |b| memchr2(b'\r', b'\n', b))? else {
                    return Ok(None);
                };
                let other = |bytes: &[u8]| bytes.iter().position(|b| !matches!(b, b'\r' | b'\n'));
                let after = self.find_with(end, to, other)?.unwrap_or(to);
                Ok(Some(Line { end, eol: after - end }))
            }
        }
    }

    /// Removes the first line and its end, and gives the line without it; `None` if its end has not come yet.
    pub fn read_line(&mut self, style: Eol) -> Result<Option<Vec<u8>>, BufferError> {
        let Some(line) = self.find_line(0, style)? else { return Ok(None) };
        let bytes = self.remove_vec(line.end)?;
        self.drain(line.eol)?;
        Ok(Some(bytes))
    }

    /// The first position in `from..to` that `look` finds in a piece.
    fn find_with(
        &self,
        from: usize,
        to: usize,
        look: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<usize>, BufferError> {
        // Mostly it lies in the first chunk.
        let front = self.front();
        let mut at = from;
        if let Some(bytes) = front.get(from..to.min(front.len())) {
            if let Some(found) = look(bytes) {
                return Ok(Some(from + found));
            }
            at += bytes.len();
        }
        self.find_beyond(at, to, look)
    }

    #[inline(never)]
    fn find_beyond(
        &self,
        from: usize,
        to: usize,
        look: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<usize>, BufferError> {
        let mut at = from;
        for piece in self.pieces(from) {
            if at >= to {
                break;
            }
            let Piece::Bytes(bytes) = piece else { return Err(BufferError::NotInMemory) };
            let bytes = &bytes[..bytes.len().min(to - at)];
            if let Some(found) = look(bytes) {
                return Ok(Some(at + found));
            }
            at += bytes.len();
        }
        Ok(None)
    }

    #[inline]
    fn byte_at(&self, at: usize) -> Result<Option<u8>, BufferError> {
        // Mostly it lies in the first chunk.
        if let Some(byte) = self.front().get(at) {
            return Ok(Some(*byte));
        }
        match self.pieces(at).next() {
            Some(Piece::Bytes(bytes)) => Ok(bytes.first().copied()),
            Some(Piece::File(..)) => Err(BufferError::NotInMemory),
            None => Ok(None),
        }
    }

    /// Whether these bytes are at this position.
    fn matches(&self, at: usize, bytes: &[u8]) -> Result<bool, BufferError> {
        let mut left = bytes;
        for piece in self.pieces(at) {
            if left.is_empty() {
                break;
            }
            let Piece::Bytes(here) = piece else { return Err(BufferError::NotInMemory) };
            let (part, rest) = left.split_at(left.len().min(here.len()));
            if !here.starts_with(part) {
                return Ok(false);
            }
            left = rest;
        }
        Ok(left.is_empty())
    }
}
