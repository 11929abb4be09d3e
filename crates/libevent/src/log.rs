//! Where messages go: to the program's own callback (event_set_log_callback), else to stderr as `[warn] text`. And how the
//! library ends where it cannot go on (event_set_fatal_callback).
//!
//! A message is at most 1,023 bytes, put together on the stack: it must come through when there is no memory.

use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};
use duolu_core::Errno;
use duolu_sys::syscall::{last_errno, set_errno};

/// EVENT_LOG_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Severity {
    Debug = 0,
    Message = 1,
    Warning = 2,
    Error = 3,
}

/// EVENT_ERR_ABORT_: what a failed assertion ends with (abort(3) instead of exit(3)).
pub const ABORT: c_int = 0xdead_dead_u32 as c_int;

type LogCallback = unsafe extern "C-unwind" fn(c_int, *const c_char);
type FatalCallback = unsafe extern "C-unwind" fn(c_int);

static LOG: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static FATAL: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// What event_enable_debug_logging set; programs compiled with libevent's own debug macros read it.
#[unsafe(no_mangle)]
pub static event_debug_logging_mask_: AtomicU32 = AtomicU32::new(0);

#[unsafe(no_mangle)]
pub extern "C" fn event_set_log_callback(callback: Option<LogCallback>) {
    LOG.store(callback.map_or(null_mut(), |callback| callback as *mut c_void), Relaxed);
}

#[unsafe(no_mangle)]
pub extern "C" fn event_set_fatal_callback(callback: Option<FatalCallback>) {
    FATAL.store(callback.map_or(null_mut(), |callback| callback as *mut c_void), Relaxed);
}

#[unsafe(no_mangle)]
pub extern "C" fn event_enable_debug_logging(which: u32) {
    event_debug_logging_mask_.store(which, Relaxed);
}

/// Text of limited length on the stack, with a NUL behind it.
pub(crate) struct Text {
    bytes: [u8; 1024],
    length: usize,
}

impl Text {
    pub(crate) fn of(message: fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; 1024], length: 0 };
        // What is too long is cut off.
        let _ = text.write_fmt(message);
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.bytes.len() - 1 - self.length;
        let taken = more.len().min(room);
        let end = self.length + taken;
        if let (Some(to), Some(from)) = (self.bytes.get_mut(self.length..end), more.as_bytes().get(..taken)) {
            to.copy_from_slice(from);
        }
        self.length = end;
        Ok(())
    }
}

/// Says something, to whom it concerns. errno stays what it was.
pub fn say(severity: Severity, message: fmt::Arguments<'_>) {
    let errno = last_errno();
    let text = Text::of(message);
    say_bytes(severity, text.bytes);
    set_errno(errno);
}

/// [`say`] for text that is there already, and ends with a NUL.
fn say_bytes(severity: Severity, text: [u8; 1024]) {
    // SAFETY: null is None, and nothing but callbacks are stored.
    let callback = unsafe { core::mem::transmute::<*mut c_void, Option<LogCallback>>(LOG.load(Relaxed)) };
    if let Some(callback) = callback {
        // SAFETY: the program's own function, and a C string that outlives the call.
        return unsafe { callback(severity as c_int, text.as_ptr().cast()) };
    }
    let name = match severity {
        Severity::Debug => "debug",
        Severity::Message => "msg",
        Severity::Warning => "warn",
        Severity::Error => "err",
    };
    let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let mut line = [0u8; 1040];
    let mut end = 0;
    for part in [b"[", name.as_bytes(), b"] ", text.get(..length).unwrap_or_default(), b"\n"] {
        if let Some(to) = line.get_mut(end..end + part.len()) {
            to.copy_from_slice(part);
            end += part.len();
        }
    }
    // One write, so that lines of several threads and processes do not mix. Nobody is left to tell where stderr is closed.
    // SAFETY: `end` bytes of the array are written.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), end) };
}

/// Says something that the program's author should know.
pub fn warn(text: &str) {
    say(Severity::Warning, format_args!("{text}"));
}

/// [`warn`] with arguments.
pub fn warnx(message: fmt::Arguments<'_>) {
    say(Severity::Warning, message);
}

/// [`warnx`], with what errno says behind it.
pub fn warn_errno(message: fmt::Arguments<'_>) {
    let errno = last_errno();
    say(Severity::Warning, format_args!("{message}: {}", Strerror(errno)));
}

/// Only where event_enable_debug_logging asked for it.
pub fn debug(message: fmt::Arguments<'_>) {
    if event_debug_logging_mask_.load(Relaxed) != 0 {
        say(Severity::Debug, message);
    }
}

/// Says why, and ends the program, with its own callback if it has one: there is no going on.
#[cold]
pub fn fatal(code: c_int, message: fmt::Arguments<'_>) -> ! {
    say(Severity::Error, message);
    // SAFETY: null is None, and nothing but callbacks are stored.
    let callback = unsafe { core::mem::transmute::<*mut c_void, Option<FatalCallback>>(FATAL.load(Relaxed)) };
    // SAFETY: the program's own function, which should not return, and then exit(3) or abort(3), which do not.
    unsafe {
        match callback {
            Some(callback) => {
                callback(code);
                libc::exit(code)
            }
            None if code == ABORT => libc::abort(),
            None => libc::exit(code),
        }
    }
}

/// strerror(3)'s text: libevent's messages have it, where Rust adds the number.
pub struct Strerror(pub Errno);

impl fmt::Display for Strerror {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 128];
        // SAFETY: the array and its length; XSI's strerror_r, which libc binds, writes a NUL.
        unsafe { libc::strerror_r(self.0.0, text.as_mut_ptr().cast(), text.len()) };
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        to.write_str(core::str::from_utf8(text).unwrap_or("?"))
    }
}

/// event_warn and event_warnx, come back from variadic.c's va_list as text that ends with a NUL: bytes, whatever they mean.
pub(crate) fn warn_bytes(mut text: [u8; 1024], errno: Option<Errno>) {
    let length = text.iter().position(|byte| *byte == 0).unwrap_or(0);
    // As libevent: the reason is left out where the text fills the line.
    if let Some(errno) = errno
        && length < text.len() - 3
    {
        let reason = Text::of(format_args!(": {}", Strerror(errno)));
        let taken = reason.length.min(text.len() - 1 - length);
        if let (Some(to), Some(from)) = (text.get_mut(length..length + taken), reason.bytes.get(..taken)) {
            to.copy_from_slice(from);
        }
    }
    say_bytes(Severity::Warning, text);
}
