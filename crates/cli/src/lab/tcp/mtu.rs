//! `duolu lab mtu`: the MTU belongs to a link, 65535 to IP.

use super::cable::{CLIENT, Cable, SERVER};
use super::kit::wait_until;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::Client;
use crate::lab::said::{Said, said};
use crate::lab::stage::{Stage, errno_name};
use crate::walls::grouped;
use duolu_sys::capture::{Capture, Ways};
use duolu_sys::netns;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, connect, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

pub static LAB: Lab = Lab {
    name: "mtu",
    claims: &[2],
    title: said("the MTU is a link's, 65535 is IP's", "MTU 属于链路，65535 属于 IP"),
    expected: said(
        "A new Ethernet interface has an MTU of 1500: a datagram of 1472 bytes (and 28 of headers) goes out whole, one more byte does not. At 9000 the limit is 8972. The loopback has an MTU of \
         65536, and yet the limit is 65507: IP's 65535 less 28. Where fragments are allowed, a larger datagram goes out in pieces no larger than the MTU.",
        "新的以太网接口 MTU 为 1500：1472 字节的数据报（加 28 字节首部）能整个发出，再多一字节就不行。MTU 9000 时上限为 8972。\
         环回的 MTU 是 65536，上限却是 65507：IP 的 65535 减 28。允许分片时，大数据报分成不超过 MTU 的几片发出。",
    ),
    why: said(
        "The MTU is the largest IP packet that a link carries, a property of each link: ip link shows it, and ip link set mtu changes it; 1500 is Ethernet's usual payload (RFC 894). 65535 is no MTU: \
         IPv4 counts a packet's length in 16 bits (RFC 791). What fits on the whole way is the smallest MTU on it, the path MTU.",
        "MTU 是一条链路能承载的最大 IP 包，是每条链路各自的属性：ip link 可查看，ip link set mtu 可修改；1500 是以太网通常的载荷（RFC 894）。65535 不是 MTU：\
         IPv4 用 16 位记录包的总长度（RFC 791）。整条路径上能通过的大小，是沿途最小的 MTU，即路径 MTU。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::OwnNetwork,
    run,
};

/// An IP header and a UDP header.
const HEADERS: u32 = 20 + 8;
/// What IPv4's length field can say.
const LONGEST: u32 = 65535;

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let cable = Cable::lay(stage)?;
    let mut table = vec![vec![
        said("link", "链路"),
        Said::same("MTU"),
        said("largest datagram", "最大数据报"),
        said("one byte more", "再多一字节"),
    ]];
    let fresh = cable.mtu(Client)?;
    stage.equal(said("MTU of a new Ethernet interface", "新建以太网接口的 MTU"), fresh, 1500);
    table.push(limit(stage, said("Ethernet, as it comes", "以太网，默认"), fresh, SERVER.1)?);
    cable.set_mtu(9000, 9000)?;
    let jumbo = cable.mtu(Client)?;
    table.push(limit(stage, said("Ethernet, jumbo frames", "以太网，巨型帧"), jumbo, SERVER.1)?);
    let loopback = netns::mtu(netns::LOOPBACK)?;
    stage.check(
        (
            format!("the loopback's MTU is {loopback}, more than IPv4 can say"),
            format!("环回的 MTU 为 {loopback}，比 IPv4 能表示的还大"),
        ),
        loopback > LONGEST,
    );
    table.push(limit(stage, said("loopback", "环回"), loopback, Ipv4Addr::LOCALHOST)?);
    stage.table(said("UDP datagrams that must not be cut (DF)", "不许分片（DF）的 UDP 数据报"), table);
    cable.set_mtu(1500, 1500)?;
    fragments(stage)
}

/// Finds the largest datagram that goes out whole: what the MTU promises, and not one byte more.
fn limit(stage: &mut Stage, link: Said, mtu: u32, to: Ipv4Addr) -> Result<Vec<Said>, Trouble> {
    let socket = datagrams(to, true)?;
    let fits = mtu.min(LONGEST) - HEADERS;
    let told = [fits, fits + 1].map(|bytes| send(&socket, bytes));
    let [whole, more] =
        told.map(|result| result.map_or_else(|error| errno_name(&error), |sent| sent.to_string()));
    let what = Said::of(|lang| format!("{}{}MTU {mtu}", link.pick(lang), lang.pick(", ", "，")));
    let told = |first: &str, second: &str| {
        let more = fits + 1;
        Said::from((
            format!("{fits} B: {first}, {more} B: {second}"),
            format!("{fits} B：{first}，{more} B：{second}"),
        ))
    };
    stage.same(what, told(&whole, &more), told(&fits.to_string(), "EMSGSIZE"));
    Ok(vec![link, Said::same(mtu.to_string()), Said::same(whole), Said::same(more)])
}

/// A datagram larger than the MTU, where it may be cut.
fn fragments(stage: &mut Stage) -> Result<(), Trouble> {
    const DATAGRAM: u32 = 4000;
    let capture = Capture::open(Ways::Both)?;
    let socket = datagrams(SERVER.1, false)?;
    send(&socket, DATAGRAM)?;
    let mut sizes: Vec<u32> = Vec::new();
    let mut more = true;
    wait_until(|| {
        let mut packet = [0; 64];
        while let Ok(Some(_)) = capture.next(&mut packet) {
            let is_ours = packet[0] >> 4 == 4 && packet[9] == 17 && packet[12..16] == CLIENT.1.octets();
            if is_ours {
                sizes.push(u32::from(u16::from_be_bytes([packet[2], packet[3]])));
                more = packet[6] & 0x20 != 0; // MF: more fragments follow
            }
        }
        !more
    });
    let list: Vec<String> = sizes.iter().map(u32::to_string).collect();
    let payload: u32 = sizes.iter().map(|size| size - 20).sum();
    stage.check(
        (
            format!(
                "{} B over MTU 1500, cutting allowed: IP packets of {} bytes",
                grouped(DATAGRAM.into()),
                list.join(", ")
            ),
            format!(
                "MTU 1500 上允许分片的 {} 字节：IP 包 {} 字节",
                grouped(DATAGRAM.into()),
                list.join("、")
            ),
        ),
        sizes.len() > 1 && sizes.iter().all(|size| *size <= 1500) && payload == DATAGRAM + 8,
    );
    Ok(())
}

/// A UDP socket towards `to`, whose packets must go out whole or may be cut. Nobody needs to listen there.
fn datagrams(to: Ipv4Addr, whole: bool) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let how = if whole { sockopt::Ipv4PathMtuDiscovery::DO } else { sockopt::Ipv4PathMtuDiscovery::DONT };
    sockopt::set_ip_mtu_discover(&socket, how)?;
    sockopt::set_socket_send_buffer_size(&socket, 256 * 1024)?;
    connect(&socket, &SocketAddrV4::new(to, 9))?; // discard
    Ok(socket)
}

/// Sends so many bytes. An earlier datagram may have been refused by the other end (ECONNREFUSED, told once): not our business.
fn send(socket: &OwnedFd, bytes: u32) -> io::Result<usize> {
    let _ = sockopt::socket_error(socket);
    let sent = rustix::net::send(socket, &vec![b'x'; bytes as usize], SendFlags::empty());
    sent.map_err(io::Error::from)
}
