//! The real world: pipes, Unix stream pairs, a temporary file, and short sleeps. Everything is closed at the end.

use crate::stage::World;
use duolu_core::RawFd;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The numbers of descriptors belong to the whole process, and tests run in threads.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

enum Handle {
    Stream(UnixStream),
    Reader(PipeReader),
    Writer(PipeWriter),
    File(File),
}

pub struct Real {
    open: BTreeMap<RawFd, Handle>,
}

impl Real {
    /// An empty world, and the right to be the only one. Drop the world first.
    pub fn new() -> (Self, MutexGuard<'static, ()>) {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        (Real { open: BTreeMap::new() }, alone)
    }

    fn keep(&mut self, handle: Handle) -> RawFd {
        let fd = match &handle {
            Handle::Stream(stream) => stream.as_raw_fd(),
            Handle::Reader(reader) => reader.as_raw_fd(),
            Handle::Writer(writer) => writer.as_raw_fd(),
            Handle::File(file) => file.as_raw_fd(),
        };
        assert!(self.open.insert(fd, handle).is_none());
        fd
    }

    fn stream(&mut self, fd: RawFd) -> &mut UnixStream {
        match self.open.get_mut(&fd) {
            Some(Handle::Stream(stream)) => stream,
            _ => panic!("{fd} is no stream"),
        }
    }
}

impl World for Real {
    fn stream_pair(&mut self) -> (RawFd, RawFd) {
        let (a, b) = UnixStream::pair().expect("descriptors");
        a.set_nonblocking(true).expect("a stream");
        b.set_nonblocking(true).expect("a stream");
        (self.keep(Handle::Stream(a)), self.keep(Handle::Stream(b)))
    }
    fn pipe(&mut self) -> (RawFd, RawFd) {
        let (reader, writer) = std::io::pipe().expect("descriptors");
        (self.keep(Handle::Reader(reader)), self.keep(Handle::Writer(writer)))
    }
    fn regular_file(&mut self) -> RawFd {
        let file = File::open(std::env::current_exe().expect("a program")).expect("a file");
        self.keep(Handle::File(file))
    }
    fn dup(&mut self, fd: RawFd) -> RawFd {
        let again = self.stream(fd).try_clone().expect("a descriptor");
        self.keep(Handle::Stream(again))
    }
    fn close(&mut self, fd: RawFd) {
        assert!(self.open.remove(&fd).is_some(), "{fd} is open");
    }
    fn shutdown_write(&mut self, fd: RawFd) {
        self.stream(fd).shutdown(Shutdown::Write).expect("a stream");
    }
    fn write(&mut self, fd: RawFd, bytes: &[u8]) -> usize {
        let result = match self.open.get_mut(&fd) {
            Some(Handle::Stream(stream)) => stream.write(bytes),
            Some(Handle::Writer(writer)) => writer.write(bytes),
            _ => panic!("{fd} cannot be written to"),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            result => result.expect("a write"),
        }
    }
    fn read(&mut self, fd: RawFd, max: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; max];
        let result = match self.open.get_mut(&fd) {
            Some(Handle::Stream(stream)) => stream.read(&mut bytes),
            Some(Handle::Reader(reader)) => reader.read(&mut bytes),
            _ => panic!("{fd} cannot be read from"),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            result => {
                bytes.truncate(result.expect("a read"));
                Some(bytes)
            }
        }
    }
    fn sleep(&mut self, ns: u64) {
        std::thread::sleep(Duration::from_nanos(ns));
    }
}
