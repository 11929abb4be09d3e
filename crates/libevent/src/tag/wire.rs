//! Tags and numbers as bytes.

use super::evbuffer_add;
use crate::buffer::evbuffer;

/// A few encoded bytes: at most a tag (5) and a number of 64 bits (9).
#[derive(Default)]
pub struct Encoded {
    pub bytes: [u8; 16],
    pub length: usize,
}

impl Encoded {
    fn push(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(self.length) {
            *to = byte;
            self.length += 1;
        }
    }

    pub fn tag(&mut self, mut tag: u32) -> &mut Self {
        while tag > 0x7f {
            self.push(tag as u8 | 0x80);
            tag >>= 7;
        }
        self.push(tag as u8);
        self
    }

    pub fn number(&mut self, number: u64) -> &mut Self {
        let halves = (64 - number.leading_zeros()).div_ceil(4).max(1);
        // The count's byte has the least significant half; then pairs, the lesser one above.
        self.push(((halves as u8 - 1) << 4) | (number & 0xf) as u8);
        let mut rest = number >> 4;
        for _ in 0..halves / 2 {
            let (lesser, greater) = (rest & 0xf, (rest >> 4) & 0xf);
            self.push((lesser << 4 | greater) as u8);
            rest >>= 8;
        }
        self
    }

    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// # Safety
    /// `buffer` is an evbuffer.
    pub unsafe fn add_to(&self, buffer: *mut evbuffer) -> bool {
        // SAFETY: the caller's; our own bytes.
        unsafe { evbuffer_add(buffer, self.bytes.as_ptr().cast(), self.length) == 0 }
    }
}

/// A tag at the front, and how many bytes it has. None: it does not end, or is more than 32 bits.
pub fn tag_in(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut tag = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        tag |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(tag).ok().map(|tag| (tag, index + 1));
        }
    }
    None
}

/// A number at the front, of at most `most` half bytes, and how many bytes it has.
pub fn number_in(bytes: &[u8], most: usize) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let halves = usize::from(first >> 4) + 1;
    let length = halves / 2 + 1;
    let bytes = bytes.get(..length).filter(|_| halves <= most)?;
    let half = |index: usize| {
        let byte = bytes.get(index / 2).copied().unwrap_or(0);
        u64::from(if index % 2 == 1 { byte & 0xf } else { byte >> 4 })
    };
    Some(((1..=halves).rev().fold(0, |number, index| number << 4 | half(index)), length))
}

/// Half bytes of the two kinds of numbers.
pub const INT: usize = 8;
pub const INT64: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_tags_come_back() {
        let mut numbers: Vec<u64> = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1]).collect();
        numbers.push(u64::MAX);
        for number in numbers {
            let mut encoded = Encoded::default();
            encoded.number(number);
            assert_eq!(number_in(encoded.as_slice(), INT64), Some((number, encoded.length)), "{number:x}");
            assert_eq!(number_in(encoded.as_slice(), INT).is_some(), number <= u32::MAX.into());
            assert_eq!(number_in(&encoded.as_slice()[..encoded.length - 1], INT64), None);
            let tag = number as u32;
            let mut encoded = Encoded::default();
            encoded.tag(tag);
            assert_eq!(tag_in(encoded.as_slice()), Some((tag, encoded.length)));
            assert_eq!(tag_in(&encoded.as_slice()[..encoded.length - 1]), None);
        }
        assert_eq!(Encoded::default().number(0xdead_beef).as_slice(), [0x7f, 0xee, 0xbd, 0xae, 0xd0]);
        assert_eq!(Encoded::default().tag(0x166).as_slice(), [0xe6, 0x02]);
        assert_eq!(tag_in(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(tag_in(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(tag_in(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), None);
    }
}
