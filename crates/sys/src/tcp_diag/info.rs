//! struct tcp_info: what the kernel knows of one connection.
//!
//! The struct has grown at its end with nearly every kernel. The kernel says how many bytes it filled; a field that it
//! did not fill, or filled with its own "not known", is `None` here.

use super::bytes::Bytes;
use super::state::TcpState;
use crate::syscall;
use crate::syscall::{io_error, retry};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What the kernel knows of one connection (tcp(7), TCP_INFO; RFC 4898 for the counters). Sizes are bytes, times as
/// the name says, counts of segments without a unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpInfo {
    /// The state. SYN-RECEIVED of a listener's half-open connections has no `TcpInfo`.
    pub state: Option<TcpState>,
    /// Whether timestamps are in use (RFC 7323): 12 bytes of each segment.
    pub timestamps: bool,
    /// Whether selective acknowledgements are in use (RFC 2018).
    pub sack: bool,
    /// Whether the peer takes part in explicit congestion notification (RFC 3168).
    pub ecn: bool,
    /// By how many bits the peer's windows are to be shifted. `None`: window scaling was not agreed on.
    pub snd_wscale: Option<u8>,
    /// By how many bits the windows sent are shifted.
    pub rcv_wscale: Option<u8>,
    /// The retransmission timeout.
    pub rto_us: u32,
    /// How long an acknowledgement is held back at most.
    pub ato_us: u32,
    /// The largest payload of a segment to be sent, options already deducted: 1448 where 1460 were agreed on and
    /// timestamps are in use.
    pub snd_mss: u32,
    /// The kernel's estimate of the payload the peer sends; it starts at 536 and grows with what comes.
    pub rcv_mss: u32,
    /// What this end has announced as its MSS, options deducted as in `snd_mss`.
    pub advmss: u32,
    /// The path MTU known so far. 0 where the kernel has no route cached.
    pub pmtu: u32,
    /// Segments sent and not acknowledged. For a listener: connections that wait for accept(2).
    pub unacked: u32,
    /// Segments the peer has acknowledged out of order. For a listener: the backlog.
    pub sacked: u32,
    /// Segments thought lost.
    pub lost: u32,
    /// Segments that are now being retransmitted.
    pub retrans: u32,
    /// Retransmissions ever.
    pub total_retrans: u32,
    /// Unanswered retransmissions of the oldest segment.
    pub retransmits: u8,
    /// Unanswered probes of a closed window, or of a silent peer.
    pub probes: u8,
    /// Milliseconds since data was last sent.
    pub last_data_sent_ms: u32,
    /// Milliseconds since data last came. FIN is no data.
    pub last_data_recv_ms: u32,
    /// Milliseconds since the last segment with an acceptable ACK came; FIN carries one.
    pub last_ack_recv_ms: u32,
    /// The smoothed round-trip time. `None`: no sample yet.
    pub rtt_us: Option<u32>,
    /// Its mean deviation.
    pub rttvar_us: u32,
    /// The smallest round-trip time of late (Linux 4.6).
    pub min_rtt_us: Option<u32>,
    /// The receiver's estimate of the round-trip time.
    pub rcv_rtt_us: Option<u32>,
    /// The congestion window, in segments.
    pub cwnd: u32,
    /// Where slow start ends, in segments. `None`: not set yet.
    pub ssthresh: Option<u32>,
    /// The most the receive window may grow to now.
    pub rcv_ssthresh: u32,
    /// The receive buffer's autotuning target.
    pub rcv_space: u32,
    /// What the peer allows to be sent, scaled (Linux 5.4).
    pub snd_wnd: Option<u32>,
    /// What this end has allowed the peer to send, scaled (Linux 6.2).
    pub rcv_wnd: Option<u32>,
    /// Bytes written and not sent yet (Linux 4.6).
    pub notsent: Option<u32>,
    /// Bytes per second that leave at most (Linux 3.15). `None` also: no pacing.
    pub pacing_rate: Option<u64>,
    /// Bytes per second that arrived of late (Linux 4.9).
    pub delivery_rate: Option<u64>,
    /// Bytes the peer has acknowledged (Linux 4.1); SYN and FIN count as one each.
    pub bytes_acked: Option<u64>,
    /// Bytes received (Linux 4.1); the peer's FIN counts as one.
    pub bytes_received: Option<u64>,
    /// Bytes sent, retransmissions included (Linux 4.19).
    pub bytes_sent: Option<u64>,
    /// Bytes retransmitted (Linux 4.19).
    pub bytes_retrans: Option<u64>,
    /// Segments sent (Linux 4.2).
    pub segs_out: Option<u32>,
    /// Segments received (Linux 4.2).
    pub segs_in: Option<u32>,
    /// Segments with data sent (Linux 4.6).
    pub data_segs_out: Option<u32>,
    /// Segments with data received (Linux 4.6).
    pub data_segs_in: Option<u32>,
    /// How long there was something to send (Linux 4.10).
    pub busy_us: Option<u64>,
    /// How long of it the peer's window held it up (Linux 4.10).
    pub rwnd_limited_us: Option<u64>,
    /// How long of it the send buffer held it up (Linux 4.10).
    pub sndbuf_limited_us: Option<u64>,
    /// Segments that came out of order (Linux 5.4).
    pub rcv_ooopack: Option<u32>,
}

impl TcpInfo {
    /// What every kernel since 2.6 fills.
    const BASE: usize = 104;

    /// From as many bytes as the kernel gave. `None`: fewer than any kernel gives.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let all = Bytes(bytes);
        let base = Bytes(bytes.get(..Self::BASE)?);
        let options = base.u8(5)?;
        let scaled = options & OPT_WSCALE != 0;
        let scales = base.u8(6)?;
        // The compiler lays bit-fields out from the low end on little-endian machines and from the high end on others.
        let (snd, rcv) = match cfg!(target_endian = "little") {
            true => (scales & 15, scales >> 4),
            false => (scales >> 4, scales & 15),
        };
        Some(TcpInfo {
            state: TcpState::from_raw(base.u8(0)?),
            timestamps: options & OPT_TIMESTAMPS != 0,
            sack: options & OPT_SACK != 0,
            ecn: options & OPT_ECN != 0,
            snd_wscale: scaled.then_some(snd),
            rcv_wscale: scaled.then_some(rcv),
            retransmits: base.u8(2)?,
            probes: base.u8(3)?,
            rto_us: base.u32(8)?,
            ato_us: base.u32(12)?,
            snd_mss: base.u32(16)?,
            rcv_mss: base.u32(20)?,
            unacked: base.u32(24)?,
            sacked: base.u32(28)?,
            lost: base.u32(32)?,
            retrans: base.u32(36)?,
            last_data_sent_ms: base.u32(44)?,
            last_data_recv_ms: base.u32(52)?,
            last_ack_recv_ms: base.u32(56)?,
            pmtu: base.u32(60)?,
            rcv_ssthresh: base.u32(64)?,
            rtt_us: base.u32(68).filter(|&rtt| rtt != 0),
            rttvar_us: base.u32(72)?,
            ssthresh: base.u32(76).filter(|&ssthresh| ssthresh < INFINITE_SSTHRESH),
            cwnd: base.u32(80)?,
            advmss: base.u32(84)?,
            rcv_rtt_us: base.u32(92).filter(|&rtt| rtt != 0),
            rcv_space: base.u32(96)?,
            total_retrans: base.u32(100)?,
            pacing_rate: all.u64(104).filter(|&rate| rate != u64::MAX && rate != u64::from(u32::MAX)),
            bytes_acked: all.u64(120),
            bytes_received: all.u64(128),
            segs_out: all.u32(136),
            segs_in: all.u32(140),
            notsent: all.u32(144),
            min_rtt_us: all.u32(148).filter(|&rtt| rtt != u32::MAX && rtt != 0),
            data_segs_in: all.u32(152),
            data_segs_out: all.u32(156),
            delivery_rate: all.u64(160),
            busy_us: all.u64(168),
            rwnd_limited_us: all.u64(176),
            sndbuf_limited_us: all.u64(184),
            bytes_sent: all.u64(200),
            bytes_retrans: all.u64(208),
            rcv_ooopack: all.u32(224),
            snd_wnd: all.u32(228),
            rcv_wnd: all.u32(232),
        })
    }
}

// linux/tcp.h
const OPT_TIMESTAMPS: u8 = 1;
const OPT_SACK: u8 = 2;
const OPT_WSCALE: u8 = 4;
const OPT_ECN: u8 = 8;
/// net/tcp.h: slow start has no end yet.
const INFINITE_SSTHRESH: u32 = 0x7fff_ffff;

/// TCP_INFO of an own socket (tcp(7)). One system call.
///
/// # Errors
/// EBADF, ENOTSOCK, ENOPROTOOPT: the descriptor is no TCP socket.
pub fn tcp_info(socket: impl AsFd) -> io::Result<TcpInfo> {
    // More than any kernel fills (6.18: 248 bytes); the kernel says how much it did.
    let mut buffer = [0u8; 512];
    let mut len = buffer.len() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    let at = buffer.as_mut_ptr().cast();
    // SAFETY: `at` is writable for `len` bytes.
    retry(|| syscall!(unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, at, &mut len) }))
        .map_err(io_error)?;
    let filled = buffer.get(..len as usize).unwrap_or(&buffer);
    TcpInfo::parse(filled).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
