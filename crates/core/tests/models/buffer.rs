//! Random operations on a few buffers, each beside a plain vector that must stay equal.

use crate::random::Random;
use duolu_core::Errno;
use duolu_core::buffer::{Buffer, BufferError, Change, Eol, FileRegion, Line, Piece, Pool};
use std::sync::Arc;

impl Random<'_> {
    /// Mostly short, now and then longer than a chunk.
    fn length(&mut self) -> usize {
        let most = [3, 20, 200, 700, 3000, 40_000][[0, 0, 1, 1, 1, 2, 2, 3, 4, 5][self.below(10)]];
        self.below(most + 1)
    }
    /// Few different bytes, so that there is something to find.
    fn bytes(&mut self) -> Vec<u8> {
        (0..self.length()).map(|_| b"ab\r\n\0c"[self.below(6)]).collect()
    }
}

struct MemoryFile(Vec<u8>);

impl FileRegion for MemoryFile {
    fn fd(&self) -> i32 {
        -1
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let rest = &self.0[offset as usize..];
        let got = rest.len().min(into.len()).min(1000);
        into[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }
}

#[derive(Default)]
struct Pair {
    buffer: Buffer,
    model: Vec<u8>,
    before: usize,
    added: usize,
    removed: usize,
}

impl Pair {
    fn push(&mut self, bytes: &[u8]) {
        self.model.extend_from_slice(bytes);
        self.added += bytes.len();
    }

    fn push_front(&mut self, bytes: Vec<u8>) {
        self.added += bytes.len();
        self.model.splice(..0, bytes);
    }

    fn pop(&mut self, bytes: usize) -> Vec<u8> {
        self.removed += bytes;
        self.model.drain(..bytes).collect()
    }

    fn equal(&mut self) {
        self.buffer.verify();
        assert_eq!(self.buffer.len(), self.model.len());
        let nothing = Change { before: self.before, ..Change::default() };
        let expected = Change { before: self.before, added: self.added, removed: self.removed };
        assert_eq!(self.buffer.take_change().unwrap_or(nothing), expected);
        (self.before, self.added, self.removed) = (self.model.len(), 0, 0);
    }

    fn equal_in_full(&self) {
        let mut at = 0;
        for piece in self.buffer.pieces(0) {
            let bytes = match piece {
                Piece::Bytes(bytes) => bytes.to_vec(),
                Piece::File(file, offset, len) => {
                    let (mut into, mut done) = (vec![0; len], 0);
                    while done < len {
                        done += file.read_at(offset + done as u64, &mut into[done..]).unwrap();
                    }
                    into
                }
            };
            assert!(!bytes.is_empty(), "an empty piece");
            assert_eq!(bytes, &self.model[at..at + bytes.len()]);
            at += bytes.len();
        }
        assert_eq!(at, self.model.len());
    }

    fn has_file(&self) -> bool {
        self.buffer.pieces(0).any(|piece| matches!(piece, Piece::File(..)))
    }
}

fn find(model: &[u8], needle: &[u8], from: usize, to: usize) -> Option<usize> {
    let to = to.min(model.len());
    (from..=to).find(|at| at + needle.len() <= to && model[*at..].starts_with(needle))
}

fn find_line(model: &[u8], from: usize, style: Eol) -> Option<Line> {
    let rest = model.get(from..)?;
    let line = |end: usize, eol| Some(Line { end: from + end, eol });
    match style {
        Eol::Nul => line(rest.iter().position(|b| *b == 0)?, 1),
        Eol::Lf => line(rest.iter().position(|b| *b == b'\n')?, 1),
        Eol::CrLfStrict => line(rest.windows(2).position(|w| w == b"\r\n")?, 2),
        Eol::CrLf => {
            let lf = rest.iter().position(|b| *b == b'\n')?;
            if lf > 0 && rest[lf - 1] == b'\r' { line(lf - 1, 2) } else { line(lf, 1) }
        }
        Eol::Any => {
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'))?;
            line(end, rest[end..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count())
        }
    }
}

const STYLES: [Eol; 5] = [Eol::Any, Eol::CrLf, Eol::CrLfStrict, Eol::Lf, Eol::Nul];

fn step(random: &mut Random<'_>, pairs: &mut [Pair; 3], pool: &mut Pool) {
    let (at, apart) = (random.below(3), 1 + random.below(2));
    let [one, two] = pairs.get_disjoint_mut([at, (at + apart) % 3]).expect("two different ones");
    // What has grown beyond a few chunks shrinks.
    let operation = if one.model.len() > 60_000 { 20 } else { random.below(25) };
    match operation {
        0..=7 => grow(random, one, pool, operation),
        8..=10 => reserve(random, one, operation),
        11..=15 => transfer(random, one, two, operation),
        16 | 17 => {
            let bytes = random.below(one.model.len() + 1);
            assert_eq!(one.buffer.pull_up(bytes).unwrap(), &one.model[..bytes]);
            if random.below(8) == 0 {
                one.buffer.load().unwrap();
                assert!(!one.has_file());
            }
        }
        18 => look(random, one),
        19 => read_line(random, one),
        22 | 23 => room(random, one),
        24 => {
            let wanted = random.length();
            one.buffer.expand(wanted).unwrap();
            assert!(one.buffer.room().any(|room| room.len() >= wanted.max(1)));
        }
        _ => shrink(random, one, pool),
    }
    one.equal();
    two.equal();
}

fn grow(random: &mut Random<'_>, one: &mut Pair, pool: &mut Pool, operation: usize) {
    let bytes = random.bytes();
    match operation {
        0 | 1 => one.buffer.append(&bytes).unwrap(),
        2 => {
            let mut text = bytes.clone();
            text.push(0);
            one.buffer.append_text(&text).unwrap();
        }
        3 | 4 => {
            one.buffer.prepend(&bytes).unwrap();
            return one.push_front(bytes);
        }
        5 => one.buffer.append_region(Arc::new(bytes.clone())).unwrap(),
        6 => {
            let from = random.below(bytes.len() + 1);
            let len = random.below(bytes.len() - from + 1);
            one.buffer.append_file(Arc::new(MemoryFile(bytes.clone())), from as u64, len).unwrap();
            return one.push(&bytes[from..from + len]);
        }
        _ => {
            let mut block = pool.take();
            let filled = bytes.len().min(block.bytes().len());
            block.bytes()[..filled].copy_from_slice(&bytes[..filled]);
            if random.below(2) == 0 {
                one.buffer.append_block(block, filled, pool).unwrap();
            } else {
                one.buffer.append_whole_block(block, filled, pool).unwrap();
            }
            if random.below(2) == 0 {
                one.buffer.give_back(pool);
            }
            return one.push(&bytes[..filled]);
        }
    }
    one.push(&bytes);
}

fn reserve(random: &mut Random<'_>, one: &mut Pair, operation: usize) {
    let (wanted, mut bytes) = (random.length(), random.bytes());
    let room = if operation == 10 {
        let spare = one.buffer.spare_in_one(wanted).unwrap();
        assert!(!spare.is_empty());
        bytes.truncate(spare.len());
        spare[..bytes.len()].copy_from_slice(&bytes);
        spare.len()
    } else {
        let [first, second] = one.buffer.spare(wanted).unwrap();
        bytes.truncate(first.len() + second.len());
        let (here, there) = bytes.split_at(bytes.len().min(first.len()));
        first[..here.len()].copy_from_slice(here);
        second[..there.len()].copy_from_slice(there);
        first.len() + second.len()
    };
    assert!(room >= wanted);
    assert_eq!(one.buffer.commit(room + 1), Err(BufferError::TooShort));
    if random.below(4) > 0 {
        one.buffer.commit(bytes.len()).unwrap();
        one.push(&bytes);
    }
}

/// Pieces that others write into: some made, some filled, in whatever order.
fn room(random: &mut Random<'_>, one: &mut Pair) {
    let (wanted, most) = (random.length(), 2 + random.below(3));
    if random.below(3) > 0 {
        one.buffer.extend(wanted, most).unwrap();
        assert!(one.buffer.room().take(most).map(|room| room.len()).sum::<usize>() >= wanted);
    }
    let pieces = one.buffer.room().count();
    let first = random.below(pieces + 1);
    let mut filled = Vec::new();
    for room in one.buffer.room().skip(first) {
        let mut bytes = random.bytes();
        bytes.truncate(room.len());
        room[..bytes.len()].copy_from_slice(&bytes);
        filled.push(bytes);
    }
    filled.truncate(random.below(pieces + 1));
    let lengths: Vec<usize> = filled.iter().map(Vec::len).collect();
    one.buffer.commit_pieces(first, &lengths).unwrap();
    assert_eq!(one.buffer.commit_pieces(0, &[usize::MAX]), Err(BufferError::TooShort));
    filled.iter().for_each(|bytes| one.push(bytes));
}

fn transfer(random: &mut Random<'_>, one: &mut Pair, two: &mut Pair, operation: usize) {
    match operation {
        11 => {
            one.buffer.append_buffer(&mut two.buffer).unwrap();
            one.push(&two.pop(two.model.len()));
        }
        12 => {
            one.buffer.prepend_buffer(&mut two.buffer).unwrap();
            one.push_front(two.pop(two.model.len()));
        }
        13 | 14 => {
            let bytes = random.length();
            let moved = one.buffer.take_from(&mut two.buffer, bytes).unwrap();
            assert_eq!(moved, bytes.min(two.model.len()));
            one.push(&two.pop(moved));
        }
        _ => {
            one.buffer.append_shared(&mut two.buffer).unwrap();
            one.push(&two.model);
        }
    }
}

fn look(random: &mut Random<'_>, one: &mut Pair) {
    let (needle, from) = (random.bytes(), random.below(one.model.len() + 2));
    let (needle, to) = (&needle[..needle.len().min(4)], random.below(2 * one.model.len() + 2));
    let style = STYLES[random.below(5)];
    let (found, line) = (one.buffer.find(needle, from, to), one.buffer.find_line(from, style));
    if !one.has_file() {
        assert_eq!(found, Ok(find(&one.model, needle, from, to)));
        assert_eq!(line, Ok(find_line(&one.model, from, style)));
    } else if found != Err(BufferError::NotInMemory) {
        assert_eq!(found, Ok(find(&one.model, needle, from, to)), "what lies before the file");
    }
}

fn read_line(random: &mut Random<'_>, one: &mut Pair) {
    let style = STYLES[random.below(5)];
    match one.buffer.read_line(style) {
        Err(error) => assert!(error == BufferError::NotInMemory && one.has_file()),
        Ok(line) => {
            let expected = find_line(&one.model, 0, style);
            assert_eq!(line.as_deref(), expected.map(|line| &one.model[..line.end]));
            if let Some(line) = expected {
                one.pop(line.end + line.eol);
            }
        }
    }
}

fn shrink(random: &mut Random<'_>, one: &mut Pair, pool: &mut Pool) {
    let bytes = random.length() * 2;
    let expected = bytes.min(one.model.len());
    let taken = match random.below(4) {
        0 => one.buffer.drain(bytes).unwrap(),
        1 => one.buffer.drain_into(bytes, pool).unwrap(),
        2 => {
            assert_eq!(one.buffer.remove_vec(expected).unwrap(), &one.model[..expected]);
            expected
        }
        _ => {
            let mut into = vec![0; bytes];
            let taken = one.buffer.remove(&mut into).unwrap();
            assert_eq!(into[..taken], one.model[..taken]);
            taken
        }
    };
    assert_eq!(taken, expected);
    one.pop(taken);
}

/// `operations` of them, fewer where what decides about them ends.
pub fn play(mut random: Random<'_>, operations: u64) {
    let mut pool = Pool::new(4096, 4);
    let mut pairs: [Pair; 3] = Default::default();
    for number in 0..operations {
        if random.is_over() {
            break;
        }
        step(&mut random, &mut pairs, &mut pool);
        if number % 64 == 0 {
            pairs.iter().for_each(Pair::equal_in_full);
        }
    }
    pairs.iter().for_each(Pair::equal_in_full);
}
