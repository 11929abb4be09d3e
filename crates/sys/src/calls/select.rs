//! select(2) itself: sets that go in and come out, a timeout that is written to.
//!
//! Traps:
//! (a) The kernel reads and writes as many bits as `nfds` says, whatever the size of the sets: they are grown first.
//! (b) glibc's and musl's select() pass the pointers on and do not ask for FD_SETSIZE; only FD_SET and its siblings
//!     know that number. So sets of any size may be given to it.

use crate::syscall;
use crate::syscall::io_error;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// How many bits the C library's fd_set has: descriptor numbers 0 to 1,023.
pub const FD_SETSIZE: usize = libc::FD_SETSIZE;
/// How large the C library's fd_set is.
pub const FD_SET_BYTES: usize = size_of::<libc::fd_set>();

const WORD_BITS: usize = 64;
const _: () = assert!(size_of::<libc::c_ulong>() == 8, "the kernel's sets are made of longs");

/// A set of descriptor numbers, one bit each; grows with the highest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FdSet {
    words: Vec<u64>,
}

impl FdSet {
    /// The numbers given. Negative ones are in no set.
    pub fn of(numbers: impl IntoIterator<Item = RawFd>) -> Self {
        let mut set = FdSet::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }

    /// FD_SET.
    pub fn insert(&mut self, fd: RawFd) {
        let Ok(number) = usize::try_from(fd) else { return };
        self.hold(number + 1);
        self.words[number / WORD_BITS] |= 1 << (number % WORD_BITS);
    }

    /// FD_CLR.
    pub fn remove(&mut self, fd: RawFd) {
        let Ok(number) = usize::try_from(fd) else { return };
        if let Some(word) = self.words.get_mut(number / WORD_BITS) {
            *word &= !(1 << (number % WORD_BITS));
        }
    }

    /// FD_ISSET.
    pub fn contains(&self, fd: RawFd) -> bool {
        let Ok(number) = usize::try_from(fd) else { return false };
        self.words.get(number / WORD_BITS).is_some_and(|word| word >> (number % WORD_BITS) & 1 == 1)
    }

    /// How many are in it: what nobody needs who asks FD_ISSET of each.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bits it has room for.
    pub fn room(&self) -> usize {
        self.words.len() * WORD_BITS
    }

    /// Makes it the same as `other` without giving memory back: what a select loop does before each call.
    pub fn copy_from(&mut self, other: &FdSet) {
        self.words.clone_from(&other.words);
    }

    fn hold(&mut self, bits: usize) {
        let words = bits.div_ceil(WORD_BITS);
        if words > self.words.len() {
            self.words.resize(words, 0);
        }
    }
}

/// select(2). The sets and the timeout are as the kernel leaves them: on success the sets hold what is ready and the
/// timeout what is left of it (Linux only); on an error the sets are as they were.
///
/// # Errors
/// EBADF: a number in a set is no open descriptor. EINTR: a signal came. EINVAL: `nfds` is beyond what an int holds.
pub fn select(
    nfds: usize,
    read: Option<&mut FdSet>,
    write: Option<&mut FdSet>,
    except: Option<&mut FdSet>,
    timeout: Option<&mut Duration>,
) -> io::Result<usize> {
    let count = i32::try_from(nfds).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let pointer = |set: Option<&mut FdSet>| match set {
        Some(set) => {
            set.hold(nfds); // trap (a)
            set.words.as_mut_ptr().cast::<libc::fd_set>()
        }
        None => std::ptr::null_mut(),
    };
    let (read, write, except) = (pointer(read), pointer(write), pointer(except));
    let mut raw = libc::timeval { tv_sec: 0, tv_usec: 0 };
    if let Some(timeout) = &timeout {
        raw.tv_sec = timeout.as_secs().min(i32::MAX as u64) as _;
        raw.tv_usec = timeout.subsec_micros() as _;
    }
    let at = if timeout.is_some() { &raw mut raw } else { std::ptr::null_mut() };
    // SAFETY: each set is null or has at least `nfds` bits in whole longs, which is all that the kernel touches
    // (traps (a) and (b)); they come from different `&mut`, so they do not overlap; the timeout is null or a timeval.
    let ready = syscall!(unsafe { libc::select(count, read, write, except, at) }).map_err(io_error);
    if let Some(timeout) = timeout {
        *timeout = Duration::new(raw.tv_sec.max(0) as u64, raw.tv_usec.max(0) as u32 * 1000);
    }
    ready.map(|ready| ready as usize)
}
