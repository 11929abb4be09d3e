//! poll(2): the whole list goes to the kernel at each wait.
//!
//! Traps:
//! (a) POLLNVAL comes again at every wait for as long as the dead descriptor is in the list: let go at once.
//! (b) ERR and HUP are reported even with no events asked for. So a disarmed one-shot cannot stay in the list
//!     with `events = 0`: its number is negated, which the kernel skips.
//! (c) poll(2) has milliseconds; ppoll(2) has nanoseconds, but as a system call it writes the time left into
//!     the timespec. glibc hides that; the copy here is thrown away.
//! (d) The kernel refuses (EINVAL) a list longer than RLIMIT_NOFILE, even of one dead descriptor.

use super::{bits_of, ready_of};
use crate::syscall;
use crate::syscall::timespec_of;
use duolu_core::{Backend, Change, Errno, Features, RawFd, Ready, Report, Token, Trigger, Watch};

/// No place in the list.
const ABSENT: u32 = u32::MAX;

/// The backend `poll`. Memory: 20 bytes per watched descriptor and 4 per number up to the highest.
#[derive(Debug, Default)]
pub struct Poll {
    /// Dense: what the kernel gets. Negative (`!fd`) while disarmed, trap (b).
    list: Vec<libc::pollfd>,
    /// Same order as `list`.
    owners: Vec<(Token, bool)>,
    /// Descriptor number to place in `list`, or `ABSENT`.
    places: Vec<u32>,
    /// How many of `list` are not disarmed.
    armed: usize,
}

impl Poll {
    /// Empty. Needs nothing from the kernel, so it cannot fail.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a wait could report anything.
    pub(super) fn has_armed(&self) -> bool {
        self.armed > 0
    }

    fn place_of(&self, fd: RawFd) -> Option<usize> {
        let place = *self.places.get(usize::try_from(fd).ok()?)?;
        (place != ABSENT).then_some(place as usize)
    }

    /// Adds the descriptor or replaces what is known of it.
    pub(super) fn set(&mut self, token: Token, watch: Watch) -> Result<(), Errno> {
        let number = usize::try_from(token.fd()).map_err(|_| Errno(libc::EBADF))?;
        let entry = libc::pollfd { fd: token.fd(), events: bits_of(watch.interest) as i16, revents: 0 };
        let owner = (token, watch.trigger == Trigger::OneShot);
        if let Some(place) = self.place_of(token.fd()) {
            self.armed += usize::from(self.list[place].fd < 0);
            (self.list[place], self.owners[place]) = (entry, owner);
            return Ok(());
        }
        if self.list.try_reserve(1).is_err() || self.owners.try_reserve(1).is_err() {
            return Err(Errno(libc::ENOMEM));
        }
        if number >= self.places.len() {
            let more = number + 1 - self.places.len();
            self.places.try_reserve(more).map_err(|_| Errno(libc::ENOMEM))?;
            self.places.resize(number + 1, ABSENT);
        }
        self.places[number] = self.list.len() as u32;
        self.list.push(entry);
        self.owners.push(owner);
        self.armed += 1;
        Ok(())
    }

    /// Takes the descriptor out; the last in the list moves into its place.
    pub(super) fn unset(&mut self, fd: RawFd) {
        let Some(place) = self.place_of(fd) else { return };
        self.armed -= usize::from(self.list[place].fd >= 0);
        self.list.swap_remove(place);
        self.owners.swap_remove(place);
        self.places[fd as usize] = ABSENT;
        if let Some((moved, _)) = self.owners.get(place) {
            self.places[moved.fd() as usize] = place as u32;
        }
    }

    /// Turns the kernel's answers into reports. `count` entries of the list have one.
    fn collect(&mut self, mut count: usize, reports: &mut Vec<Report>) {
        let mut place = 0;
        while count > 0 && place < self.list.len() {
            let entry = &mut self.list[place];
            if entry.revents == 0 {
                place += 1;
                continue;
            }
            count -= 1;
            let (token, one_shot) = self.owners[place];
            if entry.revents & libc::POLLNVAL != 0 {
                reports.push(Report { token, ready: Ready::INVALID });
                // Trap (a). The one that moves here is looked at next.
                self.unset(token.fd());
                continue;
            }
            reports.push(Report { token, ready: ready_of(entry.revents as u16 as u32) });
            if one_shot {
                entry.fd = !entry.fd;
                self.armed -= 1;
            }
            place += 1;
        }
    }
}

impl Backend for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn features(&self) -> Features {
        Features {
            edge: false,
            exact_edges: false,
            one_shot: false,
            peer_closed: true,
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
        let mut timeout = timespec_of(timeout_ns.unwrap_or(0));
        let timeout_ptr = if timeout_ns.is_some() { &raw mut timeout } else { std::ptr::null_mut() };
        // SAFETY: `list` and the timeout outlive the call; no signal mask. Trap (c): the timeout may be written.
        let count = unsafe {
            libc::ppoll(
                self.list.as_mut_ptr(),
                self.list.len() as libc::nfds_t,
                timeout_ptr,
                std::ptr::null(),
            )
        };
        match syscall!(count) {
            Ok(count) => self.collect(count as usize, reports),
            Err(Errno(libc::EINTR)) => {}
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
