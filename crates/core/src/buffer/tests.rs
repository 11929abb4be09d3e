use super::*;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

fn buffer(parts: &[&[u8]]) -> Buffer {
    let mut whole = Buffer::new();
    for part in parts {
        whole.append_vec(part.to_vec()).unwrap();
    }
    whole.verify();
    whole
}

fn all(buffer: &Buffer) -> Vec<u8> {
    let mut into = vec![0; buffer.len()];
    assert_eq!(buffer.copy_out(0, &mut into), Ok(buffer.len()));
    into
}

struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl Region for Counted {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

struct Pretended(Vec<u8>);

impl FileRegion for Pretended {
    fn fd(&self) -> i32 {
        -1
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        // Short reads, as real ones may be.
        let got = rest.len().min(into.len()).min(3);
        into[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }
}

#[test]
fn huge_lengths_are_refused_without_change() {
    let mut buffer = buffer(&[b"abc"]);
    assert_eq!(buffer.spare(usize::MAX).err(), Some(BufferError::TooLong));
    assert_eq!(buffer.spare_in_one(isize::MAX as usize - 3).err(), Some(BufferError::NoMemory));
    let file = Arc::new(Pretended(Vec::new()));
    assert_eq!(buffer.append_file(file.clone(), 0, usize::MAX), Err(BufferError::TooLong));
    buffer.append_file(file.clone(), 0, isize::MAX as usize - 3).unwrap();
    assert_eq!(buffer.append(b"x"), Err(BufferError::TooLong));
    assert_eq!(buffer.prepend(b"x"), Err(BufferError::TooLong));
    let mut other = Buffer::new();
    other.append(b"y").unwrap();
    assert_eq!(buffer.append_buffer(&mut other), Err(BufferError::TooLong));
    assert_eq!((buffer.len(), other.len()), (isize::MAX as usize, 1));
    assert_eq!(buffer.pull_up(isize::MAX as usize), Err(BufferError::NoMemory));
    buffer.verify();
}

#[test]
fn a_text_lies_in_one_piece_with_a_nul_behind_it() {
    let mut buffer = Buffer::new();
    let mut expected = Vec::new();
    for (number, len) in [3, 490, 2, 0, 5, 40_000, 1].into_iter().enumerate() {
        let text = vec![b'a' + number as u8; len];
        buffer.append_text(&[text.as_slice(), &[0]].concat()).unwrap();
        expected.extend_from_slice(&text);
        buffer.verify();
        let last = buffer.chunks.back_mut().unwrap();
        let (end, own) = (last.end, last.own_bytes().unwrap().to_vec());
        assert!(own.ends_with(&text), "in one piece");
        assert!(matches!(&last.store, chunk::Store::Own(own) if own.get(end) == Some(&0)), "{last:?}");
    }
    buffer.append(b"!").unwrap();
    expected.push(b'!');
    assert_eq!(all(&buffer), expected);
    assert_eq!(buffer.append_text(b""), Ok(()));
    buffer.freeze(End::Back);
    assert_eq!(buffer.append_text(b"x\0"), Err(BufferError::Frozen(End::Back)));
    assert_eq!(buffer.len(), expected.len());
}

#[test]
fn room_that_was_initialised_is_written_over_and_beyond() {
    let mut buffer = Buffer::new();
    buffer.append(&[b'a'; 400]).unwrap();
    let place = buffer.front().as_ptr();
    // All of the chunk's room is initialised now, and given up; then a text leaves a byte of it.
    assert!(buffer.spare_in_one(1).unwrap().len() >= 90);
    buffer.append(&[b'b'; 50]).unwrap();
    assert_eq!(buffer.front().as_ptr(), place);
    let mut other = Buffer::new();
    other.append_text(b"text\0").unwrap();
    other.append(b"s").unwrap();
    other.append_text(b"\0").unwrap();
    other.append(b", and more").unwrap();
    assert_eq!((buffer.len(), other.front()), (450, &b"texts, and more"[..]));
    buffer.verify();
    other.verify();
}

#[test]
fn a_region_is_dropped_with_its_last_byte_in_the_last_buffer() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (mut first, mut second) = (Buffer::new(), Buffer::new());
    first.append_region(Arc::new(Counted(b"0123456789".to_vec(), dropped.clone()))).unwrap();
    second.append_shared(&mut first).unwrap();
    first.drain(10).unwrap();
    second.drain(9).unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    second.drain(1).unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_shared_is_not_changed_by_either_side() {
    let mut first = Buffer::new();
    first.append(b"abc").unwrap();
    let mut second = Buffer::new();
    second.append_shared(&mut first).unwrap();
    first.append(b"DEF").unwrap();
    first.prepend(b"-").unwrap();
    second.append(b"ghi").unwrap();
    assert_eq!((all(&first), all(&second)), (b"-abcDEF".to_vec(), b"abcghi".to_vec()));
}

#[test]
fn what_was_lent_and_files_are_not_lent_on() {
    let mut first = buffer(&[b"abc"]);
    first.append_region(Arc::new(b"def".to_vec())).unwrap();
    assert!(first.lends());
    let (mut second, mut third) = (Buffer::new(), Buffer::new());
    second.append_shared(&mut first).unwrap();
    assert!(first.lends() && !second.lends());
    third.take_from(&mut second, 2).unwrap();
    assert!(third.lends(), "few bytes are a copy");
    third.append_shared(&mut second).unwrap();
    assert_eq!(all(&third), b"abcdef", "it is not enforced");
    first.append_file(Arc::new(Pretended(b"0123".to_vec())), 0, 4).unwrap();
    assert!(!first.lends());
}

#[test]
fn a_file_is_read_only_where_it_must_be() {
    let mut buffer = buffer(&[b"head "]);
    buffer.append_file(Arc::new(Pretended(b"0123456789".to_vec())), 2, 5).unwrap();
    buffer.append(b" tail\n").unwrap();
    assert_eq!(all(&buffer), b"head 23456 tail\n");
    assert_eq!(buffer.find(b"tail", 0, usize::MAX), Err(BufferError::NotInMemory));
    assert_eq!(buffer.find(b"ea", 0, 5), Ok(Some(1)), "what lies before the file can be searched");
    let mut part = Buffer::new();
    assert_eq!(part.take_from(&mut buffer, 7), Ok(7));
    assert_eq!((all(&part), all(&buffer)), (b"head 23".to_vec(), b"456 tail\n".to_vec()));
    assert_eq!(buffer.pull_up(5), Ok(&b"456 t"[..]));
    assert_eq!(buffer.read_line(Eol::Lf), Ok(Some(b"456 tail".to_vec())));
    // A file that has become shorter.
    buffer.append_file(Arc::new(Pretended(b"ab".to_vec())), 0, 4).unwrap();
    assert_eq!(buffer.load(), Err(BufferError::File(Errno(5))));
    assert_eq!(buffer.len(), 4);
}

#[test]
fn a_frozen_end_refuses_and_the_other_does_not() {
    let mut buffer = buffer(&[b"abc"]);
    buffer.freeze(End::Back);
    assert_eq!(buffer.append(b"d"), Err(BufferError::Frozen(End::Back)));
    assert_eq!(buffer.spare(1).err(), Some(BufferError::Frozen(End::Back)));
    assert_eq!(buffer.drain(1), Ok(1));
    buffer.thaw(End::Back);
    buffer.freeze(End::Front);
    assert_eq!(buffer.drain(1), Err(BufferError::Frozen(End::Front)));
    assert_eq!(buffer.prepend(b"x"), Err(BufferError::Frozen(End::Front)));
    assert_eq!(buffer.append(b"d"), Ok(()));
    let mut other = Buffer::new();
    assert_eq!(other.append_buffer(&mut buffer), Err(BufferError::Frozen(End::Front)));
    assert_eq!(other.append_shared(&mut buffer), Ok(()), "nothing leaves it");
    assert_eq!(all(&buffer), b"bcd");
}

#[test]
fn a_reserve_counts_only_when_it_is_committed_and_nothing_came_between() {
    let mut buffer = Buffer::new();
    buffer.append(b"abc").unwrap();
    let [first, second] = buffer.spare(2000).unwrap();
    let (front, _) = first.split_at_mut(1);
    front[0] = b'd';
    assert!(!second.is_empty());
    assert_eq!(buffer.len(), 3);
    buffer.commit(1).unwrap();
    assert_eq!(all(&buffer), b"abcd");
    assert_eq!(buffer.commit(1), Err(BufferError::TooShort), "committed once");
    buffer.spare(100).unwrap()[0][0] = b'X';
    buffer.append(b"e").unwrap();
    assert_eq!(buffer.commit(1), Err(BufferError::TooShort), "given up by the append");
    assert_eq!(all(&buffer), b"abcde");
    // In one piece: the room that was too small is left out.
    let spare = buffer.spare_in_one(5000).unwrap();
    assert!(spare.len() >= 5000);
    spare[..2].copy_from_slice(b"fg");
    buffer.commit(2).unwrap();
    assert_eq!(all(&buffer), b"abcdefg");
    buffer.verify();
}

#[test]
fn lines_end_in_five_ways_even_across_chunks() {
    let text = buffer(&[b"one\r", b"\n\ntwo\n", b"three\r\n", b"\0"]);
    let line = |from, style| text.find_line(from, style).unwrap().map(|line| (line.end, line.eol));
    assert_eq!(line(0, Eol::Any), Some((3, 3)), "CR LF LF are one end");
    assert_eq!(line(0, Eol::CrLf), Some((3, 2)));
    assert_eq!(line(5, Eol::CrLf), Some((5, 1)), "an empty line");
    assert_eq!(line(4, Eol::CrLf), Some((4, 1)), "the CR is not the line's");
    assert_eq!(line(0, Eol::CrLfStrict), Some((3, 2)));
    assert_eq!(line(5, Eol::CrLfStrict), Some((15, 2)), "a lone LF ends nothing");
    assert_eq!(line(0, Eol::Lf), Some((4, 1)));
    assert_eq!(line(0, Eol::Nul), Some((17, 1)));
    assert_eq!(line(18, Eol::Nul), None);
    assert_eq!(line(1000, Eol::Any), None);
}

#[test]
fn a_needle_is_found_across_chunks_and_within_bounds() {
    let hay = buffer(&[b"ab", b"a", b"abc", b"x"]);
    assert_eq!(hay.find(b"abc", 0, usize::MAX), Ok(Some(3)));
    assert_eq!(hay.find(b"aab", 0, usize::MAX), Ok(Some(2)));
    assert_eq!(hay.find(b"abc", 4, usize::MAX), Ok(None));
    assert_eq!(hay.find(b"abc", 0, 5), Ok(None), "it ends behind the bound");
    assert_eq!(hay.find(b"abc", 0, 6), Ok(Some(3)));
    assert_eq!(hay.find(b"", 7, usize::MAX), Ok(Some(7)));
    assert_eq!(hay.find(b"", 8, usize::MAX), Ok(None));
}

#[test]
fn changes_are_told_once_with_their_counts() {
    let mut buffer = Buffer::new();
    assert_eq!(buffer.take_change(), None);
    buffer.append(b"abcdef").unwrap();
    buffer.drain(2).unwrap();
    assert_eq!(buffer.take_change(), Some(Change { before: 0, added: 6, removed: 2 }));
    buffer.drain(100).unwrap();
    assert_eq!(buffer.take_change(), Some(Change { before: 4, added: 0, removed: 4 }));
    assert_eq!(buffer.take_change(), None);
}

#[test]
fn an_empty_buffer_owns_no_memory_and_few_bytes() {
    let mut buffer = buffer(&[b"a", b"b", b"c"]);
    buffer.drain(3).unwrap();
    assert_eq!(buffer.capacity(), 0);
    assert!(size_of::<Buffer>() <= 80, "{} bytes: an idle stream has two of them", size_of::<Buffer>());
}

#[test]
fn a_block_comes_back_to_its_pool_when_it_is_sent() {
    let mut pool = Pool::new(4096, 2);
    let mut buffer = Buffer::new();
    let mut block = pool.take();
    block.bytes()[..3].copy_from_slice(b"abc");
    buffer.append_block(block, 3, &mut pool).unwrap();
    assert_eq!((pool.len(), buffer.capacity() < 4096), (1, true), "few bytes are copied out");
    let mut block = pool.take();
    block.bytes().fill(b'x');
    buffer.append_block(block, 4000, &mut pool).unwrap();
    assert_eq!((pool.len(), buffer.len()), (0, 4003));
    buffer.drain_into(4003, &mut pool).unwrap();
    assert_eq!(pool.len(), 1);
    let block = pool.take();
    buffer.append(b"not a block's").unwrap();
    buffer.append_whole_block(block, 1000, &mut pool).unwrap();
    let mut blocks = 0;
    buffer.drain_to(1012, 4096, |_| blocks += 1).unwrap();
    assert_eq!(blocks, 0, "not yet");
    buffer
        .drain_to(1, 4096, |block| {
            blocks += 1;
            pool.put(block);
        })
        .unwrap();
    assert_eq!((blocks, pool.len(), buffer.len()), (1, 1, 0));
    assert_eq!(pool.take().bytes().len(), 4096);
}

#[test]
fn a_block_that_holds_few_bytes_is_given_back() {
    let mut pool = Pool::new(4096, 4);
    let mut buffer = Buffer::new();
    for expected in [b"abc".to_vec(), b"abcabc".to_vec()] {
        let mut block = pool.take();
        block.bytes()[..3].copy_from_slice(b"abc");
        buffer.append_whole_block(block, 3, &mut pool).unwrap();
        assert_eq!(pool.len(), 0, "without a copy at first");
        buffer.give_back(&mut pool);
        assert_eq!((pool.len(), all(&buffer)), (1, expected));
        assert!(buffer.capacity() < 4096);
        buffer.verify();
    }
    let block = pool.take();
    buffer.append_whole_block(block, 4000, &mut pool).unwrap();
    buffer.give_back(&mut pool);
    assert_eq!((pool.len(), buffer.len()), (0, 4006), "one that is well filled stays");
    buffer.append_whole_block(Pool::new(4096, 1).take(), 0, &mut pool).unwrap();
    assert_eq!((pool.len(), buffer.len()), (1, 4006), "an empty one is put back at once");
}

#[test]
fn it_holds_nothing_when_nothing_can_be_lost() {
    let mut buffer = Buffer::new();
    assert!(buffer.holds_nothing());
    buffer.append(b"ab").unwrap();
    assert!(!buffer.holds_nothing());
    buffer.drain(2).unwrap();
    assert!(!buffer.holds_nothing(), "a change that nobody asked for");
    assert_eq!(buffer.take_change(), Some(Change { before: 0, added: 2, removed: 2 }));
    assert!(buffer.holds_nothing());
    buffer.extend(10, 1).unwrap();
    assert!(!buffer.holds_nothing(), "room that was made");
}

#[test]
fn small_blocks_come_back_and_are_kept_apart() {
    let mut pool = Pool::new(32 * 1024, 2);
    let mut blocks: Vec<_> = (0..40).map(|_| pool.take_for(1024)).collect();
    assert!(
        blocks.iter_mut().all(|block| block.bytes().len() == 1024 && block.bytes().as_ptr().addr() % 64 == 0)
    );
    assert_eq!(pool.take_for(1025).bytes().len(), 32 * 1024);
    let mut buffer = Buffer::new();
    for (at, mut block) in blocks.into_iter().enumerate() {
        block.bytes()[0] = at as u8;
        buffer.append_whole_block(block, 1, &mut pool).unwrap();
    }
    buffer.verify();
    assert_eq!(buffer.pull_up(40).unwrap(), (0..40).collect::<Vec<u8>>());
    assert_eq!(buffer.drain_into(40, &mut pool), Ok(40));
    assert!(pool.is_empty(), "none of them is a large one");
    // They have come back: what lies in them is what was written.
    assert!((0..40).all(|_| pool.take_for(9).bytes()[0] < 40));
    assert!((pool.take_for(9).bytes()[0] == 0), "and no more than these: a new one");
    // Sixteen for each large one are kept, and the others given back to the allocator.
    let mut few = Pool::new(32 * 1024, 1);
    let marked = (0..40).map(|_| few.take_for(9)).map(|mut block| {
        block.bytes()[0] = 1;
        block
    });
    marked.collect::<Vec<_>>().into_iter().for_each(|block| few.put(block));
    assert_eq!((0..40).filter(|_| few.take_for(9).bytes()[0] == 1).count(), 16);
    // A pool whose blocks are small has one sort.
    let mut tiny = Pool::new(512, 1);
    let block = tiny.take_for(9);
    tiny.put(block);
    assert_eq!(tiny.len(), 1);
}
