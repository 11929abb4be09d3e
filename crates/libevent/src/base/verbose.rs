//! What a base does, told to who runs the program: `DUOLU_VERBOSE=1` on stderr, `DUOLU_VERBOSE=/path` at the end of a file. A
//! line when a base is made, with its method, and one when it is freed or the program exits, with its loop's counters.
//!
//! Traps:
//! - (a) A daemon closes stderr, and descriptor 2 may be a client's socket after: what it is when the library is loaded is
//!   remembered, and where it is another file now, nothing is written.
//! - (b) At exit other threads' loops may run on, and nothing of theirs may be looked at. So a loop leaves its counters here
//!   before each wait: what is told of it is what it was then.
//! - (c) A child of fork(2) has the bases, too: so each line names the process.

use super::{Base, event_base, method};
use crate::log::Text;
use core::ffi::{CStr, c_char, c_int};
use core::fmt;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use duolu_sys::syscall::{last_errno, set_errno};

/// Bases whose end at exit is told; those beyond are told of when they are freed.
const MOST: usize = 64;

/// One base that lives.
struct Entry {
    base: AtomicPtr<event_base>,
    number: AtomicU32,
    /// The name of its method.
    method: AtomicPtr<c_char>,
    counts: Counts<AtomicU64>,
}

/// What is told, in the order in which it is told.
type Counts<T> = [T; 6];

static ENTRIES: [Entry; MOST] = [const {
    Entry {
        base: AtomicPtr::new(null_mut()),
        number: AtomicU32::new(0),
        method: AtomicPtr::new(null_mut()),
        counts: [const { AtomicU64::new(0) }; 6],
    }
}; MOST];
/// The last number given to a base.
static LAST: AtomicU32 = AtomicU32::new(0);

const OFF: u8 = 0;
const STDERR: u8 = 1;
const FILE: u8 = 2;
static WHERE: AtomicU8 = AtomicU8::new(OFF);
/// What stderr was when the library was loaded: device and inode.
static DEVICE: AtomicU64 = AtomicU64::new(0);
static INODE: AtomicU64 = AtomicU64::new(0);

/// Before main, and after exit(3): what the loader runs.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;

unsafe extern "C" {
    static program_invocation_short_name: *const c_char;
}

extern "C" fn at_load() {
    let Some(value) = method::variable(c"DUOLU_VERBOSE") else { return };
    match value.to_bytes() {
        b"" | b"0" => {}
        path if path.contains(&b'/') => WHERE.store(FILE, Ordering::Relaxed),
        _ => {
            if let Some((device, inode)) = identity(libc::STDERR_FILENO) {
                DEVICE.store(device, Ordering::Relaxed);
                INODE.store(inode, Ordering::Relaxed);
                WHERE.store(STDERR, Ordering::Relaxed);
            }
        }
    }
}

extern "C" fn at_exit() {
    if !on() {
        return;
    }
    for entry in &ENTRIES {
        if !entry.base.swap(null_mut(), Ordering::AcqRel).is_null() {
            entry.tell("at exit");
        }
    }
}

/// Whether anybody wants to know.
#[inline(always)]
pub fn on() -> bool {
    WHERE.load(Ordering::Relaxed) != OFF
}

/// A base was made.
pub fn made(base: Base) {
    if !on() {
        return;
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let free = |entry: &&Entry| {
        let took =
            entry.base.compare_exchange(null_mut(), base.as_ptr(), Ordering::AcqRel, Ordering::Relaxed);
        took.is_ok()
    };
    // SAFETY: just made.
    let method = unsafe { (*base.as_ptr()).method.name };
    if let Some(entry) = ENTRIES.iter().find(free) {
        entry.number.store(number, Ordering::Relaxed);
        entry.method.store(method.as_ptr().cast_mut(), Ordering::Relaxed);
        entry.publish(&[0; 6]);
    }
    let version = env!("CARGO_PKG_VERSION");
    tell(
        number,
        format_args!("made: duolu {version} for libevent 2.1.12-stable, method {}", method.to_string_lossy()),
    );
}

/// The counters of a base's loop, which waits next or ends. The lock is held.
#[inline(always)]
pub fn publish(base: &event_base) {
    if on() {
        publish_now(base);
    }
}

#[cold]
fn publish_now(base: &event_base) {
    let counters = base.engine.counters();
    if let Some(entry) = of(base) {
        entry.publish(&[
            counters.waits,
            counters.activations,
            counters.reports,
            counters.stale_reports,
            counters.timeouts,
            counters.changes,
        ]);
    }
}

/// A base is about to be freed.
pub fn ends(base: Base) {
    if !on() {
        return;
    }
    // SAFETY: who frees it has it alone.
    let this = unsafe { &*base.as_ptr() };
    publish(this);
    if let Some(entry) = of(this) {
        entry.tell("freed");
        entry.base.store(null_mut(), Ordering::Release);
    }
}

fn of(base: &event_base) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| core::ptr::eq(entry.base.load(Ordering::Acquire), base))
}

impl Entry {
    fn publish(&self, counts: &Counts<u64>) {
        for (to, count) in self.counts.iter().zip(counts) {
            to.store(*count, Ordering::Relaxed);
        }
    }

    fn tell(&self, when: &str) {
        let [waits, called, reports, stale, timeouts, changes] =
            self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let method = self.method.load(Ordering::Relaxed);
        if method.is_null() {
            return;
        }
        // SAFETY: one of the methods' names, which live for ever.
        let method = unsafe { CStr::from_ptr(method) };
        tell(
            self.number.load(Ordering::Relaxed),
            format_args!(
                "{when}: {}; {waits} waits, {called} events called, {reports} reports ({stale} stale), {timeouts} \
                 timeouts, {changes} changes told to the kernel",
                method.to_string_lossy()
            ),
        );
    }
}

/// One line, in one write. errno stays what it was.
fn tell(number: u32, what: fmt::Arguments<'_>) {
    let errno = last_errno();
    // SAFETY: glibc's, set before any constructor runs; a C string that lives for ever.
    let name = unsafe { CStr::from_ptr(program_invocation_short_name) };
    let text = Text::of(format_args!(
        "duolu: {}[{}] base {number} {what}\n",
        name.to_string_lossy(),
        std::process::id()
    ));
    let bytes = text.as_bytes();
    if let Some((descriptor, close)) = open() {
        // SAFETY: so many bytes are there. Nobody is left to tell where it cannot be written.
        unsafe {
            libc::write(descriptor, bytes.as_ptr().cast(), bytes.len());
            if close {
                libc::close(descriptor);
            }
        }
    }
    set_errno(errno);
}

/// Where the line goes, and whether it is to be closed after.
fn open() -> Option<(c_int, bool)> {
    if WHERE.load(Ordering::Relaxed) == STDERR {
        let same = (DEVICE.load(Ordering::Relaxed), INODE.load(Ordering::Relaxed));
        return (identity(libc::STDERR_FILENO)? == same).then_some((libc::STDERR_FILENO, false));
    }
    let path = method::variable(c"DUOLU_VERBOSE")?;
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: a C string.
    let descriptor = unsafe { libc::open(path.as_ptr(), flags, 0o644) };
    (descriptor >= 0).then_some((descriptor, true))
}

/// Which file a descriptor is.
fn identity(descriptor: c_int) -> Option<(u64, u64)> {
    let mut status = core::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: room for the answer, which is there if the call succeeds.
    let status = unsafe {
        if libc::fstat(descriptor, status.as_mut_ptr()) < 0 {
            return None;
        }
        status.assume_init()
    };
    Some((status.st_dev, status.st_ino))
}
