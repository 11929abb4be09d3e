//! Parts of files in a buffer have no bytes to look at: whoever needs bytes has them brought into memory here.

use duolu_core::Errno;
use duolu_core::buffer::{Buffer, BufferError, Piece};

/// Whether one of the first `within` bytes is a file's.
pub(super) fn has_file(buffer: &Buffer, within: usize) -> bool {
    let mut before = 0;
    let first = buffer.pieces(0).take_while(|piece| {
        let begins = before;
        before += match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(_, _, len) => *len,
        };
        begins < within
    });
    first.into_iter().any(|piece| matches!(piece, Piece::File(..)))
}

/// Moves the first `limit` bytes, or all, to the end of `into`; nothing of it is a file there. Says how many.
pub(super) fn move_bytes(from: &mut Buffer, into: &mut Buffer, limit: usize) -> Result<usize, BufferError> {
    if !has_file(from, limit) {
        return into.take_from(from, limit);
    }
    let mut part = Buffer::new();
    let bytes = part.take_from(from, limit)?;
    match part.load() {
        Ok(()) => into.append_buffer(&mut part)?,
        Err(error) => {
            from.prepend_buffer(&mut part)?;
            return Err(error);
        }
    }
    Ok(bytes)
}

/// What a stream is told of it.
pub(super) fn errno_of(error: BufferError) -> Errno {
    const EINVAL: Errno = Errno(22);
    const ENOMEM: Errno = Errno(12);
    match error {
        BufferError::File(errno) => errno,
        BufferError::NoMemory => ENOMEM,
        _ => EINVAL,
    }
}
