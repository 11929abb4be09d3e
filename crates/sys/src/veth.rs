//! A cable between two networks of one's own: a pair of virtual Ethernet interfaces (veth(4)), made by rtnetlink(7).
//!
//! Traps:
//! (a) Both ends in one network do not help: packets between own addresses go over the loopback. Each end needs its own.
//! (b) A socket belongs to the network of the thread that made it, wherever it is used later: see [`Network::within`].
//! (c) The interface cuts large writes into segments as late as it can; a capture then sees the large ones. Without
//!     offloads ([`offloads`]) every packet is as large as the link allows.

use crate::netns::{bring_up, interface_request};
use crate::syscall;
use crate::syscall::{io_error, own, retry};
use duolu_core::Errno;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Another network beside the calling thread's. It is gone with this handle and the sockets in it.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    /// A new one, with its loopback up.
    ///
    /// # Errors
    /// EPERM: as in [`crate::netns::enter_new_network`], which must have been done before by whoever is not root.
    pub fn new() -> io::Result<Self> {
        in_a_thread(|| {
            crate::netns::enter_next_network()?;
            File::open("/proc/thread-self/ns/net").map(Network)
        })
    }

    /// Does something in it, such as making a socket (trap b). Costs a thread.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let there = self.0.as_raw_fd();
        in_a_thread(move || {
            // SAFETY: an open descriptor and an integer; the thread ends right after.
            syscall!(unsafe { libc::setns(there, libc::CLONE_NEWNET) }).map_err(io_error)?;
            work()
        })
    }

    /// Lays a cable: `here` becomes an interface of the calling thread's network, `there` one of this network; both are
    /// up, with addresses of one /24.
    pub fn connect(&self, here: (&str, Ipv4Addr), there: (&str, Ipv4Addr)) -> io::Result<()> {
        let mut peer = vec![0; IFINFO];
        attribute(&mut peer, libc::IFLA_IFNAME, there.0.as_bytes());
        attribute(&mut peer, libc::IFLA_NET_NS_FD, &self.0.as_raw_fd().to_ne_bytes());
        let mut data = Vec::new();
        attribute(&mut data, VETH_INFO_PEER, &peer);
        let mut kind = Vec::new();
        attribute(&mut kind, libc::IFLA_INFO_KIND, b"veth");
        attribute(&mut kind, libc::IFLA_INFO_DATA, &data);
        let mut link = vec![0; IFINFO];
        attribute(&mut link, libc::IFLA_IFNAME, here.0.as_bytes());
        attribute(&mut link, libc::IFLA_LINKINFO, &kind);
        ask(libc::RTM_NEWLINK, &link)?;
        self.within(|| set_up(there))?;
        set_up(here)
    }
}

/// Size of struct ifinfomsg.
const IFINFO: usize = 16;
/// linux/veth.h.
const VETH_INFO_PEER: u16 = 1;

fn in_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn set_up((interface, address): (&str, Ipv4Addr)) -> io::Result<()> {
    let mut request = interface_request(interface)?;
    // SAFETY: all zeroes are a valid sockaddr_in.
    let mut wanted: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    wanted.sin_family = libc::AF_INET as libc::sa_family_t;
    for (what, value) in
        [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0))]
    {
        wanted.sin_addr.s_addr = u32::from_ne_bytes(value.octets());
        // SAFETY: both are 16 bytes of plain data, and the kernel reads the one as the other.
        request.ifr_ifru.ifru_addr =
            unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(wanted) };
        crate::netns::ask_interface(what, &mut request)?;
    }
    bring_up(interface)
}

/// Turns an interface's segmentation and receive offloads on or off (trap c); ethtool(8)'s tso, gso and gro.
pub fn offloads(interface: &str, on: bool) -> io::Result<()> {
    /// struct ethtool_value.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    const SET_TSO: u32 = 0x1f;
    const SET_GSO: u32 = 0x24;
    const SET_GRO: u32 = 0x2c;
    for command in [SET_TSO, SET_GSO, SET_GRO] {
        let mut value = Value { command, data: u32::from(on) };
        let mut request = interface_request(interface)?;
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        crate::netns::ask_interface(libc::SIOCETHTOOL, &mut request)?;
    }
    Ok(())
}

/// struct rtattr: length, kind, value, padding.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend((value.len() as u16 + 4).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// One request to rtnetlink that makes something, and its acknowledgement.
fn ask(kind: u16, payload: &[u8]) -> io::Result<()> {
    const FLAGS: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let socket = rtnetlink()?;
    let mut message = Vec::with_capacity(16 + payload.len());
    message.extend((16 + payload.len() as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend([0; 8]); // sequence and port: one question, one answer
    message.extend(payload);
    let fd = socket.as_raw_fd();
    // SAFETY: `message` is readable for its length.
    syscall!(unsafe { libc::send(fd, message.as_ptr().cast(), message.len(), 0) }).map_err(io_error)?;
    let mut answer = [0u8; 1024];
    let at = answer.as_mut_ptr().cast();
    // SAFETY: `answer` is writable for its length.
    let got = retry(|| syscall!(unsafe { libc::recv(fd, at, answer.len(), 0) })).map_err(io_error)?;
    // struct nlmsghdr, then nlmsgerr, which begins with the error, 0 or negative.
    let error = answer[..got as usize].get(16..20).and_then(|bytes| bytes.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(io_error(Errno(errno.saturating_neg()))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn rtnetlink() -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    syscall!(unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE)
    })
    .map(own)
    .map_err(io_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{enter_next_network, mtu, set_mtu};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn two_networks_of_our_own_talk_over_their_cable() {
        if std::env::var_os("DUOLU_TEST_NO_NETNS").is_some_and(|v| v == "1") {
            return;
        }
        let (here, there) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        in_a_thread(|| {
            enter_next_network()
                .expect("this test needs a network namespace; DUOLU_TEST_NO_NETNS=1 does without it");
            let other = Network::new()?;
            other.connect(("left", here), ("right", there))?;
            assert_eq!(mtu("left")?, 1500, "Ethernet's");
            assert_eq!(mtu("right").unwrap_err().raw_os_error(), Some(libc::ENODEV), "it is over there");
            set_mtu("left", 9000)?;
            offloads("left", false)?;
            assert_eq!(other.within(|| mtu("right"))?, 1500);
            let listener = other.within(|| TcpListener::bind((there, 0)))?;
            let mut client = TcpStream::connect(listener.local_addr()?)?;
            assert_eq!(client.local_addr()?.ip(), here);
            let (mut served, _) = listener.accept()?;
            client.write_all(b"over there")?;
            drop(client);
            let mut text = String::new();
            served.read_to_string(&mut text)?;
            assert_eq!(text, "over there");
            Ok(())
        })
        .unwrap();
    }
}
