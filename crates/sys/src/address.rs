//! Addresses as the kernel has them.

use duolu_core::datagram;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Where the name begins in a sockaddr_un.
const SUN_PATH: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

/// Any address, with its length.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    storage: libc::sockaddr_storage,
    pub(crate) len: libc::socklen_t,
}

impl Address {
    pub(crate) const ROOM: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

    /// With room for whatever the kernel will write.
    pub(crate) fn empty() -> Self {
        // SAFETY: all zeroes are a valid sockaddr_storage (AF_UNSPEC).
        let storage = unsafe { std::mem::zeroed() };
        Address { storage, len: Address::ROOM }
    }

    pub(crate) fn of(address: &SocketAddr) -> Self {
        let mut ours = Address::empty();
        ours.set_inet(address);
        ours
    }

    fn set_inet(&mut self, address: &SocketAddr) {
        match address {
            SocketAddr::V4(v4) => {
                // SAFETY: a sockaddr_storage has room and alignment for every kind of address.
                let to = unsafe { &mut *self.as_mut_ptr().cast::<libc::sockaddr_in>() };
                to.sin_family = libc::AF_INET as libc::sa_family_t;
                to.sin_port = v4.port().to_be();
                to.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                self.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                // SAFETY: as above.
                let to = unsafe { &mut *self.as_mut_ptr().cast::<libc::sockaddr_in6>() };
                to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                to.sin6_port = v6.port().to_be();
                to.sin6_addr.s6_addr = v6.ip().octets();
                to.sin6_flowinfo = v6.flowinfo();
                to.sin6_scope_id = v6.scope_id();
                self.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
    }

    /// A datagram's; unnamed has length 0.
    pub(crate) fn set(&mut self, address: &datagram::Address) {
        match address {
            datagram::Address::Unnamed => self.len = 0,
            datagram::Address::Inet(inet) => self.set_inet(inet),
            datagram::Address::Unix(name) => {
                // SAFETY: as above.
                let to = unsafe { &mut *self.as_mut_ptr().cast::<libc::sockaddr_un>() };
                to.sun_family = libc::AF_UNIX as libc::sa_family_t;
                // The NUL behind a path is there: whatever was in this place before goes.
                to.sun_path.fill(0);
                for (to, from) in to.sun_path.iter_mut().zip(name.sun_path()) {
                    *to = *from as libc::c_char;
                }
                // All of an abstract name's bytes count, so its length has to be exact; a path's includes its NUL.
                let nul = usize::from(name.as_path().is_some());
                self.len = (SUN_PATH + name.sun_path().len() + nul) as libc::socklen_t;
            }
        }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    fn inet(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says what it is, and the storage is large enough for it.
                let from = unsafe { &*self.as_ptr().cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(from.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let from = unsafe { &*self.as_ptr().cast::<libc::sockaddr_in6>() };
                let (ip, port) = (Ipv6Addr::from(from.sin6_addr.s6_addr), u16::from_be(from.sin6_port));
                Some(SocketAddrV6::new(ip, port, from.sin6_flowinfo, from.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    pub(crate) fn to_std(self) -> io::Result<SocketAddr> {
        self.inet().ok_or_else(|| {
            let family = self.storage.ss_family;
            let message = format!("the peer has an address of family {family}, not IPv4 or IPv6");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })
    }

    /// A datagram's sender. What the kernel left out, or a family that this crate has no name for, is unnamed.
    pub(crate) fn to_datagram(self) -> datagram::Address {
        if (self.len as usize) < size_of::<libc::sa_family_t>() {
            return datagram::Address::Unnamed;
        }
        if i32::from(self.storage.ss_family) != libc::AF_UNIX {
            return self.inet().map_or(datagram::Address::Unnamed, datagram::Address::Inet);
        }
        // SAFETY: as above.
        let from = unsafe { &*self.as_ptr().cast::<libc::sockaddr_un>() };
        let len = (self.len as usize).saturating_sub(SUN_PATH).min(from.sun_path.len());
        let mut bytes = [0; size_of::<libc::sockaddr_un>() - SUN_PATH];
        for (to, from) in bytes.iter_mut().zip(&from.sun_path[..len]) {
            *to = *from as u8;
        }
        let name = &bytes[..len];
        // A path's length may include a NUL at its end, or not (unix(7), BUGS).
        let end = if name.first() == Some(&0) {
            len
        } else {
            name.iter().position(|byte| *byte == 0).unwrap_or(len)
        };
        datagram::Address::from_sun_path(&name[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let v6 = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 53, 1, 2));
        for address in [
            datagram::Address::Inet(SocketAddr::from(([1, 2, 3, 4], 5))),
            datagram::Address::Inet(v6),
            datagram::Address::path("/tmp/some/socket").expect("a path"),
            datagram::Address::path([b'x'; 107]).expect("a path"),
            datagram::Address::abstract_name(b"with\0nul\0").expect("a name"),
            datagram::Address::abstract_name([7; 107]).expect("a name"),
            datagram::Address::Unnamed,
        ] {
            let mut ours = Address::empty();
            ours.set(&datagram::Address::path([b'y'; 100]).expect("a path")); // of which nothing must be left
            ours.set(&address);
            assert_eq!(ours.to_datagram(), address);
        }
    }
}
