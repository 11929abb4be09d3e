//! Descriptors: numbers for open files, and what makes and closes them; traps (a) and (b) of the [kernel](super).

use super::{FIRST_FD, SimKernel};
use crate::end::{EndKind, FileId, OpenFile};
use crate::errno::{EAGAIN, EBADF, EINVAL, EMFILE};
use duolu_core::{Errno, RawFd, Ready};

impl SimKernel {
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

    pub(super) fn single(&mut self, kind: EndKind) -> Result<RawFd, Errno> {
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
}
