//! Layers for tests: what they make of the bytes is easy to see, and each is awkward in its own way.

use duolu::buffer::{Buffer, Pool};
use duolu::stream::{Layer, LayerError};

/// Each byte as two digits: it grows on the wire, and an odd digit waits for its other half.
pub struct Hex;

impl Layer for Hex {
    fn decode(
        &mut self,
        wire: &mut Buffer,
        plain: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        ended: bool,
    ) -> Result<(), LayerError> {
        if ended && wire.len() % 2 == 1 && limit > wire.len() / 2 {
            self.decode(wire, plain, &mut Pool::new(0, 0), limit, false)?;
            return Err(LayerError::protocol("half a byte at the end"));
        }
        let pairs = wire.remove_vec((wire.len() / 2).min(limit) * 2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let bytes = pairs.chunks_exact(2).map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8));
        let mut bytes: Vec<Option<u8>> = bytes.collect();
        let good = bytes.iter().take_while(|byte| byte.is_some()).count();
        let bad = good < bytes.len();
        bytes.truncate(good);
        plain.append_vec(bytes.into_iter().flatten().collect())?;
        if bad { Err(LayerError::protocol("not a hexadecimal digit")) } else { Ok(()) }
    }

    fn encode(
        &mut self,
        plain: &mut Buffer,
        wire: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        _: bool,
    ) -> Result<(), LayerError> {
        let bytes = plain.remove_vec(plain.len().min(limit))?;
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.map(|digit| char::from_digit(digit.into(), 16).expect("a digit") as u8);
        wire.append_vec(digits.collect())?;
        Ok(())
    }
}

/// Runs of a byte as (count, byte): it shrinks or grows on the wire, without bound in reading. What it has read and not
/// given is inside; what it has written it keeps back until the run ends, `flush`, or the end.
#[derive(Default)]
pub struct Runs {
    reading: (usize, u8),
    writing: (u8, u8),
    flush: bool,
}

impl Runs {
    fn end_run(&mut self, wire: &mut Buffer) -> Result<(), LayerError> {
        let (count, byte) = std::mem::take(&mut self.writing);
        self.flush = false;
        if count > 0 {
            wire.append(&[count, byte])?;
        }
        Ok(())
    }
}

impl Layer for Runs {
    fn decode(
        &mut self,
        wire: &mut Buffer,
        plain: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        ended: bool,
    ) -> Result<(), LayerError> {
        let mut left = limit;
        loop {
            let given = self.reading.0.min(left);
            plain.append_vec(vec![self.reading.1; given])?;
            (self.reading.0, left) = (self.reading.0 - given, left - given);
            if left == 0 || wire.len() < 2 {
                let cut = ended && left > 0 && wire.len() == 1;
                return if cut { Err(LayerError::protocol("a run was cut")) } else { Ok(()) };
            }
            let mut run = [0; 2];
            wire.remove(&mut run)?;
            self.reading = (usize::from(run[0]), run[1]);
        }
    }

    fn encode(
        &mut self,
        plain: &mut Buffer,
        wire: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        finish: bool,
    ) -> Result<(), LayerError> {
        for byte in plain.remove_vec(plain.len().min(limit))? {
            if self.writing != (0, 0) && self.writing.1 != byte || self.writing.0 == u8::MAX {
                self.end_run(wire)?;
            }
            self.writing = (self.writing.0 + 1, byte);
        }
        if self.flush || finish && plain.is_empty() {
            self.end_run(wire)?;
        }
        Ok(())
    }

    fn holds_plain(&self) -> bool {
        self.reading.0 > 0
    }
    fn has_to_send(&self) -> bool {
        self.flush
    }
    fn flush(&mut self) {
        self.flush = self.writing.0 > 0;
    }
}

/// A greeting each way before anything else, and behind the last byte the count and the sum of all: what was cut or
/// changed is noticed. Each chunk has its length before it; the trailer is a chunk of none.
pub struct Sealed {
    greeted: bool,
    greeting_sent: bool,
    server: bool,
    /// Of the chunk being read.
    left: usize,
    received: Sum,
    sent: Sum,
    peer_ended: bool,
    trailer_sent: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
struct Sum {
    count: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        self.sum = bytes.iter().fold(self.sum, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte));
    }
    fn bytes(self) -> [u8; 16] {
        let mut all = [0; 16];
        all[..8].copy_from_slice(&self.count.to_be_bytes());
        all[8..].copy_from_slice(&self.sum.to_be_bytes());
        all
    }
}

const GREETING: &[u8] = b"sealed 1\n";

impl Sealed {
    /// It greets first.
    pub fn client() -> Self {
        Sealed {
            greeted: false,
            greeting_sent: false,
            server: false,
            left: 0,
            received: Sum::default(),
            sent: Sum::default(),
            peer_ended: false,
            trailer_sent: false,
        }
    }
    /// It greets back.
    pub fn server() -> Self {
        Sealed { server: true, ..Sealed::client() }
    }
    fn take(wire: &mut Buffer, bytes: usize) -> Result<Option<Vec<u8>>, LayerError> {
        if wire.len() < bytes { Ok(None) } else { Ok(Some(wire.remove_vec(bytes)?)) }
    }
}

impl Layer for Sealed {
    fn decode(
        &mut self,
        wire: &mut Buffer,
        plain: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        ended: bool,
    ) -> Result<(), LayerError> {
        let mut room = limit;
        if !self.greeted {
            match Self::take(wire, GREETING.len())? {
                Some(greeting) if greeting == GREETING => self.greeted = true,
                Some(_) => return Err(LayerError::protocol("that is no greeting")),
                None if ended => return Err(LayerError::protocol("no greeting")),
                None => return Ok(()),
            }
        }
        while !self.peer_ended {
            if self.left == 0 {
                let Some(length) = wire.copy_out(0, &mut [0; 2]).ok().filter(|got| *got == 2) else { break };
                let mut head = [0; 2];
                wire.copy_out(0, &mut head[..length])?;
                self.left = usize::from(u16::from_be_bytes(head));
                if self.left == 0 {
                    let Some(trailer) = Self::take(wire, 18)? else { break };
                    if trailer[2..] != self.received.bytes() {
                        return Err(LayerError::protocol("the sum is wrong"));
                    }
                    self.peer_ended = true;
                    return Ok(());
                }
                wire.drain(2)?;
            }
            let now = self.left.min(room).min(wire.len());
            if now == 0 {
                break;
            }
            let bytes = wire.remove_vec(now)?;
            self.received.add(&bytes);
            plain.append_vec(bytes)?;
            (self.left, room) = (self.left - now, room - now);
        }
        let all_given = wire.is_empty() || room > 0;
        if ended && !self.peer_ended && all_given {
            return Err(LayerError::protocol("cut before the seal"));
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
        if self.has_to_send() {
            wire.append(GREETING)?;
            self.greeting_sent = true;
        }
        if !self.is_established() {
            return Ok(());
        }
        let mut left = limit.min(plain.len());
        while left > 0 {
            let bytes = plain.remove_vec(left.min(1000))?;
            left -= bytes.len();
            self.sent.add(&bytes);
            wire.append(&(bytes.len() as u16).to_be_bytes())?;
            wire.append_vec(bytes)?;
        }
        if finish && plain.is_empty() && !self.trailer_sent {
            self.trailer_sent = true;
            wire.append(&[0, 0])?;
            wire.append(&self.sent.bytes())?;
        }
        Ok(())
    }

    fn is_established(&self) -> bool {
        self.greeted && self.greeting_sent
    }
    fn has_to_send(&self) -> bool {
        !self.greeting_sent && (!self.server || self.greeted)
    }
    fn has_ended(&self) -> bool {
        self.peer_ended
    }
}

/// What the scenario's end of a connection makes of its bytes: `encode` all of them, with the end behind.
pub fn encoded(layer: &mut impl Layer, bytes: &[u8], finish: bool) -> Vec<u8> {
    let (mut plain, mut wire) = (Buffer::new(), Buffer::new());
    plain.append(bytes).expect("room");
    layer.encode(&mut plain, &mut wire, &mut Pool::new(16, 0), usize::MAX, finish).expect("no fault");
    assert!(plain.is_empty(), "all of it");
    wire.remove_vec(wire.len()).expect("all of it")
}

/// And of what it got.
pub fn decoded(layer: &mut impl Layer, bytes: &[u8], ended: bool) -> Result<Vec<u8>, LayerError> {
    let (mut plain, mut wire) = (Buffer::new(), Buffer::new());
    wire.append(bytes).expect("room");
    layer.decode(&mut wire, &mut plain, &mut Pool::new(16, 0), usize::MAX, ended)?;
    assert!(wire.is_empty(), "all of it");
    Ok(plain.remove_vec(plain.len()).expect("all of it"))
}
