//! Receiving a batch: recvmmsg(2) into places that stay.

use super::{CONTROL_WORDS, Control, each_control, i32_of};
use crate::address::Address;
use crate::syscall;
use crate::syscall::retry;
use duolu_core::Errno;
use duolu_core::datagram::{self, Local};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

/// Between two places, so that those of 64 KiB do not begin in the same set of a processor's cache, which has room for a
/// handful of them: three lines.
const STAGGER: usize = 192;

/// Places for a batch of messages.
pub struct Inbox {
    slot: usize,
    /// From one place to the next.
    stride: usize,
    /// One place behind the other. From the allocator zeroed, that is, untouched: memory is used as messages come.
    bytes: Vec<u8>,
    names: Vec<Address>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: usize,
}

impl Inbox {
    /// Places for `messages` (at least 1, at most 1,024, as the kernel takes) of `bytes` each (at least 1).
    pub fn new(messages: usize, bytes: usize) -> Self {
        let (messages, slot) = (messages.clamp(1, 1024), bytes.max(1));
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: all zeroes are a valid mmsghdr.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let stride = slot + STAGGER;
        Inbox {
            slot,
            stride,
            bytes: vec![0; messages.saturating_mul(stride)],
            names: vec![Address::empty(); messages],
            controls: vec![[0; CONTROL_WORDS]; messages],
            vectors: vec![vector; messages],
            headers: vec![header; messages],
            filled: 0,
        }
    }

    /// How many messages it has places for.
    pub fn places(&self) -> usize {
        self.headers.len()
    }
    /// Bytes of a place.
    pub fn place_bytes(&self) -> usize {
        self.slot
    }
    /// What the last [`Inbox::receive`] brought.
    pub fn batch(&self) -> Batch<'_> {
        Batch { inbox: self, next: 0 }
    }

    /// Receives what is there, at most a message for each place: how many. One recvmmsg(2), which never waits; fewer than
    /// there are places means that no more was there. EAGAIN: nothing. Other errors are of earlier datagrams: try again.
    pub fn receive(&mut self, socket: impl AsFd) -> Result<usize, Errno> {
        self.filled = 0;
        for at in 0..self.headers.len() {
            let place = &mut self.bytes[at * self.stride..][..self.slot];
            self.vectors[at] = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: self.slot };
            let header = &mut self.headers[at].msg_hdr;
            header.msg_name = self.names[at].as_mut_ptr().cast();
            header.msg_namelen = Address::ROOM;
            header.msg_iov = &mut self.vectors[at];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[at].as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        let (fd, count) = (socket.as_fd().as_raw_fd(), self.headers.len() as libc::c_uint);
        let flags = (libc::MSG_DONTWAIT | libc::MSG_TRUNC) as _; // trap (b)
        let headers = self.headers.as_mut_ptr();
        // SAFETY: `count` headers; each has a name, a vector and control data of its own with the room it says, all owned by
        // `self` and looked at by nobody else meanwhile.
        let got =
            retry(|| syscall!(unsafe { libc::recvmmsg(fd, headers, count, flags, std::ptr::null_mut()) }))?;
        self.filled = got as usize;
        for (name, header) in self.names.iter_mut().zip(&self.headers).take(self.filled) {
            name.len = header.msg_hdr.msg_namelen;
        }
        Ok(self.filled)
    }

    /// Forgets the last batch: for what stands for a socket (a simulated one).
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// The same, adds a message as if it had been received. False where no place is left.
    pub fn put(&mut self, from: &datagram::Address, bytes: &[u8]) -> bool {
        let at = self.filled;
        if at == self.places() {
            return false;
        }
        let fits = bytes.len().min(self.slot);
        self.bytes[at * self.stride..][..fits].copy_from_slice(&bytes[..fits]);
        self.names[at].set(from);
        let header = &mut self.headers[at];
        header.msg_len = bytes.len() as libc::c_uint;
        header.msg_hdr.msg_controllen = 0;
        header.msg_hdr.msg_flags = if fits < bytes.len() { libc::MSG_TRUNC } else { 0 };
        self.filled += 1;
        true
    }

    /// How many datagrams the kernel has dropped since the socket was made, because its receive buffer was full, if it
    /// says so: it does with the datagrams that came after. (It wraps at 2^32.)
    pub fn overflowed(&self) -> Option<u32> {
        self.find_control(self.filled.checked_sub(1)?, |level, kind, data| {
            (level == libc::SOL_SOCKET && kind == libc::SO_RXQ_OVFL).then(|| i32_of(data) as u32)
        })
    }

    fn find_control<T>(&self, at: usize, mut look: impl FnMut(i32, i32, &[u8]) -> Option<T>) -> Option<T> {
        let len = self.headers[at].msg_hdr.msg_controllen;
        let mut found = None;
        if len > 0 {
            each_control(&self.controls[at], len, |level, kind, data| {
                found = found.take().or_else(|| look(level, kind, data));
            });
        }
        found
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbox, {} of {} places of {} bytes filled", self.filled, self.places(), self.slot)
    }
}

/// Messages that came together: iterate over it.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    inbox: &'a Inbox,
    next: usize,
}

impl<'a> Batch<'a> {
    /// A message, counted from the first that was not iterated over.
    pub fn get(&self, at: usize) -> Option<Message<'a>> {
        let at = self.next.checked_add(at).filter(|at| *at < self.inbox.filled)?;
        Some(Message { inbox: self.inbox, at })
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Message<'a>;
    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        let message = self.get(0)?;
        self.next += 1;
        Some(message)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.inbox.filled - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batch<'_> {}

/// A message of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    inbox: &'a Inbox,
    at: usize,
}

impl<'a> Message<'a> {
    /// Its bytes, as many as there was room for.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.inbox.bytes[self.at * self.inbox.stride..][..self.full_len().min(self.inbox.slot)]
    }
    /// How long it was when it was sent.
    #[inline]
    pub fn full_len(&self) -> usize {
        self.inbox.headers[self.at].msg_len as usize
    }
    /// Whether it was longer than its place; the rest is lost.
    #[inline]
    pub fn is_truncated(&self) -> bool {
        self.inbox.headers[self.at].msg_hdr.msg_flags & libc::MSG_TRUNC != 0
    }
    /// Who sent it.
    #[inline]
    pub fn from(&self) -> datagram::Address {
        self.inbox.names[self.at].to_datagram()
    }

    /// The datagrams that were joined to make it, where the kernel does that (`gro`); else it is one.
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes();
        let segment = self.segment().unwrap_or(bytes.len()).max(1);
        let empty = bytes.is_empty().then_some(bytes);
        empty.into_iter().chain(bytes.chunks(segment))
    }
    /// How long they are, all but the last; `None` where the kernel has joined none.
    pub fn segment(&self) -> Option<usize> {
        self.inbox.find_control(self.at, |level, kind, data| {
            (level == libc::SOL_UDP && kind == libc::UDP_GRO).then(|| i32_of(data) as usize)
        })
    }

    /// To which address of this machine it was sent, where that was asked for (`local_address`).
    pub fn local(&self) -> Option<Local> {
        self.inbox.find_control(self.at, |level, kind, data| match (level, kind) {
            // in_pktinfo: interface, the address to answer from, the one in the header (ip(7)). They differ for broadcasts.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let ip = Ipv4Addr::from(*data.get(4..)?.first_chunk::<4>()?);
                Some(Local { ip: IpAddr::V4(ip), interface: i32_of(data) as u32 })
            }
            // in6_pktinfo: address, interface (RFC 3542, section 6).
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let ip = Ipv6Addr::from(*data.first_chunk::<16>()?);
                Some(Local { ip: IpAddr::V6(ip), interface: i32_of(data.get(16..)?) as u32 })
            }
            _ => None,
        })
    }

    /// The two bits of ECN in its IP header, where they were asked for (`ecn`): 0 not capable, 1 and 2 capable, 3 congestion
    /// was met (RFC 3168, section 5).
    pub fn ecn(&self) -> Option<u8> {
        self.inbox.find_control(self.at, |level, kind, data| match (level, kind) {
            // A byte here, an integer there.
            (libc::IPPROTO_IP, libc::IP_TOS) => data.first().map(|tos| tos & 3),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => Some((i32_of(data) & 3) as u8),
            _ => None,
        })
    }
}
