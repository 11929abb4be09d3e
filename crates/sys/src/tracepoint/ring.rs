//! One processor's ring of samples: what the kernel writes, and we read, without a system call.
//!
//! Traps:
//! (a) The kernel's `data_head` is read with acquire before the data, our `data_tail` is stored with release after
//!     it: or the kernel would write over what is still being read (perf_event_open(2), "MMAP layout").
//! (b) A record may begin at the end of the ring and go on at its start: it is put together in a buffer first.
//! (c) When the ring is full the kernel drops samples, and says how many in a record of their own once there is
//!     room again.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::syscall;
use crate::syscall::{io_error, own};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// Where `data_head`, `data_tail`, `data_offset` and `data_size` stand in the first page: part of the kernel's ABI.
const HEAD: usize = 1024;
const TAIL: usize = 1032;
const OFFSET: usize = 1040;

const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
const RECORD_NAMESPACES: u32 = 16;

/// perf_event_attr as of Linux 4.1 (PERF_ATTR_SIZE_VER5), which has the clock.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_watermark: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

/// One time that the tracepoint was passed.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The process on the processor then, numbered as this process sees it; 0 for none, or one it cannot see. In an
    /// interrupt this is whoever was interrupted.
    pub pid: u32,
    /// Its thread; 0 as above.
    pub tid: u32,
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// The tracepoint's fields, laid out as its format says.
    pub raw: &'a [u8],
}

/// A thread has been started, or has moved to other namespaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thread {
    /// The thread, numbered as this process sees it.
    pub tid: u32,
    /// The inode of its network namespace, as /proc/TID/ns/net has it.
    pub network: u64,
}

/// What stands in a ring.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// The tracepoint was passed.
    Sample(Sample<'a>),
    /// Where a thread is, told before the thread can pass the tracepoint; on kernels since 4.12.
    Thread(Thread),
}

pub(super) struct Ring {
    event: OwnedFd,
    start: NonNull<u8>,
    mapped: usize,
    data_offset: usize,
    data_len: usize,
    record: Vec<u8>,
}

// SAFETY: the mapping belongs to this value alone, and is read through `&mut self`.
unsafe impl Send for Ring {}

impl Ring {
    /// Counts tracepoint `id` on processor `cpu`, every process; `pages` is a power of two.
    pub(super) fn open(id: u64, cpu: usize, pages: usize, threads: bool) -> io::Result<Self> {
        const TYPE_TRACEPOINT: u32 = 2;
        const SAMPLE_TID: u64 = 1 << 1;
        const SAMPLE_TIME: u64 = 1 << 2;
        const SAMPLE_RAW: u64 = 1 << 10;
        const DISABLED: u64 = 1;
        const WATERMARK: u64 = 1 << 14;
        const USE_CLOCKID: u64 = 1 << 25;
        const NAMESPACES: u64 = 1 << 28;
        // Namespaces alone are not told to an event of a whole processor (is_sb_event() forgets them): only beside
        // starts and ends of threads.
        const TASK: u64 = 1 << 13;
        const FLAG_FD_CLOEXEC: libc::c_long = 8;
        let page = page_size();
        let attributes = Attributes {
            kind: TYPE_TRACEPOINT,
            size: size_of::<Attributes>() as u32,
            config: id,
            sample_period: 1,
            sample_type: SAMPLE_TID | SAMPLE_TIME | SAMPLE_RAW,
            flags: DISABLED | WATERMARK | USE_CLOCKID | if threads { TASK | NAMESPACES } else { 0 },
            // A quarter: the reader has the other three to wake up in.
            wakeup_watermark: (pages * page / 4) as u32,
            clockid: libc::CLOCK_MONOTONIC,
            ..Attributes::default()
        };
        let (everybody, no_group): (libc::c_long, libc::c_long) = (-1, -1);
        // SAFETY: the kernel reads `size` bytes of the attributes.
        let event = syscall!(unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                everybody,
                cpu as libc::c_long,
                no_group,
                FLAG_FD_CLOEXEC,
            )
        })
        .map_err(io_error)?;
        let event = own(event as i32);
        let mapped = (pages + 1) * page;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), mapped, access, libc::MAP_SHARED, event.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: mmap never gives address zero unless asked to. From here on the ring's drop unmaps it.
        let start = unsafe { NonNull::new_unchecked(start.cast::<u8>()) };
        let mut ring =
            Ring { event, start, mapped, data_offset: page, data_len: pages * page, record: Vec::new() };
        // Kernels before 4.1 leave the two fields zero; then the data begin after the first page.
        let (offset, len) = (ring.word(OFFSET), ring.word(OFFSET + 8));
        let (offset, len) = (offset.load(Ordering::Relaxed) as usize, len.load(Ordering::Relaxed) as usize);
        if offset >= page && len > 0 && offset + len <= mapped {
            (ring.data_offset, ring.data_len) = (offset, len);
        }
        Ok(ring)
    }

    /// Only samples for which the expression holds are written (tracefs's filter language).
    pub(super) fn filter(&self, expression: &std::ffi::CStr) -> io::Result<()> {
        const SET_FILTER: libc::c_ulong = 0x4008_2406;
        // SAFETY: a string that ends in NUL; the kernel copies it.
        syscall!(unsafe { libc::ioctl(self.event.as_raw_fd(), SET_FILTER, expression.as_ptr()) })
            .map(drop)
            .map_err(io_error)
    }

    /// From now on samples are written.
    pub(super) fn enable(&self) -> io::Result<()> {
        const ENABLE: libc::c_ulong = 0x2400;
        // SAFETY: integers only.
        syscall!(unsafe { libc::ioctl(self.event.as_raw_fd(), ENABLE, 0) }).map(drop).map_err(io_error)
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the words lie in the first page, eight-aligned; the kernel, too, uses them as single words.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// Hands out what has been written since the last time; says how many samples the kernel had to drop.
    pub(super) fn drain(&mut self, each: &mut impl FnMut(Record<'_>)) -> u64 {
        let mut lost = 0;
        let mut tail = self.word(TAIL).load(Ordering::Relaxed);
        // Trap (a).
        let head = self.word(HEAD).load(Ordering::Acquire);
        let mut record = std::mem::take(&mut self.record);
        while head.wrapping_sub(tail) >= 8 {
            let header = self.copy(tail, 8, &mut record);
            let (kind, size) = (u32_at(header, 0), usize::from(u16_at(header, 6)));
            // A size that cannot be would have us go round for ever: give up what is in the ring.
            if size < 8 || size as u64 > head.wrapping_sub(tail) {
                lost += 1;
                tail = head;
                break;
            }
            let body = &self.copy(tail, size, &mut record)[8..];
            match kind {
                RECORD_SAMPLE => match decode(body) {
                    Some(sample) => each(Record::Sample(sample)),
                    None => lost += 1,
                },
                RECORD_NAMESPACES if body.len() >= 32 => {
                    // The first of the namespaces is the network's: device and inode.
                    each(Record::Thread(Thread { tid: u32_at(body, 4), network: u64_at(body, 24) }));
                }
                RECORD_LOST if body.len() >= 16 => lost += u64_at(body, 8),
                _ => {}
            }
            tail = tail.wrapping_add(size as u64);
            // Room for the kernel while we are still reading.
            self.word(TAIL).store(tail, Ordering::Release);
        }
        self.word(TAIL).store(tail, Ordering::Release);
        self.record = record;
        lost
    }

    /// Trap (b).
    fn copy<'a>(&self, from: u64, len: usize, into: &'a mut Vec<u8>) -> &'a [u8] {
        into.clear();
        into.reserve(len);
        let at = (from % self.data_len as u64) as usize;
        let first = len.min(self.data_len - at);
        let data = self.start.as_ptr().wrapping_add(self.data_offset);
        // SAFETY: both parts lie inside the ring's data; the kernel does not write between tail and head.
        unsafe {
            into.extend_from_slice(std::slice::from_raw_parts(data.add(at), first));
            into.extend_from_slice(std::slice::from_raw_parts(data, len - first));
        }
        into
    }
}

/// TID, TIME, RAW: in this order, whatever the order in `sample_type`.
fn decode(body: &[u8]) -> Option<Sample<'_>> {
    let fixed = body.get(..20)?;
    let raw = body.get(20..)?.get(..u32_at(fixed, 16) as usize)?;
    Some(Sample { pid: u32_at(fixed, 0), tid: u32_at(fixed, 4), time_ns: u64_at(fixed, 8), raw })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_ne_bytes([two[0], two[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    if let Some(found) = bytes.get(at..at + 8) {
        eight.copy_from_slice(found);
    }
    u64::from_ne_bytes(eight)
}

pub(super) fn page_size() -> usize {
    // SAFETY: an integer only.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nobody holds a part of it: samples are handed out from a copy.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}
