//! Who watches which descriptor, and what the kernel must be told about it.
//!
//! Every pending event on a descriptor is in that descriptor's list; the kernel is asked for the union of
//! their interests. The rules that keep a closed, duplicated or reused descriptor from spinning or from
//! reaching the wrong owner:
//!
//! (a) The first event on a descriptor is told to the kernel at once, so that its refusal is the caller's.
//! (b) Interests that change while the kernel knows the descriptor are merged and told before the next wait.
//! (c) An event removed and added again looks unchanged, but its number may mean another file by now. Only
//!     where the loop holds the descriptor open itself (`owned`) is the system call skipped; elsewhere the
//!     kernel is told again at once, under a new generation; or, by the rules, before the next wait, once however often that
//!     happens, and until then what it reports under the old one resolves to nothing.
//! (d) Edge and one-shot: adding must report what is ready already, so the kernel is always told again.
//! (e) A descriptor found not to be open is dead until something is added to it again: never told, never retried.

use crate::backend::{Change, RawFd, Report, Token, Watch, said};
use crate::event::{EDGE, EXCLUSIVE, Event, LISTED, NONE, ON_FD, ONE_SHOT, OWNED, SIMPLE};
use crate::interest::{Interest, Ready, Trigger};
use crate::reactor::Refused;
use crate::slots::{Slots, reserve_table};
use alloc::vec::Vec;

/// Highest number accepted: a guard against garbage, far above any limit the kernel gives out by default.
const MAX_FD: RawFd = 1 << 24;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Descriptor {
    /// A promise, so that a report is resolved with one comparison: registered, with one event only, about
    /// which being told exactly this changes nothing. Made when a report was found to be such a one; whatever
    /// changes the row, its list or its event takes it back. [`NOT_PLAIN`]: none.
    plain: Ready,
    /// Of the present registration; what tokens are compared with.
    pub(crate) generation: u32,
    /// The first pending event.
    pub(crate) head: u32,
    /// Union over the list.
    wanted: Interest,
    /// What the kernel watches for; empty after a one-shot report.
    known: Interest,
    /// The trigger among them.
    flags: u8,
    /// The promise that the next change makes anew, of READ and WRITE; none: it makes none.
    lent: u8,
}

/// A promise of no more than this is kept while its event is lent.
const LENT: u32 = Ready::READ.with(Ready::WRITE).bits();

/// What no report says.
const NOT_PLAIN: Ready = Ready::USER;

/// The kernel has a registration with our present token.
const IN_KERNEL: u8 = 1;
/// Queued for the next flush.
const DIRTY: u8 = 2;
/// Told again even if nothing looks different.
const REARM: u8 = 4;
/// An event that did not own the descriptor has left: the number may mean another file.
const SUSPECT: u8 = 8;
/// Not open, as the kernel said.
const DEAD: u8 = 16;
/// Registered with EPOLLEXCLUSIVE.
const ALONE: u8 = 32;
/// The trigger; neither: level.
const EDGES: u8 = 64;
const ONCE: u8 = 128;

const VACANT: Descriptor = Descriptor {
    plain: NOT_PLAIN,
    generation: 0,
    head: NONE,
    wanted: Interest::NONE,
    known: Interest::NONE,
    flags: 0,
    lent: 0,
};

const _: () = assert!(size_of::<Descriptor>() == 16);

#[derive(Debug)]
pub(crate) struct Watches {
    table: Vec<Descriptor>,
    /// Beside the table, where promises are made with one: what the face wants to know when such a promise holds, see
    /// [`crate::Engine::next_word`]. Without a promise they mean nothing.
    words: Vec<u64>,
    dirty: Vec<RawFd>,
    /// What its last event left last; -1: taken. See [`crate::Rules::lets_go`].
    left: RawFd,
    /// Of one descriptor's events the one that was added last is told first (else last).
    pub(crate) newest_first: bool,
    /// [`crate::Rules::tells_late`].
    pub(crate) tells_late: bool,
}

impl Descriptor {
    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    pub(crate) fn is_one_shot(&self) -> bool {
        self.has(ONCE)
    }

    fn trigger(&self) -> Trigger {
        match self.flags & (EDGES | ONCE) {
            0 => Trigger::Level,
            EDGES => Trigger::Edge,
            _ => Trigger::OneShot,
        }
    }

    fn set_trigger(&mut self, trigger: Trigger) {
        let flag = match trigger {
            Trigger::Level => 0,
            Trigger::Edge => EDGES,
            Trigger::OneShot => ONCE,
        };
        self.flags = self.flags & !(EDGES | ONCE) | flag;
    }

    fn watch(&self) -> Watch {
        Watch { interest: self.wanted, trigger: self.trigger(), exclusive: self.has(ALONE) }
    }

    /// Takes the promise back.
    #[inline]
    fn unpromise(&mut self) {
        (self.plain, self.lent) = (NOT_PLAIN, 0);
    }

    /// Makes the promise that was lent, if one was.
    #[inline]
    fn promise_again(&mut self) {
        self.plain = if self.lent == 0 { NOT_PLAIN } else { Ready::from_bits(u32::from(self.lent)) };
    }

    /// The kernel is being told all we want, under a new generation where the file may be another one.
    fn told(&mut self, fd: RawFd, fresh: bool) -> Token {
        if fresh {
            self.generation = self.generation.wrapping_add(1);
        }
        self.known = self.wanted;
        self.promise_again();
        self.flags = (self.flags | IN_KERNEL) & !(REARM | SUSPECT | DEAD);
        Token::new(fd, self.generation)
    }

    fn let_go(&mut self) {
        self.known = Interest::NONE;
        self.unpromise();
        self.flags &= !(IN_KERNEL | REARM);
    }
}

/// See [`Watches::plain_word`].
#[inline(always)]
fn word_of(table: &[Descriptor], words: &[u64], report: &Report) -> Option<u64> {
    let number = report.token.fd() as usize;
    let (watched, word) = (table.get(number)?, words.get(number)?);
    (said(watched.plain, watched.generation) == report.said()).then_some(*word)
}

impl Watches {
    pub(crate) const fn new() -> Self {
        Watches {
            table: Vec::new(),
            words: Vec::new(),
            dirty: Vec::new(),
            left: -1,
            newest_first: false,
            tells_late: false,
        }
    }

    /// Links a pending event. `Some` change must be applied at once, and `detach` undoes a refused one.
    pub(crate) fn attach(
        &mut self,
        events: &mut Slots<Event>,
        index: u32,
    ) -> Result<Option<Change>, Refused> {
        let event = &events[index];
        let (fd, interest, trigger, owned) = (event.number, event.interest, event.trigger(), event.is(OWNED));
        let alone = event.is(EXCLUSIVE);
        if !(0..MAX_FD).contains(&fd) {
            return Err(Refused::BadDescriptor(fd));
        }
        if interest.is_empty() {
            return Err(Refused::NoInterest);
        }
        if self.table.len() <= fd as usize {
            let rows = fd as usize + 1;
            let room = reserve_table(&mut self.table, rows);
            // Each is in the list of changes once at most.
            room.and_then(|()| reserve_table(&mut self.dirty, rows)).map_err(|_| Refused::NoMemory)?;
            self.table.resize(fd as usize + 1, VACANT);
        }
        let watched = &mut self.table[fd as usize];
        if watched.head == NONE {
            if watched.trigger() != trigger || watched.has(ALONE) != alone {
                watched.flags |= REARM;
            }
            watched.set_trigger(trigger);
            watched.flags = watched.flags & !ALONE | if alone { ALONE } else { 0 };
        } else if watched.trigger() != trigger {
            return Err(Refused::MixedTriggers);
        } else if alone || watched.has(ALONE) {
            return Err(Refused::NotAlone);
        }
        watched.wanted |= interest;
        let known = watched.has(IN_KERNEL);
        let sure = known && owned && !watched.has(SUSPECT) && all_owned(events, watched.head);
        if sure || known && self.tells_late {
            if !sure {
                watched.flags |= SUSPECT | REARM; // (c)
            } else if trigger != Trigger::Level {
                watched.flags |= REARM; // (d)
            }
            if watched.wanted != watched.known || watched.has(REARM) {
                self.mark(fd);
            }
            self.link(events, fd, index);
            return Ok(None);
        }
        let token = watched.told(fd, true);
        let watch = watched.watch();
        self.link(events, fd, index);
        Ok(Some(if known { Change::Modify { token, watch } } else { Change::Add { token, watch } }))
    }

    /// Links an event that was removed and is added again, alone on its descriptor: no more than this for a non-persistent
    /// event that is re-armed. Rule (c) holds. False: `attach` must look closer.
    #[inline]
    pub(crate) fn reattach(&mut self, events: &mut Slots<Event>, index: u32) -> bool {
        const KINDS: u8 = ON_FD | EDGE | ONE_SHOT | EXCLUSIVE;
        const FLAGS: u8 = IN_KERNEL | DEAD | ALONE | EDGES | ONCE;
        let event = &mut events[index];
        let Some(watched) = self.table.get_mut(event.number as usize) else { return false };
        if event.kind & KINDS != ON_FD
            || event.interest.is_empty()
            || watched.head != NONE
            || watched.flags & FLAGS != IN_KERNEL
        {
            return false;
        }
        let owned = event.is(OWNED);
        let unchanged = watched.flags & (REARM | SUSPECT) == 0 && watched.known == event.interest;
        if owned && !unchanged || !owned && !self.tells_late {
            return false;
        }
        event.state |= LISTED;
        event.next = NONE;
        watched.head = index;
        watched.wanted = event.interest;
        if !owned {
            watched.flags |= SUSPECT | REARM;
            let fd = event.number;
            self.mark(fd);
        }
        true
    }

    /// At the tail: events of one descriptor are told in the order they were added. At the head where that is turned.
    fn link(&mut self, events: &mut Slots<Event>, fd: RawFd, index: u32) {
        let event = &mut events[index];
        event.state |= LISTED;
        event.next = NONE;
        let watched = &mut self.table[fd as usize];
        watched.unpromise();
        let mut at = watched.head;
        if at == NONE || self.newest_first {
            watched.head = index;
            events[index].next = at;
            return;
        }
        while events[at].next != NONE {
            at = events[at].next;
        }
        events[at].next = index;
    }

    /// Unlinks a pending event; the kernel is told by the next flush.
    pub(crate) fn detach(&mut self, events: &mut Slots<Event>, index: u32) {
        let event = &mut events[index];
        debug_assert!(event.has(LISTED));
        event.state &= !LISTED;
        let (fd, next, owned) = (event.number, event.next, event.is(OWNED));
        let watched = &mut self.table[fd as usize];
        watched.unpromise();
        if watched.head == index && next == NONE {
            // As `recompute`, for the only event.
            (watched.head, watched.wanted) = (NONE, Interest::NONE);
            watched.flags |= if owned { 0 } else { SUSPECT };
            self.left = fd;
            if watched.known != Interest::NONE {
                self.mark(fd);
            }
            return;
        }
        if watched.head == index {
            watched.head = next;
        } else {
            let mut at = watched.head;
            while events[at].next != index {
                at = events[at].next;
            }
            events[at].next = next;
        }
        if !owned {
            watched.flags |= SUSPECT;
        }
        self.recompute(events, fd);
    }

    /// Takes the union anew after an event left or changed its interest.
    pub(crate) fn recompute(&mut self, events: &Slots<Event>, fd: RawFd) {
        let watched = &mut self.table[fd as usize];
        let (mut wanted, mut at) = (Interest::NONE, watched.head);
        while at != NONE {
            wanted |= events[at].interest;
            at = events[at].next;
        }
        watched.wanted = wanted;
        watched.unpromise();
        if wanted != watched.known {
            self.mark(fd);
        }
    }

    /// The only event of `fd` is called back, after which it is as if it had left and come again: rule (c). Once the kernel has
    /// been told, what is asked for will be plain.
    #[inline(always)]
    pub(crate) fn lend(&mut self, fd: RawFd) {
        let Some(watched) = self.table.get_mut(fd as usize) else { return };
        let is_new = !watched.has(DIRTY);
        watched.flags |= SUSPECT | REARM | DIRTY;
        let plain = watched.plain.bits();
        watched.lent = if plain & !LENT == 0 { plain as u8 } else { 0 };
        watched.plain = NOT_PLAIN;
        if is_new {
            self.dirty.push(fd);
        }
    }

    /// Makes the promise [`Descriptor::plain`] for reports like this one.
    pub(crate) fn promise_plain(&mut self, report: &Report) {
        self.table[report.token.fd() as usize].plain = report.ready;
    }

    /// The same with a word; not without the memory for it.
    pub(crate) fn promise_word(&mut self, report: &Report, word: u64) {
        let number = report.token.fd() as usize;
        if self.words.len() <= number {
            if reserve_table(&mut self.words, number + 1).is_err() {
                return;
            }
            self.words.resize(number + 1, 0);
        }
        self.words[number] = word;
        self.promise_plain(report);
    }

    /// Nothing may go the short way any more.
    pub(crate) fn none_plain(&mut self) {
        for watched in &mut self.table {
            watched.unpromise();
        }
    }

    /// An event on `fd` is not what it was.
    pub(crate) fn not_plain(&mut self, fd: RawFd) {
        if let Some(watched) = self.table.get_mut(fd as usize) {
            watched.unpromise();
        }
    }

    /// The only event of the report's descriptor, where [`Descriptor::plain`] is kept for such reports.
    #[inline(always)]
    pub(crate) fn plain_event(&self, report: &Report) -> Option<u32> {
        let watched = self.table.get(report.token.fd() as usize)?;
        (said(watched.plain, watched.generation) == report.said()).then_some(watched.head)
    }

    /// What the face wants to know of that event.
    #[inline(always)]
    pub(crate) fn plain_word(&self, report: &Report) -> Option<u64> {
        word_of(&self.table, &self.words, report)
    }

    /// The same for many; `none` where there is none.
    #[inline(always)]
    pub(crate) fn look_up_words(&self, reports: &[Report], found: &mut [u64], none: u64) {
        let (table, words) = (&self.table[..], &self.words[..]);
        for (report, found) in reports.iter().zip(found) {
            *found = word_of(table, words, report).unwrap_or(none);
        }
    }

    #[inline]
    fn mark(&mut self, fd: RawFd) {
        let watched = &mut self.table[fd as usize];
        if !watched.has(DIRTY) {
            watched.flags |= DIRTY;
            self.dirty.push(fd);
        }
    }

    pub(crate) fn take_left(&mut self) -> Option<RawFd> {
        let fd = core::mem::replace(&mut self.left, -1);
        let watched = self.table.get(usize::try_from(fd).ok()?)?;
        (watched.head == NONE && watched.has(IN_KERNEL)).then_some(fd)
    }

    /// Where nobody watches `fd` any more: the removal that must reach the kernel before it is closed.
    pub(crate) fn forget(&mut self, fd: RawFd) -> Option<Change> {
        let watched = &mut self.table[fd as usize];
        if watched.head != NONE || !watched.has(IN_KERNEL) {
            return None;
        }
        watched.let_go();
        Some(Change::Remove { token: Token::new(fd, watched.generation) })
    }

    /// Whether anything is queued for `next_change`.
    #[inline]
    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The next thing to tell the kernel; a descriptor that is as the kernel knows it needs nothing.
    #[inline]
    pub(crate) fn next_change(&mut self) -> Option<Change> {
        while let Some(fd) = self.dirty.pop() {
            let watched = &mut self.table[fd as usize];
            // The most usual first: it was lent and is back.
            if watched.flags == IN_KERNEL | DIRTY | SUSPECT | REARM && watched.head != NONE {
                watched.generation = watched.generation.wrapping_add(1);
                watched.known = watched.wanted;
                watched.promise_again();
                watched.flags = IN_KERNEL;
                let watch = Watch { interest: watched.wanted, trigger: Trigger::Level, exclusive: false };
                return Some(Change::Modify { token: Token::new(fd, watched.generation), watch });
            }
            watched.flags &= !DIRTY;
            if watched.head == NONE {
                if let Some(change) = self.forget(fd) {
                    return Some(change);
                }
            } else if watched.has(IN_KERNEL) {
                if watched.has(REARM) || watched.wanted != watched.known {
                    let fresh = watched.has(SUSPECT);
                    let token = watched.told(fd, fresh);
                    return Some(Change::Modify { token, watch: watched.watch() });
                }
            } else if !watched.has(DEAD) {
                // (e)
                let token = watched.told(fd, true);
                return Some(Change::Add { token, watch: watched.watch() });
            }
        }
        None
    }

    /// The descriptor a report is for, unless the report is stale.
    #[inline]
    pub(crate) fn resolve(&self, token: Token) -> Option<&Descriptor> {
        match self.table.get(token.fd() as usize) {
            Some(watched) if watched.generation == token.generation() => {
                let anew = watched.flags & (IN_KERNEL | SUSPECT | REARM);
                // Where it is about to be told under a new generation, this one is over already.
                if anew & IN_KERNEL != 0 && anew != IN_KERNEL | SUSPECT | REARM {
                    Some(watched)
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// The kernel has reported and thereby disarmed a one-shot registration.
    pub(crate) fn disarmed(&mut self, fd: RawFd) {
        self.table[fd as usize].known = Interest::NONE;
        self.not_plain(fd);
        self.mark(fd);
    }

    /// The kernel said that the descriptor is not open (or refused a merged change): nothing is registered.
    pub(crate) fn lost(&mut self, fd: RawFd) {
        let watched = &mut self.table[fd as usize];
        watched.let_go();
        watched.flags |= DEAD;
    }

    pub(crate) fn head(&self, fd: RawFd) -> u32 {
        self.table.get(fd as usize).map_or(NONE, |watched| watched.head)
    }

    /// Whether the table has a row for `fd`.
    pub(crate) fn knows(&self, fd: RawFd) -> bool {
        fd >= 0 && (fd as usize) < self.table.len()
    }

    pub(crate) fn token(&self, fd: RawFd) -> Option<Token> {
        let watched = self.table.get(fd as usize).filter(|watched| watched.has(IN_KERNEL))?;
        Some(Token::new(fd, watched.generation))
    }

    /// Everything watched is to be told again, to a kernel that knows nothing.
    pub(crate) fn start_anew(&mut self) {
        for fd in 0..self.table.len() as RawFd {
            let watched = &mut self.table[fd as usize];
            watched.let_go();
            if watched.head != NONE {
                watched.flags &= !DEAD;
                self.mark(fd);
            }
        }
    }

    pub(crate) fn verify(&self, events: &Slots<Event>) {
        let mut listed = 0;
        for (fd, watched) in self.table.iter().enumerate() {
            let (mut at, mut union, mut len) = (watched.head, Interest::NONE, 0);
            while at != NONE {
                let event = &events[at];
                assert!(event.has(LISTED) && event.number as usize == fd);
                assert_eq!(event.trigger(), watched.trigger());
                union |= event.interest;
                (at, len) = (event.next, len + 1);
                assert!(len <= events.len(), "a descriptor's list runs in a circle");
            }
            listed += len;
            if watched.plain != NOT_PLAIN {
                let head = &events[watched.head];
                assert!(
                    watched.has(IN_KERNEL)
                        && len == 1
                        && (head.has(SIMPLE) || head.is_brief() && head.timer.is_none()),
                    "fd {fd}"
                );
                assert!(union.as_ready().contains(watched.plain), "fd {fd} promises what nobody asks");
            }
            assert_eq!(watched.wanted, union, "fd {fd}");
            let unsaid = watched.wanted != watched.known || watched.has(REARM) && watched.head != NONE;
            assert!(!unsaid || watched.has(DIRTY) || watched.has(DEAD), "fd {fd}: a change is forgotten");
            assert_eq!(watched.has(DIRTY), self.dirty.contains(&(fd as RawFd)));
        }
        let on_fd = |event: &Event| event.has(LISTED) && event.is(crate::event::ON_FD);
        assert_eq!(events.iter().filter(|(_, event)| on_fd(event)).count(), listed);
    }
}

/// Whether every event of a list keeps the descriptor open. One that does not may have been left behind when
/// its number was closed: what the kernel was told for it may be about another file.
fn all_owned(events: &Slots<Event>, mut at: u32) -> bool {
    while at != NONE {
        if !events[at].is(OWNED) {
            return false;
        }
        at = events[at].next;
    }
    true
}
