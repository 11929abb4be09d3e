//! Which of the kernel's ways to wait a base uses, and its name and features as libevent has them.
//!
//! The program's configuration comes first, then the environment: EVENT_NOEPOLL and so on take one away, and DUOLU_BACKEND
//! names the one to use (io_uring comes in no other way). A program that is setuid reads no environment.

use super::config::{self, event_config};
use crate::event::ev::EV_ET;
use crate::log;
use core::ffi::{CStr, c_char, c_int, c_short};
use duolu_core::Backend;
use duolu_sys::backend::{self, BackendKind, Epoll, Unavailable};

const ET: c_int = 1;
const O1: c_int = 2;
const FDS: c_int = 4;
const EARLY_CLOSE: c_int = 8;

/// What a base has.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    pub name: &'static CStr,
    /// EV_FEATURE_*.
    pub features: c_int,
    pub tells_peer_closed: bool,
    /// EV_ET, or 0 where an edge-triggered event is told as a level-triggered one, and without EV_ET in its reasons.
    pub edges: c_short,
}

struct Known {
    kind: BackendKind,
    method: Method,
    /// Its variable that forbids it.
    forbidden_by: &'static CStr,
}

const fn method(name: &'static CStr, features: c_int) -> Method {
    Method {
        name,
        features,
        tells_peer_closed: features & EARLY_CLOSE != 0,
        edges: if features & ET != 0 { EV_ET } else { 0 },
    }
}

/// In libevent's order of preference. Its names; io_uring, which it does not have, is the true name.
const KNOWN: [Known; 4] = [
    Known {
        kind: BackendKind::Epoll,
        method: method(c"epoll", ET | O1 | EARLY_CLOSE),
        forbidden_by: c"EVENT_NOEPOLL",
    },
    Known {
        kind: BackendKind::Poll,
        method: method(c"poll", FDS | EARLY_CLOSE),
        forbidden_by: c"EVENT_NOPOLL",
    },
    Known { kind: BackendKind::Select, method: method(c"select", FDS), forbidden_by: c"EVENT_NOSELECT" },
    Known {
        kind: BackendKind::IoUring,
        method: method(c"io_uring", ET | O1 | FDS | EARLY_CLOSE),
        forbidden_by: c"EVENT_NOIO_URING",
    },
];
/// Tells that changes are merged before they reach the kernel, which duolu always does.
const WITH_CHANGELIST: &CStr = c"epoll (with changelist)";

unsafe extern "C" {
    fn secure_getenv(name: *const c_char) -> *mut c_char;
}

/// An environment variable's value, unless the program is setuid.
pub fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: a C string; what getenv gives stays as long as nobody changes the environment, which programs do not do
    // while they make bases.
    let value = unsafe { secure_getenv(name.as_ptr()) };
    // SAFETY: as above.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// Opens the first that may be had. `None` where everything is forbidden, with the reason in the log.
pub fn choose(config: Option<&event_config>, flags: &mut u32) -> Option<(Box<dyn Backend>, Method)> {
    let look = *flags & config::IGNORE_ENV == 0;
    let required = config.map_or(0, |config| config.features);
    let avoided =
        |name: &CStr| config.is_some_and(|config| config.avoid.iter().any(|avoid| avoid == name.to_bytes()));
    let allowed = |known: &&Known| {
        !avoided(known.method.name)
            && known.method.features & required == required
            && !(look && variable(known.forbidden_by).is_some())
    };
    let preferred = preferred();
    let first = KNOWN.iter().filter(|known| Some(known.kind) == preferred);
    let others =
        KNOWN.iter().filter(|known| known.kind != BackendKind::IoUring && Some(known.kind) != preferred);
    for known in first.chain(others).filter(allowed) {
        match open(known.kind) {
            Ok(backend) => {
                let mut method = known.method;
                if look && variable(c"EVENT_EPOLL_USE_CHANGELIST").is_some() {
                    *flags |= config::EPOLL_USE_CHANGELIST;
                }
                if known.kind == BackendKind::Epoll && *flags & config::EPOLL_USE_CHANGELIST != 0 {
                    method.name = WITH_CHANGELIST;
                }
                return Some((backend, method));
            }
            Err(unavailable) => log::warnx(format_args!("{unavailable}: trying another method")),
        }
    }
    log::warnx(format_args!("event_base_new_with_config: no event mechanism available"));
    None
}

/// epoll refuses regular files, as programs know it from libevent: some go another way then.
fn open(kind: BackendKind) -> Result<Box<dyn Backend>, Unavailable> {
    match kind {
        BackendKind::Epoll => match Epoll::refusing_files() {
            Ok(epoll) => Ok(Box::new(epoll)),
            // For the reason in words.
            Err(_) => backend::open(kind),
        },
        _ => backend::open(kind),
    }
}

/// What DUOLU_BACKEND asks for.
fn preferred() -> Option<BackendKind> {
    let name = variable(c"DUOLU_BACKEND")?.to_str().unwrap_or("?");
    match name.parse() {
        Ok(kind) => Some(kind),
        Err(unknown) => {
            log::warnx(format_args!("DUOLU_BACKEND: {unknown}"));
            None
        }
    }
}

#[repr(transparent)]
struct Names([*const c_char; 4]);
// SAFETY: names that live for ever, never written to.
unsafe impl Sync for Names {}

static NAMES: Names = Names([c"epoll".as_ptr(), c"poll".as_ptr(), c"select".as_ptr(), core::ptr::null()]);

/// NULL-terminated; the program must not change it.
#[unsafe(no_mangle)]
pub extern "C" fn event_get_supported_methods() -> *const *const c_char {
    NAMES.0.as_ptr()
}
