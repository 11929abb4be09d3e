//! Functions with `...`, which stable Rust cannot define: exported here, they jump to variadic.c, which comes back with
//! a va_list. (A cdylib exports only what Rust defines.)

use crate::log;
use core::arch::naked_asm;
use core::ffi::{c_char, c_int, c_void};

unsafe extern "C" {
    fn duolu_snprintf();
    fn duolu_add_printf();
    fn duolu_warn();
    fn duolu_warnx();
    fn vsnprintf(to: *mut c_char, room: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
}

macro_rules! jump {
    ($($name:ident => $to:ident;)*) => { $(
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            naked_asm!("jmp {}", sym $to);
            #[cfg(target_arch = "aarch64")]
            naked_asm!("b {}", sym $to);
        }
    )* };
}

jump! {
    evutil_snprintf => duolu_snprintf;
    evbuffer_add_printf => duolu_add_printf;
    event_warn => duolu_warn;
    event_warnx => duolu_warnx;
}

/// vsnprintf(3) that always ends with a NUL, as evutil_vsnprintf does.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn duolu_vsnprintf(
    to: *mut c_char,
    room: usize,
    format: *const c_char,
    arguments: *mut c_void,
) -> c_int {
    if room == 0 {
        return 0;
    }
    // SAFETY: the caller's buffer has `room` bytes, and its format fits its arguments: what the header asks.
    unsafe {
        let length = vsnprintf(to, room, format, arguments);
        *to.add(room - 1) = 0;
        length
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn duolu_vwarn(with_errno: c_int, format: *const c_char, arguments: *mut c_void) {
    let errno = duolu_sys::syscall::last_errno();
    let mut text = [0u8; 1024];
    if !format.is_null() {
        // SAFETY: as above; the buffer is ours.
        unsafe { duolu_vsnprintf(text.as_mut_ptr().cast(), text.len(), format, arguments) };
    }
    log::warn_bytes(text, (with_errno != 0).then_some(errno));
}

/// The words of a va_list, which is passed as a pointer to them (System V x86-64 ABI, 3.5.7; AAPCS64, appendix B).
#[cfg(target_arch = "x86_64")]
const WORDS: usize = 3;
#[cfg(target_arch = "aarch64")]
const WORDS: usize = 4;

/// A copy of a va_list (va_copy), for who has to read the arguments twice.
pub(crate) struct Arguments([u64; WORDS]);

impl Arguments {
    /// # Safety
    /// `arguments` is a va_list as it was passed, not yet read.
    pub(crate) unsafe fn copy(arguments: *const c_void) -> Self {
        // SAFETY: the caller's. Both ABIs allow a va_list to be copied as it lies there.
        Arguments(unsafe { arguments.cast::<[u64; WORDS]>().read_unaligned() })
    }

    pub(crate) fn pass(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}
