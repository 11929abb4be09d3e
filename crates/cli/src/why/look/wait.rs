//! What a thread is in at one moment: the call, its descriptor, and for poll and select the descriptors they watch.
//!
//! Traps:
//! (a) /proc/PID/task/TID/syscall needs the permission to attach; wchan needs less and tells less: poll and select wait
//!     in the same kernel function, and no descriptor is named.
//! (b) The watched descriptors lie in the program's memory. They count only if the thread is in the same call before and
//!     after they are read: then nobody can have changed them but another thread, which would be a bug of the program.
//! (c) A 32-bit program has other numbers (and other structures): only wchan is used for it.
//! (d) restart_syscall hides what was interrupted: wchan again.

use duolu_sys::calls::{CallKind, call};
use std::borrow::Cow;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum What {
    /// It runs, or could: on a processor or in the queue for one.
    Running,
    /// It waits in a system call.
    In(CallKind),
    /// It waits in poll or in select; which one could not be read.
    PollOrSelect,
    /// It waits; in what could not be read.
    Hidden,
}

/// What a thread does, on what.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Doing {
    /// The kind.
    pub what: What,
    /// The descriptor that it waits on, where the call has one and it could be read.
    pub fd: Option<i32>,
    /// The name of the call, or of the kernel's function.
    pub call: Cow<'static, str>,
}

/// The descriptors that a poll or a select watches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Set {
    /// Their numbers, in order, without repeats.
    pub fds: Vec<i32>,
    /// For select: the sets are of the program's own making, not the C library's of 1024 places.
    pub is_own_size: bool,
}

/// A thread at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// What it did.
    pub doing: Doing,
    /// What it watched.
    pub set: Option<Set>,
    /// Whether its system call could be read (see (a)).
    pub is_whole: bool,
}

/// As many descriptors of a poll are read every time; more only when they are asked for.
pub const FEW: u64 = 4096;
/// Nobody polls more.
const MOST: u64 = 1 << 21;

impl Doing {
    fn plain(what: What, call: impl Into<Cow<'static, str>>) -> Self {
        Doing { what, fd: None, call: call.into() }
    }

    /// Whether it waits for any of several things, as event loops do.
    pub fn is_multiplexing(&self) -> bool {
        use CallKind::{Epoll, Poll, Ring, Select};
        matches!(self.what, What::In(Epoll | Poll | Select | Ring) | What::PollOrSelect)
    }
}

/// Looks at a thread. `all_sets`: read also sets of more than [`FEW`] descriptors. `None`: it has ended.
pub fn look(pid: u32, tid: u32, is_32_bit: bool, all_sets: bool) -> Option<Moment> {
    let folder = format!("/proc/{pid}/task/{tid}");
    // Trap (c).
    let read = || if is_32_bit { None } else { fs::read_to_string(format!("{folder}/syscall")).ok() };
    let Some(text) = read() else { return by_function(&folder) };
    let Some(frame) = frame(&text) else {
        return Some(Moment { doing: Doing::plain(What::Running, ""), set: None, is_whole: true });
    };
    let Some((name, kind)) = call(frame.number).filter(|(name, _)| *name != "restart_syscall") else {
        return by_function(&folder).map(|moment| Moment { is_whole: true, ..moment });
    };
    let mut doing = Doing::plain(What::In(kind), name);
    use CallKind::{Accept, Connect, Epoll, Poll, Read, Ring, Select, Write};
    if matches!(kind, Accept | Connect | Epoll | Read | Ring | Write) {
        doing.fd = Some(frame.arguments[0] as u32 as i32);
    }
    let set = match kind {
        Poll => poll_set(pid, &frame, all_sets),
        Select => select_set(pid, &frame, all_sets),
        _ => None,
    };
    // Trap (b).
    let set = set.filter(|_| read().is_some_and(|again| again == text));
    Some(Moment { doing, set, is_whole: true })
}

/// Trap (a): the kernel's function tells the kind.
fn by_function(folder: &str) -> Option<Moment> {
    let state = super::process::state(&format!("{folder}/stat"))?;
    if matches!(state, 'Z' | 'X') {
        return None;
    }
    let whole = |doing| Some(Moment { doing, set: None, is_whole: false });
    if state == 'R' {
        return whole(Doing::plain(What::Running, ""));
    }
    let function = fs::read_to_string(format!("{folder}/wchan")).unwrap_or_default();
    whole(function_doing(function.trim()))
}

fn function_doing(function: &str) -> Doing {
    use CallKind::{Accept, Child, Epoll, Futex, Read, Ring, Signal, Sleep};
    // A compiler may append ".isra.0" or ".constprop.0".
    let name = function.split('.').next().unwrap_or("");
    let what = match name {
        "" | "0" => What::Hidden,
        "do_epoll_wait" | "ep_poll" => What::In(Epoll),
        "poll_schedule_timeout" | "do_sys_poll" | "do_select" | "do_poll" => What::PollOrSelect,
        "io_cqring_wait" => What::In(Ring),
        "inet_csk_accept" | "inet_csk_wait_for_connect" => What::In(Accept),
        "wait_woken" | "sk_wait_data" | "tcp_recvmsg" | "pipe_read" | "anon_pipe_read" => What::In(Read),
        "hrtimer_nanosleep" | "do_nanosleep" => What::In(Sleep),
        "do_wait" | "kernel_wait4" | "kernel_waitid" => What::In(Child),
        "sigsuspend" | "do_sigtimedwait" | "sys_pause" => What::In(Signal),
        name if name.starts_with("futex_") => What::In(Futex),
        _ => What::In(CallKind::Other),
    };
    Doing::plain(what, if what == What::Hidden { String::new() } else { name.to_owned() })
}

struct Frame {
    number: i64,
    arguments: [u64; 6],
}

/// `232 0x7 0x55ac73b0feb0 0x200 ...`; `running`; `-1 sp pc` outside of a call.
fn frame(text: &str) -> Option<Frame> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut argument =
        || words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let arguments = std::array::from_fn(|_| argument().unwrap_or(0));
    Some(Frame { number, arguments })
}

fn memory(pid: u32, address: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(bytes).ok()?];
    File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut buffer, address).ok()?;
    Some(buffer)
}

/// poll(fds, nfds, ...) and ppoll: struct pollfd { int fd; short events; short revents; }.
fn poll_set(pid: u32, frame: &Frame, all: bool) -> Option<Set> {
    let [address, count, ..] = frame.arguments;
    if count > if all { MOST } else { FEW } {
        return None;
    }
    let bytes = memory(pid, address, count * 8)?;
    let fds = bytes.chunks_exact(8).filter_map(|entry| Some(i32::from_ne_bytes(*entry.first_chunk()?)));
    Some(set(fds.filter(|&fd| fd >= 0).collect(), false))
}

/// select(nfds, readfds, writefds, exceptfds, ...) and pselect6: bits in words of the machine.
fn select_set(pid: u32, frame: &Frame, all: bool) -> Option<Set> {
    let [count, sets @ .., _, _] = frame.arguments;
    if count > if all { MOST } else { FEW } {
        return None;
    }
    let mut fds = Vec::new();
    for address in sets.into_iter().filter(|&address| address != 0) {
        let bytes = memory(pid, address, count.div_ceil(64) * 8)?;
        for (at, word) in bytes.chunks_exact(8).enumerate() {
            let word = u64::from_ne_bytes(*word.first_chunk()?);
            fds.extend((0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| (at * 64 + bit) as i32));
        }
    }
    fds.retain(|&fd| (fd as u64) < count);
    Some(set(fds, are_own_size(count, &sets)))
}

/// The C library's fd_set takes 128 bytes. Sets that lie closer together, or hold more than 1024, are not that.
fn are_own_size(count: u64, sets: &[u64]) -> bool {
    const FD_SET_BYTES: u64 = 128;
    let near = |(at, &one): (usize, &u64)| {
        sets[at + 1..].iter().any(|&other| one != 0 && other != 0 && one.abs_diff(other) < FD_SET_BYTES)
    };
    count > 8 * FD_SET_BYTES || sets.iter().enumerate().any(near)
}

fn set(mut fds: Vec<i32>, is_own_size: bool) -> Set {
    fds.sort_unstable();
    fds.dedup();
    Set { fds, is_own_size }
}

/// Trap (c): the class byte of the program's ELF head.
pub fn is_32_bit(pid: u32) -> bool {
    let mut head = [0; 5];
    let read = File::open(format!("/proc/{pid}/exe")).and_then(|exe| exe.read_exact_at(&mut head, 0));
    read.is_ok() && head == [0x7f, b'E', b'L', b'F', 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Looks at a thread of this process until it waits as expected.
    fn look_for(what: What, body: impl FnOnce(UnixStream) + Send + 'static) -> Moment {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (tell, told) = mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get() as u32).expect("we wait");
            body(theirs);
        });
        let (pid, tid) = (std::process::id(), told.recv().expect("started"));
        let until = Instant::now() + Duration::from_secs(20);
        let moment = loop {
            let moment = look(pid, tid, is_32_bit(pid), true).expect("it lives");
            if moment.doing.what == what {
                break moment;
            }
            assert!(Instant::now() < until, "{moment:?}");
            thread::sleep(Duration::from_millis(2));
        };
        drop(ours); // end of file: it is woken
        waiting.join().expect("no panic");
        moment
    }

    #[test]
    fn a_blocking_read_names_its_descriptor() {
        let moment = look_for(What::In(CallKind::Read), |stream| {
            let _ = std::io::Read::read(&mut &stream, &mut [0]);
        });
        assert!(moment.doing.fd.is_some_and(|fd| fd > 2) && moment.is_whole, "{moment:?}");
    }

    #[test]
    fn a_poll_tells_what_it_watches() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let number = listener.as_raw_fd();
        let own = listener.try_clone().expect("a copy");
        let moment = look_for(What::In(CallKind::Poll), move |stream| {
            let mut fds = [PollFd::new(&stream, PollFlags::IN), PollFd::new(&own, PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, None);
        });
        let set = moment.set.expect("read");
        // The other is the copy of the listener, or the listener: numbers differ, the socket is one.
        assert_eq!(set.fds.len(), 2);
        assert!(!set.is_own_size && set.fds.iter().any(|&fd| fd > number), "{set:?}");
        drop(listener);
    }

    #[test]
    fn sets_of_the_c_library_have_their_size() {
        assert!(!are_own_size(20, &[0x1000, 0x1080, 0]));
        assert!(!are_own_size(1024, &[0x1000, 0, 0]));
        assert!(are_own_size(20, &[0x1000, 0x1030, 0]));
        assert!(are_own_size(1025, &[0x1000, 0, 0]));
    }

    #[test]
    fn functions_of_the_kernel_tell_the_kind_where_calls_are_hidden() {
        let of = |name| function_doing(name).what;
        assert_eq!(of("poll_schedule_timeout.constprop.0"), What::PollOrSelect);
        assert_eq!(of("do_epoll_wait"), What::In(CallKind::Epoll));
        assert_eq!(of("futex_do_wait"), What::In(CallKind::Futex));
        assert_eq!(of("inet_csk_accept"), What::In(CallKind::Accept));
        assert_eq!(of("0"), What::Hidden);
        assert_eq!(function_doing("jbd2_log_wait_commit").call, "jbd2_log_wait_commit");
    }

    #[test]
    fn frames_are_read_as_the_kernel_writes_them() {
        let read = frame("232 0x7 0x55ac73b0feb0 0x200 0xffffffff 0x0 0x0 0x7ffc 0x7fb2\n").expect("a call");
        assert_eq!((read.number, read.arguments[0], read.arguments[3]), (232, 7, 0xffff_ffff));
        assert!(frame("running\n").is_none());
        assert_eq!(frame("-1 0x7ffc 0x7fb2\n").expect("blocked").number, -1);
    }
}
