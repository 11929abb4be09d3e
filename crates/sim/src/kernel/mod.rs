//! The simulated kernel: descriptors, open files, a network between them, and time.
//!
//! Traps it has because kernels have them:
//! (a) a new descriptor gets the lowest free number, so numbers come back at once;
//! (b) descriptors made by dup share one open file, which lives until the last of them is closed;
//! (c) closing a stream with unread bytes resets the peer;
//! (d) a wake-up says "something happened", not "it is still so".

mod bytes;
mod datagrams;
mod descriptors;

use crate::end::{Delay, EndKind, FileId, OpenFile};
use crate::errno::EBADF;
use crate::faults::Faults;
use crate::rng::Rng;
use duolu_core::{Errno, RawFd, Ready};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

pub use datagrams::DatagramNet;

/// The first number given out: 0, 1 and 2 are taken, as in most processes.
const FIRST_FD: RawFd = 3;
/// A pipe's and a stream's buffer, unless told otherwise. Small, so that tests fill it.
const DEFAULT_CAPACITY: usize = 4096;

/// What a backend has to know about, in the order it happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    /// Something of this may have become ready; empty means anything.
    Touched(FileId, Ready),
    /// The last reference is gone.
    Gone(FileId),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Packet {
    Bytes(Vec<u8>),
    Fin,
    Gone,
    Reset,
    Datagram {
        from: u16,
        bytes: Vec<u8>,
    },
    /// A datagram has left the send buffer.
    Left,
    /// No socket had the port that a datagram was sent to.
    Refused,
}

type Happening = Box<dyn FnOnce(&mut SimKernel)>;

/// The kernel. All its methods take no time; time passes in waits and in [`SimKernel::advance`].
pub struct SimKernel {
    now_ns: u64,
    /// By number; a hole is a free number.
    descriptors: Vec<Option<FileId>>,
    files: BTreeMap<FileId, OpenFile>,
    next_file: u64,
    next_sequence: u64,
    flights: BinaryHeap<Reverse<(u64, u64, FileId, Packet)>>,
    script: BTreeMap<(u64, u64), Happening>,
    wakes: Vec<Wake>,
    activity: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Where every chance comes from.
    pub rng: Rng,
    /// The most descriptors at a time (RLIMIT_NOFILE); beyond it EMFILE.
    pub max_descriptors: usize,
    /// What new streams and pipes hold, in bytes.
    pub capacity: usize,
    /// How new stream pairs delay what is sent.
    pub delay: Delay,
    /// What happens to datagrams on their way.
    pub datagrams: DatagramNet,
    ports: BTreeMap<u16, FileId>,
}

impl SimKernel {
    pub(crate) fn new(seed: u64) -> Self {
        SimKernel {
            now_ns: 0,
            descriptors: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
            next_sequence: 0,
            flights: BinaryHeap::new(),
            script: BTreeMap::new(),
            wakes: Vec::new(),
            activity: 0,
            faults: Faults::default(),
            rng: Rng::new(seed),
            max_descriptors: 1024,
            capacity: DEFAULT_CAPACITY,
            delay: Delay::default(),
            datagrams: DatagramNet::default(),
            ports: BTreeMap::new(),
        }
    }

    // Time.

    /// Nanoseconds since the machine's start.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Lets `by_ns` pass, with all that happens meanwhile.
    pub fn advance(&mut self, by_ns: u64) {
        self.run_until(self.now_ns.saturating_add(by_ns));
    }

    /// Does `happening` at `at_ns` (at once at the next chance if that is past). Same time: in order of asking.
    pub fn at(&mut self, at_ns: u64, happening: impl FnOnce(&mut SimKernel) + 'static) {
        let sequence = self.sequence();
        self.script.insert((at_ns.max(self.now_ns), sequence), Box::new(happening));
    }

    /// Lets time pass until nothing happens by itself any more.
    pub fn settle(&mut self) {
        while let Some(at_ns) = self.next_happening_ns() {
            self.run_until(at_ns);
        }
    }

    /// When the next thing happens by itself, if anything ever does.
    pub fn next_happening_ns(&self) -> Option<u64> {
        let flight = self.flights.peek().map(|Reverse(flight)| flight.0);
        let script = self.script.first_key_value().map(|(&(at_ns, _), _)| at_ns);
        flight.into_iter().chain(script).min()
    }

    /// Moves the clock to `until_ns`, not back, and does what is due by then in order of time.
    pub(crate) fn run_until(&mut self, until_ns: u64) {
        while let Some(at_ns) = self.next_happening_ns().filter(|&at_ns| at_ns <= until_ns) {
            self.now_ns = self.now_ns.max(at_ns);
            self.activity += 1;
            // Both queues due at once: arrivals first, they were sent before.
            if self.flights.peek().is_some_and(|Reverse(flight)| flight.0 <= at_ns) {
                if let Some(Reverse((_, _, to, packet))) = self.flights.pop() {
                    self.arrive(to, packet);
                }
            } else if let Some((_, happening)) = self.script.pop_first() {
                happening(self);
            }
        }
        if until_ns > self.now_ns {
            self.now_ns = until_ns;
            self.activity += 1;
        }
    }

    // For backends.

    pub(crate) fn file_of(&self, fd: RawFd) -> Result<FileId, Errno> {
        let slot = usize::try_from(fd).map_err(|_| EBADF)?;
        self.descriptors.get(slot).copied().flatten().ok_or(EBADF)
    }

    pub(crate) fn file_kind(&self, file: FileId) -> EndKind {
        self.files[&file].kind
    }

    pub(crate) fn file_readiness(&self, file: FileId) -> Ready {
        let open = &self.files[&file];
        let peer_room = match open.peer {
            Some(peer) => self.files[&peer].room(),
            None => 1,
        };
        open.readiness(peer_room)
    }

    pub(crate) fn hold(&mut self, file: FileId) {
        self.open_mut(file).references += 1;
    }

    /// Lets go of one reference; the last one closes the file.
    pub(crate) fn release(&mut self, file: FileId) {
        let open = self.open_mut(file);
        open.references -= 1;
        if open.references > 0 {
            return;
        }
        let open = self.files.remove(&file).expect("just seen");
        if open.kind == EndKind::Datagram {
            self.ports.remove(&open.port);
        }
        self.wakes.push(Wake::Gone(file));
        if let Some(peer) = open.peer {
            self.open_mut(peer).peer = None;
            self.touch(peer, Ready::WRITE); // what it writes from now on is swallowed
            let reset = open.kind == EndKind::Stream && !open.inbox.is_empty(); // trap (c)
            let packet = if reset { Packet::Reset } else { Packet::Gone };
            let at_ns = self.arrival_ns(open.delay, open.last_arrival_ns);
            self.send_at(at_ns, peer, packet);
        }
        for server in open.queue {
            self.release(server);
        }
    }

    pub(crate) fn take_wakes(&mut self) -> Vec<Wake> {
        core::mem::take(&mut self.wakes)
    }

    /// Grows whenever anything is done or time passes.
    pub(crate) fn activity(&self) -> u64 {
        self.activity
    }

    // Inside.

    fn sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence
    }

    fn open_mut(&mut self, file: FileId) -> &mut OpenFile {
        self.files.get_mut(&file).expect("an open file that is referred to")
    }

    fn touch(&mut self, file: FileId, mask: Ready) {
        self.wakes.push(Wake::Touched(file, mask));
    }
}
