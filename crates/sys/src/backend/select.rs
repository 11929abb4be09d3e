//! select(2) with bit sets of our own.
//!
//! Traps:
//! (a) FD_SETSIZE (1,024) is the C library's limit, not the kernel's: the kernel takes sets of any size. FD_SET
//!     past the end writes over the stack; here the sets are vectors that grow with the highest number.
//! (b) One closed descriptor fails the whole call with EBADF and does not say which one. A poll(2) over
//!     the watched descriptors does.
//! (c) The kernel cuts the sets to the size of the process's table of descriptors: a closed number beyond it
//!     is not refused, and never reported.
//! (d) pselect6 writes the time left into the timespec.
//! (e) The kernel reads and writes whole `long`s: 64 bits each, in the machine's byte order. A word of 32 bits
//!     would be read past its end.

use super::poll::Poll;
use crate::syscall;
use crate::syscall::timespec_of;
use duolu_core::{Backend, Change, Errno, Features, Interest, RawFd, Ready, Report, Token, Trigger, Watch};

const WORD_BITS: usize = 64;
const _: () = assert!(size_of::<libc::c_ulong>() == 8, "trap (e)");

/// The backend `select`. Memory: 16 bytes per number up to the highest.
#[derive(Debug, Default)]
pub struct Select {
    /// What is watched for, one bit per number. A disarmed one-shot has its bits clear.
    wanted: Sets,
    /// Copied from `wanted` for each call; the kernel leaves its answer here.
    answer: Sets,
    /// By number.
    owners: Vec<Option<Owner>>,
    /// Highest watched number plus one; no owner at or past it.
    end: usize,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    token: Token,
    one_shot: bool,
}

/// Both have as many words as are needed for `end` bits, or more.
#[derive(Debug, Default)]
struct Sets {
    read: Vec<u64>,
    write: Vec<u64>,
}

impl Sets {
    fn set(&mut self, number: usize, interest: Interest) {
        let (word, bit) = (number / WORD_BITS, 1 << (number % WORD_BITS));
        for (set, flag) in [(&mut self.read, Interest::READ), (&mut self.write, Interest::WRITE)] {
            if word >= set.len() {
                set.resize(word + 1, 0);
            }
            set[word] = if interest.intersects(flag) { set[word] | bit } else { set[word] & !bit };
        }
    }
}

impl Select {
    /// Empty. Needs nothing from the kernel, so it cannot fail.
    pub fn new() -> Self {
        Self::default()
    }

    fn set(&mut self, token: Token, watch: Watch) -> Result<(), Errno> {
        let number = usize::try_from(token.fd()).map_err(|_| Errno(libc::EBADF))?;
        if number >= self.owners.len() {
            self.owners.resize(number + 1, None);
        }
        self.owners[number] = Some(Owner { token, one_shot: watch.trigger == Trigger::OneShot });
        self.wanted.set(number, watch.interest);
        self.end = self.end.max(number + 1);
        Ok(())
    }

    fn unset(&mut self, fd: RawFd) {
        let Ok(number) = usize::try_from(fd) else { return };
        if number >= self.end || self.owners[number].take().is_none() {
            return;
        }
        self.wanted.set(number, Interest::NONE);
        while self.end > 0 && self.owners[self.end - 1].is_none() {
            self.end -= 1;
        }
    }

    fn call(&mut self, timeout_ns: Option<u64>) -> Result<usize, Errno> {
        let words = self.end.div_ceil(WORD_BITS);
        self.answer.read.clone_from(&self.wanted.read);
        self.answer.write.clone_from(&self.wanted.write);
        debug_assert!(self.answer.read.len() >= words && self.answer.write.len() >= words);
        let mut timeout = timespec_of(timeout_ns.unwrap_or(0));
        let timeout_ptr = if timeout_ns.is_some() { &raw mut timeout } else { std::ptr::null_mut() };
        // SAFETY: both sets have at least `end` bits in whole words; trap (d): the timeout may be written; no
        // third set, no signal mask.
        let count = unsafe {
            libc::syscall(
                libc::SYS_pselect6,
                self.end,
                self.answer.read.as_mut_ptr(),
                self.answer.write.as_mut_ptr(),
                std::ptr::null_mut::<u64>(),
                timeout_ptr,
                std::ptr::null::<libc::c_void>(),
            )
        };
        syscall!(count).map(|count| count as usize)
    }

    /// `bits` bits are set in `answer`.
    fn collect(&mut self, mut bits: usize, reports: &mut Vec<Report>) {
        for word in 0..self.end.div_ceil(WORD_BITS) {
            if bits == 0 {
                return;
            }
            let (read, write) = (self.answer.read[word], self.answer.write[word]);
            bits -= (read.count_ones() + write.count_ones()) as usize;
            let mut either = read | write;
            while either != 0 {
                let bit = either.trailing_zeros() as usize;
                either &= either - 1;
                let number = word * WORD_BITS + bit;
                let Some(owner) = self.owners[number] else { continue };
                let bit_as = |set: u64, ready: Ready| if set >> bit & 1 == 1 { ready } else { Ready::NONE };
                let ready = bit_as(read, Ready::READ) | bit_as(write, Ready::WRITE);
                reports.push(Report { token: owner.token, ready });
                if owner.one_shot {
                    self.wanted.set(number, Interest::NONE);
                }
            }
        }
    }

    /// Trap (b): lets go of the closed ones and reports each as INVALID.
    #[cold]
    fn bury(&mut self, reports: &mut Vec<Report>) -> Result<(), Errno> {
        let mut probe = Poll::new();
        for owner in self.owners[..self.end].iter().flatten() {
            probe.set(owner.token, Watch::default())?;
        }
        let mut found = Vec::new();
        probe.wait(Some(0), &mut found)?;
        for report in found.into_iter().filter(|report| report.ready.intersects(Ready::INVALID)) {
            self.unset(report.token.fd());
            reports.push(report);
        }
        Ok(())
    }
}

impl Backend for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn features(&self) -> Features {
        Features {
            edge: false,
            exact_edges: false,
            one_shot: false,
            peer_closed: false,
            o_ready: false,
            nanosecond_timeout: true,
            batched_changes: true,
            embeddable: false,
            exclusive: false,
            transfers: false,
            max_fd: None,
        }
    }

    fn apply(&mut self, change: Change) -> Result<(), Errno> {
        match change {
            Change::Add { token, watch } | Change::Modify { token, watch } => self.set(token, watch),
            Change::Remove { token } => {
                self.unset(token.fd());
                Ok(())
            }
        }
    }

    fn wait(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno> {
        match self.call(timeout_ns) {
            Ok(bits) => self.collect(bits, reports),
            Err(Errno(libc::EINTR)) => {}
            Err(Errno(libc::EBADF)) => {
                self.bury(reports)?;
                if let Ok(bits) = self.call(Some(0)) {
                    self.collect(bits, reports);
                }
            }
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn reinit(&mut self) -> Result<(), Errno> {
        *self = Self::new();
        Ok(())
    }

    fn descriptor(&mut self) -> Option<RawFd> {
        None
    }
}
