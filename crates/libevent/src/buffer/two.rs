//! From one evbuffer into another.

use super::{Entered, INPUT, OUTPUT, evbuffer, pool, status, told, unobserved, with_two};
use core::ffi::c_int;
use duolu_core::buffer::{Buffer, BufferError, End};

/// What a bufferevent has read lies in a block of 16 KiB. Short messages that are collected elsewhere must not keep one
/// each, so they are copied out of it; unless they go to an empty output, which is written at once as a rule (and looked after
/// by its bufferevent where it is not).
///
/// # Safety
/// Both are evbuffers, not freed.
unsafe fn keeps_blocks(from: *mut evbuffer, out: *mut evbuffer) -> bool {
    // SAFETY: the caller's. These flags do not change.
    unsafe { (*from).flags & (INPUT | OUTPUT) != 0 && (*out).flags & OUTPUT == 0 }
}

#[inline]
fn spare_block(keeps_blocks: bool, from: &mut Buffer, out: &Buffer) {
    if (keeps_blocks || !out.is_empty()) && !from.is_frozen(End::Front) {
        give_back(from);
    }
}

#[inline(never)]
fn give_back(from: &mut Buffer) {
    pool::with(|pool| from.give_back(pool));
}

/// Moves all of `from` to one end of `out`.
///
/// # Safety
/// Both are evbuffers, not freed.
#[inline]
unsafe fn move_all(
    out: *mut evbuffer,
    from: *mut evbuffer,
    to_its_end: impl FnOnce(&mut Buffer, &mut Buffer) -> Result<(), BufferError>,
) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        if out == from {
            return 0;
        }
        if let Some(bytes) = unobserved(from)
            && let Some(buffer) = unobserved(out)
        {
            let moved = move_bytes(false, bytes, buffer, to_its_end);
            bytes.forget_change();
            buffer.forget_change(); // nothing is dropped, so nothing is due
            return moved;
        }
        let keeps = keeps_blocks(from, out);
        let moved = with_two(from, out, |from, out| {
            (!from.is_empty()).then(|| move_bytes(keeps, from, out, to_its_end))
        });
        moved.unwrap_or(0)
    }
}

#[inline(always)]
fn move_bytes(
    keeps_blocks: bool,
    from: &mut Buffer,
    out: &mut Buffer,
    to_its_end: impl FnOnce(&mut Buffer, &mut Buffer) -> Result<(), BufferError>,
) -> c_int {
    if from.is_empty() {
        return 0;
    }
    spare_block(keeps_blocks, from, out);
    status(to_its_end(out, from))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_buffer(out: *mut evbuffer, from: *mut evbuffer) -> c_int {
    // SAFETY: the header's contract.
    unsafe { move_all(out, from, Buffer::append_buffer) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_prepend_buffer(out: *mut evbuffer, from: *mut evbuffer) -> c_int {
    // SAFETY: the header's contract.
    unsafe { move_all(out, from, Buffer::prepend_buffer) }
}

/// What moving nothing comes to: refused where moving something would be.
///
/// # Safety
/// Both are evbuffers, not freed.
unsafe fn nothing(from: *mut evbuffer, out: *mut evbuffer) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        let frozen = |this: *mut evbuffer, end| {
            let _entered = Entered::new(this);
            (*this).buffer.is_frozen(end).then_some(end)
        };
        let end = frozen(out, End::Back).or_else(|| frozen(from, End::Front));
        end.map_or(0, |end| status::<()>(Err(BufferError::Frozen(end))))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_remove_buffer(
    from: *mut evbuffer,
    out: *mut evbuffer,
    len: usize,
) -> c_int {
    if len == 0 || out == from {
        return 0;
    }
    // SAFETY: the header's contract. Who is told first is libevent's: the one it empties, or the one it adds to.
    unsafe {
        let keeps = keeps_blocks(from, out);
        let there = super::life::evbuffer_get_length(from);
        if there == 0 {
            return nothing(from, out); // and nothing is told
        }
        let moved = if there <= len {
            with_two(from, out, |from, out| {
                if out.is_frozen(End::Back) {
                    return Some(status::<()>(Err(BufferError::Frozen(End::Back))));
                }
                if from.is_frozen(End::Front) {
                    return Some(status::<()>(Err(BufferError::Frozen(End::Front))));
                }
                spare_block(keeps, from, out);
                Some(told(out.take_from(from, len)).map_or(-1, |moved| moved as c_int))
            })
        } else {
            with_two(out, from, |out, from| {
                spare_block(keeps, from, out);
                Some(told(out.take_from(from, len)).map_or(-1, |moved| moved as c_int))
            })
        };
        moved.unwrap_or(0)
    }
}
