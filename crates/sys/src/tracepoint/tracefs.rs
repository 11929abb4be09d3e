//! tracefs, where the kernel describes its tracepoints: mounted by the system or, for this process only, by us.

use crate::syscall;
use crate::syscall::{check, io_error, own};
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

/// Where systems mount it.
const MOUNTED: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// A directory of tracefs.
pub(super) struct Tracefs(OwnedFd);

impl Tracefs {
    /// The mounted one, or else one that nobody but the holder of this descriptor sees: a mount that is attached
    /// nowhere (fsmount(2), Linux 5.2), and that is gone when the descriptor is closed, however the process ends.
    pub(super) fn open() -> io::Result<Self> {
        let mut first = None;
        for path in MOUNTED {
            match open_directory(path) {
                // An empty directory means that nothing is mounted there.
                Ok(directory) => {
                    let found = Tracefs(directory);
                    match found.read("events/header_event") {
                        Ok(_) => return Ok(found),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => first = first.or(Some(error)),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => first = first.or(Some(error)),
            }
        }
        detached().map(Tracefs).map_err(|error| first.unwrap_or(error))
    }

    /// A small file below the directory.
    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        let name = CString::new(path).map_err(|_| io::ErrorKind::InvalidInput)?;
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        // SAFETY: a string that ends in NUL; the kernel keeps no pointer to it.
        let fd =
            check(unsafe { libc::openat(self.0.as_raw_fd(), name.as_ptr(), flags) }).map_err(io_error)?;
        let mut text = String::new();
        std::fs::File::from(own(fd)).take(1 << 16).read_to_string(&mut text)?;
        Ok(text)
    }
}

fn open_directory(path: &str) -> io::Result<OwnedFd> {
    let name = CString::new(path).map_err(|_| io::ErrorKind::InvalidInput)?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: as in `read`.
    syscall!(unsafe { libc::open(name.as_ptr(), flags) }).map(own).map_err(io_error)
}

fn detached() -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: libc::c_long = 1;
    const FSMOUNT_CLOEXEC: libc::c_long = 1;
    const FSCONFIG_CMD_CREATE: libc::c_long = 6;
    let nothing = std::ptr::null::<libc::c_char>();
    // SAFETY: a constant string that ends in NUL.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), FSOPEN_CLOEXEC) };
    let context = own(check(context).map_err(io_error)? as i32);
    let number = libc::c_long::from(context.as_raw_fd());
    let zero: libc::c_long = 0;
    // SAFETY: this command takes neither key nor value.
    let made =
        unsafe { libc::syscall(libc::SYS_fsconfig, number, FSCONFIG_CMD_CREATE, nothing, nothing, zero) };
    check(made).map_err(io_error)?;
    // SAFETY: integers only.
    let mount = unsafe { libc::syscall(libc::SYS_fsmount, number, FSMOUNT_CLOEXEC, zero) };
    check(mount).map(|fd| own(fd as i32)).map_err(io_error)
}
