//! The eleven states of TCP, under the names of RFC 9293, section 3.3.2.

use std::fmt;
use std::str::FromStr;

/// A state of a TCP connection. The numbers are the kernel's (linux/tcp_states.h).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum TcpState {
    /// Both sides may send.
    Established = 1,
    /// connect(2) has sent SYN.
    SynSent = 2,
    /// A listener has answered a SYN with SYN-ACK and waits for the last ACK of the handshake.
    SynReceived = 3,
    /// This end has sent FIN first, and it is not acknowledged yet.
    FinWait1 = 4,
    /// This end's FIN is acknowledged; the peer may still send.
    FinWait2 = 5,
    /// Both have closed, this end first; the kernel answers late segments for 60 seconds.
    TimeWait = 6,
    /// No connection: after an abort, or before connect(2).
    Closed = 7,
    /// The peer has sent FIN; the program at this end has not closed yet.
    CloseWait = 8,
    /// The peer closed first, this end has sent its FIN too and waits for its acknowledgement.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Both have sent FIN before either has seen the other's.
    Closing = 11,
}

impl TcpState {
    /// All, in the order of a connection's life.
    pub const ALL: [TcpState; 11] = [
        TcpState::Listen,
        TcpState::SynSent,
        TcpState::SynReceived,
        TcpState::Established,
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::CloseWait,
        TcpState::Closing,
        TcpState::LastAck,
        TcpState::TimeWait,
        TcpState::Closed,
    ];

    /// From the kernel's number. It has two more than the RFC: 12, a SYN-RECEIVED that is not a full socket yet
    /// (Linux 4.4), and 13, a socket that has only been bound (Linux 6.8).
    pub fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => TcpState::Established,
            2 => TcpState::SynSent,
            3 | 12 => TcpState::SynReceived,
            4 => TcpState::FinWait1,
            5 => TcpState::FinWait2,
            6 => TcpState::TimeWait,
            7 | 13 => TcpState::Closed,
            8 => TcpState::CloseWait,
            9 => TcpState::LastAck,
            10 => TcpState::Listen,
            11 => TcpState::Closing,
            _ => return None,
        })
    }

    /// RFC 9293's name.
    pub const fn name(self) -> &'static str {
        match self {
            TcpState::Established => "ESTABLISHED",
            TcpState::SynSent => "SYN-SENT",
            TcpState::SynReceived => "SYN-RECEIVED",
            TcpState::FinWait1 => "FIN-WAIT-1",
            TcpState::FinWait2 => "FIN-WAIT-2",
            TcpState::TimeWait => "TIME-WAIT",
            TcpState::Closed => "CLOSED",
            TcpState::CloseWait => "CLOSE-WAIT",
            TcpState::LastAck => "LAST-ACK",
            TcpState::Listen => "LISTEN",
            TcpState::Closing => "CLOSING",
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no state of TCP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownState(pub String);

impl fmt::Display for UnknownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = TcpState::ALL.iter().map(|state| state.name()).collect();
        write!(f, "'{}' is not a TCP state; it is one of {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownState {}

impl FromStr for TcpState {
    type Err = UnknownState;

    /// Also as ss(8) and netstat(8) write them: estab, syn-recv, fin_wait2, unconn; in any case of letters.
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let bare = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
        let asked = bare(text);
        let by_tool = match asked.as_str() {
            "estab" => Some(TcpState::Established),
            "synrecv" => Some(TcpState::SynReceived),
            "unconn" | "close" => Some(TcpState::Closed),
            "listening" => Some(TcpState::Listen),
            _ => None,
        };
        by_tool
            .or_else(|| TcpState::ALL.into_iter().find(|state| bare(state.name()) == asked))
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// A set of states.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateSet(u32);

impl StateSet {
    /// Every state.
    pub const ALL: StateSet = StateSet::of(&TcpState::ALL);
    /// No state.
    pub const NONE: StateSet = StateSet(0);

    /// These.
    pub const fn of(states: &[TcpState]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < states.len() {
            bits |= 1 << states[at] as u32;
            at += 1;
        }
        StateSet(bits)
    }

    /// Whether `state` is in it.
    pub const fn contains(self, state: TcpState) -> bool {
        self.0 & 1 << state as u32 != 0
    }

    /// Those in both.
    pub const fn and(self, other: StateSet) -> StateSet {
        StateSet(self.0 & other.0)
    }

    /// Whether no state is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// idiag_states. The half-open connections of a listener have a number of their own since Linux 4.4; older kernels
    /// ignore the bit.
    pub(super) const fn mask(self) -> u32 {
        const NEW_SYN_RECV: u32 = 12;
        match self.contains(TcpState::SynReceived) {
            true => self.0 | 1 << NEW_SYN_RECV,
            false => self.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_as_other_tools_write_them() {
        for state in TcpState::ALL {
            assert_eq!(state.name().parse(), Ok(state));
            assert_eq!(TcpState::from_raw(state as u8), Some(state));
            assert!(StateSet::ALL.contains(state));
        }
        for (text, state) in [
            ("estab", TcpState::Established),
            ("SYN_RECV", TcpState::SynReceived),
            ("fin_wait2", TcpState::FinWait2),
            ("FIN-WAIT-1", TcpState::FinWait1),
            ("time-wait", TcpState::TimeWait),
            ("Listening", TcpState::Listen),
        ] {
            assert_eq!(text.parse(), Ok(state), "{text}");
        }
        let refused = "asleep".parse::<TcpState>().expect_err("no state").to_string();
        assert!(refused.contains("asleep") && refused.contains("TIME-WAIT"), "{refused}");
        assert_eq!(TcpState::from_raw(0), None);
        assert_eq!(TcpState::from_raw(14), None);
    }

    #[test]
    fn the_mask_asks_for_half_open_connections_by_both_numbers() {
        assert_eq!(StateSet::of(&[TcpState::Established]).mask(), 1 << 1);
        assert_eq!(StateSet::of(&[TcpState::SynReceived]).mask(), 1 << 3 | 1 << 12);
        let both = StateSet::ALL.and(StateSet::of(&[TcpState::Listen]));
        assert!(both.contains(TcpState::Listen) && !both.contains(TcpState::TimeWait) && !both.is_empty());
        assert!(both.and(StateSet::NONE).is_empty());
    }
}
