//! Memory for when nobody has any: what is allocated on the way to saying so.
//!
//! A MiB of zeroes in the object, which cost nothing until they are touched. A failing call needs a few small pieces and
//! gives them back when it is undone, so a stack of what lies in it is enough: a counter of what is out, and everything is
//! free again when that is zero.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};

const ROOM: usize = 1024 * 1024;

#[repr(align(4096))]
struct Bytes(UnsafeCell<[u8; ROOM]>);

// SAFETY: handed out in pieces that do not overlap, each to one owner.
unsafe impl Sync for Bytes {}

static BYTES: Bytes = Bytes(UnsafeCell::new([0; ROOM]));

/// Pieces that are out (high half) and bytes taken since none was (low half): changed together.
static STATE: AtomicU64 = AtomicU64::new(0);

fn start() -> *mut u8 {
    BYTES.0.get().cast()
}

/// Whether `memory` is from here.
pub fn owns(memory: *mut u8) -> bool {
    memory.addr().wrapping_sub(start().addr()) < ROOM
}

/// A piece at a multiple of 16 at least, or null if the reserve is used up too.
pub fn take(layout: Layout) -> *mut u8 {
    let align = layout.align().max(16);
    let mut begin = 0;
    let taken = STATE.try_update(AcqRel, Acquire, |state| {
        let (pieces, used) = (state >> 32, (state & 0xffff_ffff) as usize);
        begin = used.next_multiple_of(align);
        let end = begin.checked_add(layout.size().max(1))?;
        (end <= ROOM && align <= 4096).then(|| (pieces + 1) << 32 | end as u64)
    });
    match taken {
        // SAFETY: `begin` and the bytes behind it lie in the reserve, and the update made them this caller's.
        Ok(_) => unsafe { start().add(begin) },
        Err(_) => null_mut(),
    }
}

/// Takes a piece back; false: it is not from here.
pub fn give_back(memory: *mut u8) -> bool {
    if !owns(memory) {
        return false;
    }
    let _ = STATE.try_update(AcqRel, Acquire, |state| {
        let pieces = (state >> 32).saturating_sub(1);
        Some(if pieces == 0 { 0 } else { pieces << 32 | state & 0xffff_ffff })
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_overlap_and_all_comes_back() {
        let layout = Layout::from_size_align(10_000, 8).unwrap();
        let pieces: Vec<_> =
            std::iter::repeat_with(|| take(layout)).take_while(|piece| !piece.is_null()).collect();
        assert_eq!(pieces.len(), 104, "1,048,576 bytes hold 104 of 10,000");
        assert!(
            pieces.windows(2).all(|two| two[1].addr() - two[0].addr() >= 10_000 && two[0].addr() % 16 == 0)
        );
        assert!(pieces.iter().all(|piece| owns(*piece)));
        for piece in &pieces {
            assert!(give_back(*piece));
        }
        assert_eq!(take(layout), pieces[0]);
        assert!(give_back(pieces[0]));
        assert!(!give_back(core::ptr::without_provenance_mut(4096)));
    }
}
