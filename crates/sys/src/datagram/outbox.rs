//! Sending a batch: sendmmsg(2) from where the messages lie.

use super::{CONTROL_WORDS, Control};
use crate::address::Address;
use crate::syscall;
use crate::syscall::retry;
use duolu_core::Errno;
use duolu_core::datagram::Piece;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Messages of one call at most.
const MOST: usize = 64;

/// Headers for a batch of messages that are to be sent.
pub struct Outbox {
    names: Vec<Address>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Outbox {
    /// Room for 64 headers, 26 KiB.
    pub fn new() -> Self {
        let vector = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: all zeroes are a valid mmsghdr.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        Outbox {
            names: vec![Address::empty(); MOST],
            controls: vec![[0; CONTROL_WORDS]; MOST],
            vectors: vec![vector; MOST],
            headers: vec![header; MOST],
        }
    }

    /// Sends the first 64 pieces at most: how many the kernel took. One sendmmsg(2), which never waits; an error is the
    /// first piece's, or an earlier datagram's (a pending ICMP error).
    pub fn send<'a>(
        &mut self,
        socket: impl AsFd,
        pieces: impl Iterator<Item = Piece<'a>>,
    ) -> Result<usize, Errno> {
        let mut count = 0;
        for piece in pieces.take(MOST) {
            self.fill(count, &piece);
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let (fd, flags) = (socket.as_fd().as_raw_fd(), (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _);
        let headers = self.headers.as_mut_ptr();
        // SAFETY: `count` headers, each with a name and control data of `self`, and a payload that its piece borrows for 'a,
        // which outlives this call because the iterator's items do. The kernel writes nothing but their msg_len.
        let sent = retry(|| syscall!(unsafe { libc::sendmmsg(fd, headers, count as libc::c_uint, flags) }))?;
        Ok(sent as usize)
    }

    fn fill(&mut self, at: usize, piece: &Piece<'_>) {
        let name = &mut self.names[at];
        name.set(piece.to);
        self.vectors[at] =
            libc::iovec { iov_base: piece.bytes.as_ptr().cast_mut().cast(), iov_len: piece.bytes.len() };
        let header = &mut self.headers[at].msg_hdr;
        header.msg_name = if name.len == 0 { std::ptr::null_mut() } else { name.as_mut_ptr().cast() };
        header.msg_namelen = name.len;
        header.msg_iov = &mut self.vectors[at];
        header.msg_iovlen = 1;
        (header.msg_control, header.msg_controllen) = (std::ptr::null_mut(), 0);
        if piece.segment == 0 && piece.from.is_none() {
            return;
        }
        let mut words = Words { words: &mut self.controls[at], used: 0 };
        if piece.segment != 0 {
            words.push(libc::SOL_UDP, libc::UDP_SEGMENT, &piece.segment.to_ne_bytes());
        }
        match piece.from.map(|local| (local.ip, local.interface.to_ne_bytes())) {
            // in_pktinfo: interface, the address to send from, and one that the kernel does not look at (ip(7)).
            Some((IpAddr::V4(ip), interface)) => {
                let mut info = [0; 12];
                info[..4].copy_from_slice(&interface);
                info[4..8].copy_from_slice(&ip.octets());
                words.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some((IpAddr::V6(ip), interface)) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                info[16..].copy_from_slice(&interface);
                words.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        header.msg_controllen = (words.used * size_of::<u64>()) as _;
        header.msg_control = self.controls[at].as_mut_ptr().cast();
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox::new()
    }
}

/// Control messages one behind the other.
struct Words<'a> {
    words: &'a mut Control,
    used: usize,
}

impl Words<'_> {
    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        // SAFETY: both only calculate.
        let (space, len) =
            unsafe { (libc::CMSG_SPACE(data.len() as u32) as usize, libc::CMSG_LEN(data.len() as u32)) };
        let words = space.div_ceil(size_of::<u64>());
        let to = &mut self.words[self.used..self.used + words];
        to.fill(0);
        let header = to.as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: `to` is CMSG_SPACE of the data long and aligned as a cmsghdr has to be: so there is room for the header and,
        // where CMSG_DATA says, for the data.
        unsafe {
            (*header).cmsg_len = len as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            std::ptr::copy_nonoverlapping(data.as_ptr(), libc::CMSG_DATA(header), data.len());
        }
        self.used += words;
    }
}
