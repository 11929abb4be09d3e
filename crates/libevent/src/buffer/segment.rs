//! Parts of files in buffers: struct evbuffer_file_segment.
//!
//! Traps:
//! (a) A segment of length -1 ends where the file does. (libevent takes the file's length without subtracting the offset.)
//! (b) Memory mapped beyond the file's end raises SIGBUS when it is looked at: a segment that does not lie in the file is
//!     refused when it is brought into memory. Who truncates a file that is mapped is hit all the same.
//! (c) A refused evbuffer_add_file_segment leaves the segment to its owner. (libevent lets go of the owner's reference.)
//! (d) The cleanup callback gets the segment while it still exists, without a lock, as all release hooks.

use super::reference::{Due, bytes_of, note};
use super::{DRAINS_TO_FD, evbuffer, reference, status, told, with};
use core::ffi::{c_int, c_uint, c_void};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};
use duolu_core::Errno;
use duolu_core::buffer::{BufferError, End, FileRegion, Region};
use duolu_sys::syscall::{last_errno, set_errno};
use std::sync::{Arc, OnceLock};

/// EVBUF_FS_CLOSE_ON_FREE.
const CLOSE_ON_FREE: c_uint = 1;
/// EVBUF_FS_DISABLE_MMAP.
const DISABLE_MMAP: c_uint = 2;
/// EVBUF_FS_DISABLE_SENDFILE.
const DISABLE_SENDFILE: c_uint = 4;

/// evbuffer_file_segment_cleanup_cb.
type Cleanup = unsafe extern "C-unwind" fn(*const evbuffer_file_segment, c_int, *mut c_void);

/// struct evbuffer_file_segment: opaque to programs.
#[derive(Debug)]
pub struct evbuffer_file_segment {
    /// The program's, and one for each part of it in a buffer.
    references: AtomicUsize,
    fd: c_int,
    flags: c_uint,
    /// Where it begins in the file, and how long it is: together at most isize::MAX.
    offset: usize,
    len: usize,
    contents: OnceLock<Contents>,
    cleanup: Option<Cleanup>,
    arg: *mut c_void,
}

/// Its bytes in memory.
#[derive(Debug)]
enum Contents {
    /// From mmap(2): the address, the length, and where the segment begins in it.
    Mapped(*mut c_void, usize, usize),
    Read(Vec<u8>),
}

impl Drop for Contents {
    fn drop(&mut self) {
        if let Contents::Mapped(at, len, _) = *self {
            // SAFETY: mapped by `map`, and nothing refers to it any more.
            unsafe { libc::munmap(at, len) };
        }
    }
}

impl evbuffer_file_segment {
    /// Brings it into memory, once.
    fn contents(&self) -> Option<&Contents> {
        if self.contents.get().is_none() {
            let made = if self.len > 0 && self.flags & DISABLE_MMAP == 0 { self.map() } else { None };
            let made = match made {
                Some(mapped) => mapped,
                None => Contents::Read(self.read()?),
            };
            // Another thread's is as good.
            let _ = self.contents.set(made);
        }
        self.contents.get()
    }

    fn map(&self) -> Option<Contents> {
        // SAFETY: all zeroes are a stat; the kernel checks the descriptor.
        let mut stat: libc::stat64 = unsafe { core::mem::zeroed() };
        // SAFETY: as above.
        if unsafe { libc::fstat64(self.fd, &mut stat) } < 0 || (self.offset + self.len) as i64 > stat.st_size
        {
            return None; // (b)
        }
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as usize;
        let lead = self.offset % page;
        let (len, from) = (self.len + lead, (self.offset - lead) as libc::off64_t);
        // SAFETY: a new mapping, wherever the kernel likes.
        let at = unsafe { libc::mmap64(null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, self.fd, from) };
        (at != libc::MAP_FAILED).then_some(Contents::Mapped(at, len, lead))
    }

    fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.len).ok()?;
        bytes.resize(self.len, 0);
        let mut done = 0;
        while done < self.len {
            match read_at(self.fd, (self.offset + done) as u64, &mut bytes[done..]) {
                Ok(0) => {
                    set_errno(Errno(libc::EINVAL)); // (b)
                    return None;
                }
                Ok(got) => done += got,
                Err(errno) => {
                    set_errno(errno);
                    return None;
                }
            }
        }
        Some(bytes)
    }

    /// Ends one reference; true: it was the last.
    fn release(&self) -> bool {
        let last = self.references.fetch_sub(1, Ordering::Release) == 1;
        if last {
            core::sync::atomic::fence(Ordering::Acquire);
        }
        last
    }
}

fn read_at(fd: c_int, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: writable for its length; the kernel checks the descriptor.
        let got = unsafe { libc::pread64(fd, into.as_mut_ptr().cast(), into.len(), offset as libc::off64_t) };
        match usize::try_from(got) {
            Ok(got) => return Ok(got),
            Err(_) if last_errno() == Errno(libc::EINTR) => {}
            Err(_) => return Err(last_errno()),
        }
    }
}

/// The last reference is gone: to be ended where nothing is borrowed.
pub(super) struct Last(NonNull<evbuffer_file_segment>);

impl Last {
    pub(super) fn end(self) {
        // SAFETY: from a Box, and nobody else has it any more.
        unsafe {
            let segment = self.0.as_ptr();
            drop((*segment).contents.take());
            if (*segment).flags & CLOSE_ON_FREE != 0 && (*segment).fd >= 0 {
                libc::close((*segment).fd);
            }
            if let Some(cleanup) = (*segment).cleanup {
                cleanup(segment, (*segment).flags as c_int, (*segment).arg);
            }
            drop(Box::from_raw(segment));
        }
    }
}

/// A reference from a buffer.
struct Held(NonNull<evbuffer_file_segment>);

// SAFETY: what is shared of a segment is its count and its contents, both made for that; the rest does not change.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// # Safety
    /// `segment` is one that the caller has a reference to.
    unsafe fn new(segment: *mut evbuffer_file_segment) -> Option<Self> {
        let segment = NonNull::new(segment)?;
        // SAFETY: the caller's.
        unsafe { segment.as_ref() }.references.fetch_add(1, Ordering::Relaxed);
        Some(Held(segment))
    }

    fn get(&self) -> &evbuffer_file_segment {
        // SAFETY: it exists while there are references.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.get().release() {
            note(Due::Segment(Last(self.0)));
        }
    }
}

impl FileRegion for Held {
    fn fd(&self) -> c_int {
        self.get().fd
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        read_at(self.get().fd, offset, into)
    }
}

/// Bytes of a segment's contents.
struct InMemory {
    held: Held,
    from: usize,
    len: usize,
}

impl Region for InMemory {
    fn bytes(&self) -> &[u8] {
        match self.held.get().contents.get() {
            Some(Contents::Read(bytes)) => bytes.get(self.from..self.from + self.len).unwrap_or_default(),
            // SAFETY: mapped for as long as the segment is there, and the range was checked when it was added.
            Some(Contents::Mapped(at, _, lead)) => unsafe {
                bytes_of(at.cast::<u8>().wrapping_add(lead + self.from), self.len)
            },
            None => &[],
        }
    }
    fn may_be_lent(&self) -> bool {
        false
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_file_segment_new(
    fd: c_int,
    offset: libc::off64_t,
    length: libc::off64_t,
    flags: c_uint,
) -> *mut evbuffer_file_segment {
    let length = if length == -1 { rest_of_file(fd, offset) } else { Some(length) };
    let Some(length) = length else { return null_mut() };
    let (Ok(from), Ok(len)) = (usize::try_from(offset), usize::try_from(length)) else {
        set_errno(Errno(libc::EINVAL));
        return null_mut();
    };
    if told(reference::check(from.saturating_add(len))).is_none() {
        return null_mut();
    }
    let segment = Box::new(evbuffer_file_segment {
        references: AtomicUsize::new(1),
        fd,
        flags,
        offset: from,
        len,
        contents: OnceLock::new(),
        cleanup: None,
        arg: null_mut(),
    });
    if flags & DISABLE_SENDFILE != 0 && segment.contents().is_none() {
        return null_mut();
    }
    Box::into_raw(segment)
}

/// (a)
fn rest_of_file(fd: c_int, offset: libc::off64_t) -> Option<libc::off64_t> {
    // SAFETY: all zeroes are a stat; the kernel checks the descriptor.
    let mut stat: libc::stat64 = unsafe { core::mem::zeroed() };
    // SAFETY: as above.
    (unsafe { libc::fstat64(fd, &mut stat) } == 0).then(|| stat.st_size.saturating_sub(offset.max(0)).max(0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_file_segment_free(segment: *mut evbuffer_file_segment) {
    let Some(segment) = NonNull::new(segment) else { return };
    // SAFETY: the header's contract: this reference is the caller's, and given up.
    if unsafe { segment.as_ref() }.release() {
        Last(segment).end();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_file_segment_add_cleanup_cb(
    segment: *mut evbuffer_file_segment,
    cleanup: Option<Cleanup>,
    arg: *mut c_void,
) {
    // SAFETY: the header's contract: before it is shared.
    unsafe { ((*segment).cleanup, (*segment).arg) = (cleanup, arg) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_file_segment(
    this: *mut evbuffer,
    segment: *mut evbuffer_file_segment,
    offset: libc::off64_t,
    length: libc::off64_t,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let Some(held) = Held::new(segment) else { return -1 };
        let drains = (*this).flags & DRAINS_TO_FD != 0;
        with(this, move |buffer| {
            let whole = held.get();
            let send = drains && whole.flags & DISABLE_SENDFILE == 0;
            if !send && whole.contents().is_none() {
                return -1;
            }
            if buffer.is_frozen(End::Back) {
                return status::<()>(Err(BufferError::Frozen(End::Back)));
            }
            let from = usize::try_from(offset).ok().filter(|from| *from <= whole.len);
            let Some(from) = from else { return status::<()>(Err(BufferError::TooShort)) };
            let rest = whole.len - from;
            let len = if length < 0 { Some(rest) } else { usize::try_from(length).ok() };
            let Some(len) = len.filter(|len| *len <= rest) else {
                return status::<()>(Err(BufferError::TooShort));
            };
            if send {
                let at = (whole.offset + from) as u64;
                return status(buffer.append_file(Arc::new(held), at, len));
            }
            status(buffer.append_region(Arc::new(InMemory { held, from, len })))
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_file(
    this: *mut evbuffer,
    fd: c_int,
    offset: libc::off64_t,
    length: libc::off64_t,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let segment = evbuffer_file_segment_new(fd, offset, length, CLOSE_ON_FREE);
        if segment.is_null() {
            return -1;
        }
        let added = evbuffer_add_file_segment(this, segment, 0, length.max(-1));
        if added < 0 && (*segment).contents.get().is_none() && (*this).flags & DRAINS_TO_FD == 0 {
            // It could not be read: the descriptor stays the caller's.
            (*segment).flags &= !CLOSE_ON_FREE;
        }
        let errno = last_errno();
        evbuffer_file_segment_free(segment);
        set_errno(errno);
        added
    }
}
