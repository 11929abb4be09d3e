//! A tracepoint of the kernel, read through perf_event_open(2).
//!
//! Nothing in the system is switched on or written to: when the process ends, however it ends, the kernel closes
//! the events with its descriptors.
//!
//! Traps:
//! (a) perf knows tracepoints by number, and the number stands in tracefs, which may not be mounted (see
//!     [`tracefs`]).
//! (b) A tracepoint is counted per processor: one ring each, in no order among each other. Whoever needs an order
//!     sorts by time. A processor that is plugged in later is not seen.
//! (c) It sees every process, every network namespace, every container: what is ours has to be told by the fields.
//! (d) The layout of the fields is the kernel's own business and is read from its description.

mod ring;
mod tracefs;

pub use ring::{Record, Sample, Thread};

use crate::syscall;
use crate::syscall::{io_error, retry};
use ring::Ring;
use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;
use tracefs::Tracefs;

/// Why a tracepoint cannot be read.
#[derive(Debug)]
pub enum TracepointError {
    /// tracefs is neither mounted nor may we mount it for ourselves, or not readable.
    Tracefs(io::Error),
    /// The kernel has no such tracepoint, or describes it in a way that we do not understand.
    Unknown(String),
    /// perf_event_open(2) refuses.
    Refused(io::Error),
    /// The filter is not understood.
    Filter(io::Error),
}

impl fmt::Display for TracepointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TracepointError::Tracefs(error) => write!(f, "tracefs cannot be read: {error}"),
            TracepointError::Unknown(what) => write!(f, "this kernel has no tracepoint {what}"),
            TracepointError::Refused(error) => write!(f, "perf_event_open: {error}"),
            TracepointError::Filter(error) => write!(f, "the tracepoint's filter: {error}"),
        }
    }
}

impl std::error::Error for TracepointError {}

/// A field's place in [`Sample::raw`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    name: String,
    offset: usize,
    size: usize,
}

/// An open tracepoint.
pub struct Tracepoint {
    rings: Vec<Ring>,
    fields: Vec<Field>,
}

impl fmt::Debug for Tracepoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracepoint").field("processors", &self.rings.len()).finish_non_exhaustive()
    }
}

impl Tracepoint {
    /// Opens `group`:`name` on every processor. `filter` in the language of tracefs (`sport == 80`), empty for
    /// everything. `bytes` is the memory for samples in all, shared out evenly; each processor gets 32 KiB at least.
    ///
    /// # Errors
    /// Needs the right to read tracefs (root), and CAP_PERFMON (Linux 5.8) or CAP_SYS_ADMIN, or
    /// `kernel.perf_event_paranoid` -1.
    pub fn open(group: &str, name: &str, filter: &str, bytes: usize) -> Result<Self, TracepointError> {
        let tracefs = Tracefs::open().map_err(TracepointError::Tracefs)?;
        let read = |file: &str| {
            tracefs.read(&format!("events/{group}/{name}/{file}")).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => TracepointError::Unknown(format!("{group}:{name}")),
                _ => TracepointError::Tracefs(error),
            })
        };
        let id = read("id")?;
        let id = id.trim().parse().map_err(|_| TracepointError::Unknown(format!("{group}:{name}")))?;
        let fields: Vec<Field> = read("format")?.lines().filter_map(field).collect();
        let filter =
            CString::new(filter).map_err(|_| TracepointError::Filter(io::ErrorKind::InvalidInput.into()))?;
        let cpus = online();
        let rings = cpus
            .iter()
            .map(|&cpu| open_ring(id, cpu, bytes / cpus.len()))
            .collect::<io::Result<Vec<Ring>>>()
            .map_err(TracepointError::Refused)?;
        for ring in &rings {
            if !filter.is_empty() {
                ring.filter(&filter).map_err(TracepointError::Filter)?;
            }
            ring.enable().map_err(TracepointError::Refused)?;
        }
        Ok(Tracepoint { rings, fields })
    }

    /// Where a field stands.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Sleeps until a ring is a quarter full, `also` is readable, or the time is over.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn wait(&self, also: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
        let rings = self.rings.iter().map(|ring| ring.as_fd().as_raw_fd());
        let mut fds: Vec<libc::pollfd> = rings
            .chain([also.as_raw_fd()])
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
            .collect();
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the kernel writes the `revents` of as many as there are.
        retry(|| syscall!(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) }))
            .map(drop)
            .map_err(io_error)
    }

    /// Hands out what has come since the last time, processor by processor (trap (b)); gives the number of samples
    /// that the kernel had to drop because nobody fetched them in time.
    pub fn drain(&mut self, mut each: impl FnMut(Record<'_>)) -> u64 {
        self.rings.iter_mut().map(|ring| ring.drain(&mut each)).sum()
    }
}

impl Field {
    /// The field's bytes; empty where the sample is too short.
    pub fn bytes<'a>(&self, raw: &'a [u8]) -> &'a [u8] {
        raw.get(self.offset..self.offset + self.size).unwrap_or_default()
    }

    /// The field as a number of one to eight bytes in this machine's order.
    pub fn number(&self, raw: &[u8]) -> u64 {
        let bytes = self.bytes(raw);
        let mut eight = [0; 8];
        if bytes.len() > 8 {
            return 0;
        }
        let at = if cfg!(target_endian = "big") { 8 - bytes.len() } else { 0 };
        eight[at..at + bytes.len()].copy_from_slice(bytes);
        u64::from_ne_bytes(eight)
    }
}

/// As much memory as allowed: without CAP_IPC_LOCK `kernel.perf_event_mlock_kb` (516 KiB by default) holds for all
/// rings of a user on a processor. And with threads' namespaces where they are told: not before Linux 4.12 (EINVAL),
/// and not to those who may read tracepoints only because `kernel.perf_event_paranoid` is -1 (EACCES).
fn open_ring(id: u64, cpu: usize, bytes: usize) -> io::Result<Ring> {
    let most = (bytes / ring::page_size()).clamp(8, 1 << 14);
    let (mut pages, mut threads) = (1 << most.ilog2(), true);
    loop {
        match Ring::open(id, cpu, pages, threads) {
            Err(error) if threads && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) => {
                threads = false;
            }
            Err(error) if pages > 8 && error.raw_os_error() == Some(libc::EPERM) => pages /= 2,
            other => return other,
        }
    }
}

/// `\tfield:unsigned short sport;\toffset:24;\tsize:2;\tsigned:0;`
fn field(line: &str) -> Option<Field> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let name = declaration.split_whitespace().next_back()?.split('[').next()?.trim_start_matches('*');
    let mut value = |key: &str| parts.next()?.strip_prefix(key)?.parse().ok();
    Some(Field { name: name.to_owned(), offset: value("offset:")?, size: value("size:")? })
}

/// The processors that run, from `0-3,8`. Where the file cannot be read, as many as this process may use.
fn online() -> Vec<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let cpus = ranges(text.trim());
    if cpus.is_empty() { (0..crate::process::processors()).collect() } else { cpus }
}

fn ranges(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().take(8192).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_description_of_a_field_is_read() {
        let read = field("\tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;");
        assert_eq!(read, Some(Field { name: "saddr_v6".into(), offset: 40, size: 16 }));
        let read = field("\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;");
        assert_eq!(read.map(|field| field.name), Some("skaddr".into()));
        assert_eq!(field("name: inet_sock_set_state"), None);
        assert_eq!(ranges("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(ranges(""), [0usize; 0]);
    }

    #[test]
    fn a_field_beyond_the_sample_is_nothing() {
        let field = Field { name: "x".into(), offset: 6, size: 4 };
        assert_eq!((field.number(&[0; 8]), field.bytes(&[0; 8]).len()), (0, 0));
        let field = Field { name: "x".into(), offset: 2, size: 2 };
        let raw = [0, 0, 0x1f, 0x90];
        assert_eq!(field.number(&raw), u64::from(u16::from_ne_bytes([0x1f, 0x90])));
    }
}
