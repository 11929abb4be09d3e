//! A layer made of two closures, for those who only want to change bytes (libevent's bufferevent_filter_new).

use super::{Layer, LayerError};
use crate::buffer::{Buffer, Pool};

/// What a filter's closure is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// More may come; what cannot be used yet stays where it is.
    Normal,
    /// What was kept back is to go out now, though more may come: the program has asked for it.
    Flush,
    /// This is all there is. What stays where it is will never be used: an error, if that should not be.
    Finished,
}

/// A filter: `input` makes the program's bytes of the wire's, `output` the wire's of the program's.
///
/// Each gets where to take from, where to append to, and what is asked for ([`Flow`]). It takes what it can use and leaves
/// the rest, which comes again with more behind it; a closure that took and appended nothing has "needed more" and is asked
/// again when there is some. However much one call appends, the program is given no more than its input's watermark
/// allows; what is left waits in the filter. `Finished` is said once each way, when everything else was taken.
///
/// ```
/// use duolu_core::buffer::Buffer;
/// use duolu_core::stream::{Filter, Flow, LayerError};
///
/// /// The bytes' case is changed, both ways.
/// fn swap(from: &mut Buffer, to: &mut Buffer, _: Flow) -> Result<(), LayerError> {
///     let mut bytes = from.remove_vec(from.len())?;
///     bytes.iter_mut().for_each(|byte| *byte ^= if byte.is_ascii_alphabetic() { 32 } else { 0 });
///     Ok(to.append_vec(bytes)?)
/// }
/// let filter = Filter::new(swap, swap);
/// # drop(filter);
/// ```
pub struct Filter<I, O> {
    input: I,
    output: O,
    /// Made, and more than there was room for.
    kept: Buffer,
    input_finished: bool,
    output_finished: bool,
    flush: bool,
}

impl<I, O> Filter<I, O>
where
    I: FnMut(&mut Buffer, &mut Buffer, Flow) -> Result<(), LayerError>,
    O: FnMut(&mut Buffer, &mut Buffer, Flow) -> Result<(), LayerError>,
{
    /// A filter of these two.
    pub fn new(input: I, output: O) -> Self {
        Filter {
            input,
            output,
            kept: Buffer::new(),
            input_finished: false,
            output_finished: false,
            flush: false,
        }
    }
}

impl<I, O> Layer for Filter<I, O>
where
    I: FnMut(&mut Buffer, &mut Buffer, Flow) -> Result<(), LayerError>,
    O: FnMut(&mut Buffer, &mut Buffer, Flow) -> Result<(), LayerError>,
{
    fn decode(
        &mut self,
        wire: &mut Buffer,
        plain: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        ended: bool,
    ) -> Result<(), LayerError> {
        let mut given = 0;
        // As long as there is room: or else what is kept would grow without bound.
        while given < limit || limit == 0 {
            if self.kept.is_empty() && limit > 0 {
                let before = wire.len();
                if !wire.is_empty() {
                    (self.input)(wire, &mut self.kept, Flow::Normal)?;
                }
                let moved = before != wire.len() || !self.kept.is_empty();
                if !moved && ended && !self.input_finished {
                    self.input_finished = true;
                    (self.input)(wire, &mut self.kept, Flow::Finished)?;
                } else if !moved {
                    break;
                }
            }
            given += plain.take_from(&mut self.kept, limit - given)?;
            if limit == 0 {
                break;
            }
        }
        Ok(())
    }

    fn encode(
        &mut self,
        plain: &mut Buffer,
        wire: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        finish: bool,
    ) -> Result<(), LayerError> {
        let last = finish && plain.len() <= limit;
        let flow = match () {
            _ if last && !self.output_finished => Flow::Finished,
            _ if self.flush => Flow::Flush,
            _ => Flow::Normal,
        };
        if flow == Flow::Normal && (plain.is_empty() || limit == 0) {
            return Ok(());
        }
        self.output_finished |= last;
        self.flush = false;
        if plain.len() <= limit {
            return (self.output)(plain, wire, flow);
        }
        let mut part = Buffer::new();
        part.take_from(plain, limit)?;
        let outcome = (self.output)(&mut part, wire, flow);
        plain.prepend_buffer(&mut part)?;
        outcome
    }

    fn holds_plain(&self) -> bool {
        !self.kept.is_empty()
    }

    fn has_to_send(&self) -> bool {
        self.flush
    }

    fn flush(&mut self) {
        self.flush = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn all(buffer: &mut Buffer) -> Vec<u8> {
        buffer.remove_vec(buffer.len()).unwrap()
    }

    fn pool() -> Pool {
        Pool::new(16, 0)
    }

    /// Two bytes of the wire are one; one of the program's is a thousand.
    fn filter() -> impl Layer {
        Filter::new(
            |from: &mut Buffer, to: &mut Buffer, flow| {
                while from.len() >= 2 {
                    let pair = from.remove_vec(2)?;
                    to.append(&[pair[0]; 1000])?;
                }
                if flow == Flow::Finished {
                    to.append(b"end")?;
                    if !from.is_empty() {
                        return Err(LayerError::protocol("half a pair"));
                    }
                }
                Ok(())
            },
            |from: &mut Buffer, to: &mut Buffer, flow| {
                while from.len() >= 2 || flow != Flow::Normal && !from.is_empty() {
                    let some = from.remove_vec(from.len().min(2))?;
                    to.append(&some)?;
                    to.append(b",")?;
                }
                if flow == Flow::Finished {
                    to.append(b".")?;
                }
                Ok(())
            },
        )
    }

    #[test]
    fn what_it_makes_is_given_as_there_is_room() {
        let (mut filter, mut wire, mut plain) = (filter(), Buffer::new(), Buffer::new());
        wire.append(b"a-b-c").unwrap();
        filter.decode(&mut wire, &mut plain, &mut pool(), 0, false).unwrap();
        assert!(plain.is_empty() && !filter.holds_plain());
        let mut got = Vec::new();
        for _ in 0..3 {
            filter.decode(&mut wire, &mut plain, &mut pool(), 700, false).unwrap();
            assert!(plain.len() <= 700);
            got.extend(all(&mut plain));
        }
        assert_eq!((got.len(), wire.len(), filter.holds_plain()), (2000, 1, false));
        let cut = filter.decode(&mut wire, &mut plain, &mut pool(), 10, true);
        assert_eq!(cut, Err(LayerError::protocol("half a pair")));
    }

    #[test]
    fn the_end_is_said_once_each_way() {
        let (mut filter, mut wire, mut plain) = (filter(), Buffer::new(), Buffer::new());
        for _ in 0..3 {
            filter.decode(&mut wire, &mut plain, &mut pool(), 2, true).unwrap();
        }
        assert_eq!((all(&mut plain), filter.holds_plain()), (b"end".to_vec(), false));
        plain.append(b"12345").unwrap();
        filter.encode(&mut plain, &mut wire, &mut pool(), 4, true).unwrap();
        assert_eq!((all(&mut wire), plain.len()), (b"12,34,".to_vec(), 1), "more than it may take is there");
        for _ in 0..3 {
            filter.encode(&mut plain, &mut wire, &mut pool(), 4, true).unwrap();
        }
        assert_eq!(all(&mut wire), b"5,.");
    }

    #[test]
    fn a_flush_sends_what_was_left_for_later() {
        let (mut filter, mut wire, mut plain) = (filter(), Buffer::new(), Buffer::new());
        plain.append(b"123").unwrap();
        filter.encode(&mut plain, &mut wire, &mut pool(), 100, false).unwrap();
        assert_eq!((all(&mut wire), plain.len(), filter.has_to_send()), (b"12,".to_vec(), 1, false));
        filter.flush();
        assert!(filter.has_to_send());
        filter.encode(&mut plain, &mut wire, &mut pool(), 100, false).unwrap();
        assert_eq!((all(&mut wire), plain.len(), filter.has_to_send()), (b"3,".to_vec(), 0, false));
    }
}
