//! The simulated kernel: descriptors, open files, a network between them, and time.
//!
//! Traps it has because kernels have them:
//! (a) a new descriptor gets the lowest free number, so numbers come back at once;
//! (b) descriptors made by dup share one open file, which lives until the last of them is closed;
//! (c) closing a stream with unread bytes resets the peer;
//! (d) a wake-up says "something happened", not "it is still so".

use crate::end::{Delay, EndKind, FileId, OpenFile};
use crate::errno::{EAGAIN, EBADF, ECONNRESET, EINVAL, EMFILE, EPIPE};
use crate::faults::Faults;
use crate::rng::Rng;
use duolu_core::{Errno, RawFd, Ready};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

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

    // Descriptors.

    /// Two connected stream sockets.
    pub fn stream_pair(&mut self) -> Result<(RawFd, RawFd), Errno> {
        self.pair(EndKind::Stream, EndKind::Stream)
    }

    /// A pipe: (read from, write to).
    pub fn pipe(&mut self) -> Result<(RawFd, RawFd), Errno> {
        self.pair(EndKind::PipeReader, EndKind::PipeWriter)
    }

    /// An eventfd with count 0.
    pub fn counter(&mut self) -> Result<RawFd, Errno> {
        self.single(EndKind::Counter)
    }

    /// A file on disk: reads and writes never block.
    pub fn regular_file(&mut self) -> Result<RawFd, Errno> {
        self.single(EndKind::Regular)
    }

    /// A listening socket, to [`connect`](Self::connect) to and [`accept`](Self::accept) from.
    pub fn listener(&mut self) -> Result<RawFd, Errno> {
        self.single(EndKind::Listener)
    }

    /// A connection to `listener`: the client's descriptor. The other end waits in the queue.
    pub fn connect(&mut self, listener: RawFd) -> Result<RawFd, Errno> {
        let listener = self.file_of(listener)?;
        if self.files[&listener].kind != EndKind::Listener {
            return Err(EINVAL);
        }
        let (client, server) = self.connected(EndKind::Stream, EndKind::Stream);
        let fd = self.install(client).inspect_err(|_| {
            self.files.remove(&client);
            self.files.remove(&server);
        })?;
        self.open_mut(server).references += 1;
        let listening = self.open_mut(listener);
        listening.queue.push_back(server);
        listening.arrivals += 1;
        self.touch(listener, Ready::READ);
        Ok(fd)
    }

    /// Takes a connection off the queue. EMFILE leaves it there, as Linux does.
    pub fn accept(&mut self, listener: RawFd) -> Result<RawFd, Errno> {
        let listener = self.file_of(listener)?;
        let file = *self.files[&listener].queue.front().ok_or(EAGAIN)?;
        let fd = self.install(file)?;
        self.open_mut(file).references -= 1;
        self.open_mut(listener).queue.pop_front();
        Ok(fd)
    }

    /// A second descriptor of the same open file.
    pub fn dup(&mut self, fd: RawFd) -> Result<RawFd, Errno> {
        let file = self.file_of(fd)?;
        self.install(file)
    }

    /// Makes the number `to` mean what `from` means, closing what it meant (dup2).
    pub fn dup_onto(&mut self, from: RawFd, to: RawFd) -> Result<RawFd, Errno> {
        let file = self.file_of(from)?;
        if from == to {
            return Ok(to);
        }
        let slot = usize::try_from(to).map_err(|_| EBADF)?;
        if slot >= self.max_descriptors {
            return Err(EBADF);
        }
        self.open_mut(file).references += 1;
        let _ = self.close(to);
        if self.descriptors.len() <= slot {
            self.descriptors.resize(slot + 1, None);
        }
        self.descriptors[slot] = Some(file);
        Ok(to)
    }

    /// Closes one descriptor; the open file goes with the last one.
    pub fn close(&mut self, fd: RawFd) -> Result<(), Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        self.descriptors[fd as usize] = None;
        self.release(file);
        Ok(())
    }

    /// The numbers that are open now.
    pub fn open_descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        (0..self.descriptors.len()).filter(|&fd| self.descriptors[fd].is_some()).map(|fd| fd as RawFd)
    }

    /// Whether the number means a file now.
    pub fn is_open(&self, fd: RawFd) -> bool {
        self.file_of(fd).is_ok()
    }

    /// Whether two numbers mean the same open file.
    pub fn same_file(&self, a: RawFd, b: RawFd) -> bool {
        self.file_of(a).is_ok_and(|a| self.file_of(b) == Ok(a))
    }

    /// What sort of file the number means.
    pub fn kind(&self, fd: RawFd) -> Result<EndKind, Errno> {
        Ok(self.files[&self.file_of(fd)?].kind)
    }

    /// What poll(2) would say about the number now.
    pub fn readiness(&self, fd: RawFd) -> Ready {
        self.file_of(fd).map_or(Ready::INVALID, |file| self.file_readiness(file))
    }

    /// How many times something arrived at the number's file; 0 where it is closed.
    pub fn arrivals(&self, fd: RawFd) -> u64 {
        self.file_of(fd).map_or(0, |file| self.files[&file].arrivals)
    }

    // Bytes.

    /// Takes up to `max` bytes. `Ok` and empty is the end of the stream.
    pub fn read(&mut self, fd: RawFd, max: usize) -> Result<Vec<u8>, Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        let open = self.open_mut(file);
        match open.kind {
            EndKind::PipeWriter | EndKind::Listener => return Err(EBADF),
            EndKind::Regular => return Ok(vec![0; max]),
            EndKind::Counter => {
                let count = core::mem::take(&mut open.count);
                self.touch(file, Ready::WRITE);
                return if count == 0 { Err(EAGAIN) } else { Ok(count.to_ne_bytes().to_vec()) };
            }
            EndKind::Stream | EndKind::PipeReader => {}
        }
        if core::mem::take(&mut open.reset_pending) {
            return Err(ECONNRESET);
        }
        let count = max.min(open.inbox.len());
        if count == 0 {
            let ended = open.fin_received || open.peer_gone || open.was_reset;
            return if ended || max == 0 { Ok(Vec::new()) } else { Err(EAGAIN) };
        }
        let bytes = open.inbox.drain(..count).collect();
        if let Some(peer) = open.peer {
            self.touch(peer, Ready::WRITE);
        }
        Ok(bytes)
    }

    /// Sends what fits of `bytes`: how many. EAGAIN where nothing fits.
    pub fn write(&mut self, fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        let open = self.open_mut(file);
        match open.kind {
            EndKind::PipeReader | EndKind::Listener => return Err(EBADF),
            EndKind::Regular => return Ok(bytes.len()),
            EndKind::Counter => {
                let more = bytes.try_into().map(u64::from_ne_bytes).map_err(|_| EINVAL)?;
                open.count = open.count.checked_add(more).filter(|&c| c < u64::MAX).ok_or(EAGAIN)?;
                open.arrivals += 1;
                self.touch(file, Ready::READ);
                return Ok(8);
            }
            EndKind::Stream | EndKind::PipeWriter => {}
        }
        if core::mem::take(&mut open.reset_pending) {
            return Err(ECONNRESET);
        }
        if open.fin_sent || open.peer_gone || open.was_reset {
            return Err(EPIPE);
        }
        let Some(peer) = open.peer else { return Ok(bytes.len()) }; // closed, but that is still on its way
        let count = bytes.len().min(self.files[&peer].room());
        if count == 0 {
            return if bytes.is_empty() { Ok(0) } else { Err(EAGAIN) };
        }
        self.open_mut(peer).in_flight += count;
        self.send(file, peer, Packet::Bytes(bytes[..count].to_vec()));
        Ok(count)
    }

    /// Adds to an eventfd's count.
    pub fn add_to_counter(&mut self, fd: RawFd, by: u64) -> Result<(), Errno> {
        self.write(fd, &by.to_ne_bytes()).map(|_| ())
    }

    /// Sends FIN: this side will write no more (shutdown SHUT_WR).
    pub fn shutdown_write(&mut self, fd: RawFd) -> Result<(), Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        let open = self.open_mut(file);
        if open.kind != EndKind::Stream {
            return Err(EINVAL);
        }
        if !core::mem::replace(&mut open.fin_sent, true) {
            let peer = open.peer;
            self.touch(file, Ready::NONE);
            if let Some(peer) = peer {
                self.send(file, peer, Packet::Fin);
            }
        }
        Ok(())
    }

    /// Closes `fd` so that the peer gets a reset (SO_LINGER with 0), if it was the last descriptor.
    pub fn close_with_reset(&mut self, fd: RawFd) -> Result<(), Errno> {
        let file = self.file_of(fd)?;
        let open = self.open_mut(file);
        if open.kind == EndKind::Stream && open.references == 1 && open.inbox.is_empty() {
            open.inbox.push_back(0); // trap (c) does the rest
        }
        self.close(fd)
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

    fn new_file(&mut self, kind: EndKind) -> FileId {
        self.next_file += 1;
        let file = FileId(self.next_file);
        self.files.insert(file, OpenFile::new(kind, self.capacity));
        file
    }

    fn connected(&mut self, a: EndKind, b: EndKind) -> (FileId, FileId) {
        let (a, b) = (self.new_file(a), self.new_file(b));
        let delay = self.delay;
        for (one, other) in [(a, b), (b, a)] {
            let open = self.open_mut(one);
            open.peer = Some(other);
            if open.kind == EndKind::Stream {
                open.delay = delay;
            }
        }
        (a, b)
    }

    fn pair(&mut self, a: EndKind, b: EndKind) -> Result<(RawFd, RawFd), Errno> {
        if self.open_descriptors().count() + 2 > self.max_descriptors.saturating_sub(FIRST_FD as usize) {
            return Err(EMFILE);
        }
        let (a, b) = self.connected(a, b);
        Ok((self.install(a)?, self.install(b)?))
    }

    fn single(&mut self, kind: EndKind) -> Result<RawFd, Errno> {
        let file = self.new_file(kind);
        self.install(file).inspect_err(|_| {
            self.files.remove(&file);
        })
    }

    /// Trap (a): the lowest free number.
    fn install(&mut self, file: FileId) -> Result<RawFd, Errno> {
        self.activity += 1;
        let free = (FIRST_FD as usize..self.descriptors.len()).find(|&fd| self.descriptors[fd].is_none());
        let slot = free.unwrap_or(self.descriptors.len().max(FIRST_FD as usize));
        if slot >= self.max_descriptors {
            return Err(EMFILE);
        }
        if self.descriptors.len() <= slot {
            self.descriptors.resize(slot + 1, None);
        }
        self.descriptors[slot] = Some(file);
        self.open_mut(file).references += 1;
        Ok(slot as RawFd)
    }

    fn arrival_ns(&mut self, delay: Delay, not_before_ns: u64) -> u64 {
        if delay == Delay::default() {
            return self.now_ns;
        }
        let mut travel_ns = self.rng.between(delay.min_ns, delay.max_ns);
        while self.rng.chance(delay.loss_permille.min(900)) {
            travel_ns += 4 * delay.max_ns;
        }
        (self.now_ns + travel_ns).max(not_before_ns)
    }

    fn send(&mut self, from: FileId, to: FileId, packet: Packet) {
        let (delay, last_ns) = (self.files[&from].delay, self.files[&from].last_arrival_ns);
        let at_ns = self.arrival_ns(delay, last_ns);
        self.open_mut(from).last_arrival_ns = at_ns;
        self.send_at(at_ns, to, packet);
    }

    fn send_at(&mut self, at_ns: u64, to: FileId, packet: Packet) {
        if at_ns <= self.now_ns {
            self.arrive(to, packet);
        } else {
            let sequence = self.sequence();
            self.flights.push(Reverse((at_ns, sequence, to, packet)));
        }
    }

    fn arrive(&mut self, to: FileId, packet: Packet) {
        let Some(open) = self.files.get_mut(&to) else { return };
        open.arrivals += 1;
        let mask = match packet {
            Packet::Bytes(bytes) => {
                open.in_flight -= bytes.len();
                open.inbox.extend(bytes);
                Ready::READ
            }
            Packet::Fin => {
                open.fin_received = true;
                Ready::READ | Ready::PEER_CLOSED | Ready::HANGUP
            }
            Packet::Gone => {
                open.fin_received = true;
                open.peer_gone = true;
                Ready::NONE
            }
            Packet::Reset => {
                open.inbox.clear();
                open.reset_pending = true;
                open.was_reset = true;
                open.peer_gone = true;
                Ready::NONE
            }
        };
        self.touch(to, mask);
    }
}
