//! The world of the simulation.

use crate::stage::World;
use duolu_core::RawFd;
use duolu_sim::{Sim, errno};

pub struct Simulated(pub Sim);

impl World for Simulated {
    fn stream_pair(&mut self) -> (RawFd, RawFd) {
        self.0.kernel().stream_pair().expect("descriptors")
    }
    fn pipe(&mut self) -> (RawFd, RawFd) {
        self.0.kernel().pipe().expect("descriptors")
    }
    fn regular_file(&mut self) -> RawFd {
        self.0.kernel().regular_file().expect("a descriptor")
    }
    fn dup(&mut self, fd: RawFd) -> RawFd {
        self.0.kernel().dup(fd).expect("a descriptor")
    }
    fn close(&mut self, fd: RawFd) {
        self.0.kernel().close(fd).expect("an open descriptor");
    }
    fn shutdown_write(&mut self, fd: RawFd) {
        self.0.kernel().shutdown_write(fd).expect("a stream");
    }
    fn write(&mut self, fd: RawFd, bytes: &[u8]) -> usize {
        match self.0.kernel().write(fd, bytes) {
            Err(errno::EAGAIN) => 0,
            result => result.expect("a write"),
        }
    }
    fn read(&mut self, fd: RawFd, max: usize) -> Option<Vec<u8>> {
        match self.0.kernel().read(fd, max) {
            Err(errno::EAGAIN) => None,
            result => Some(result.expect("a read")),
        }
    }
    fn sleep(&mut self, ns: u64) {
        self.0.kernel().advance(ns);
    }
    fn sim(&self) -> Option<Sim> {
        Some(self.0.clone())
    }
}
