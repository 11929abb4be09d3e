//! What is asked, and a little program by which the kernel itself picks the sockets of a port.
//!
//! The kernel has two forms of the question. The newer, struct inet_diag_req_v2, names one address family; each of two
//! questions walks the whole table of connections. The older, struct inet_diag_req, takes any family and walks it once:
//! with 10,000 sockets a fifth of the time less. ss(8) uses the newer one, so an emulated kernel may have only that.

use super::StateSet;

/// Which address families.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Families {
    /// Both.
    #[default]
    Both,
    /// Sockets of AF_INET.
    V4,
    /// Sockets of AF_INET6; they may speak IPv4 with mapped addresses (ipv6(7)).
    V6,
}

/// Whose sockets one question asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// Everybody's, in the older form.
    Any,
    /// One family's, in the newer.
    Family(u8),
}

impl Families {
    /// The questions that answer this one, without the older form where that is not known.
    pub(super) fn questions(self, knows_any: bool) -> &'static [Whose] {
        const V4: Whose = Whose::Family(libc::AF_INET as u8);
        const V6: Whose = Whose::Family(libc::AF_INET6 as u8);
        match self {
            Families::Both if knows_any => &[Whose::Any],
            Families::Both => &[V4, V6],
            Families::V4 => &[V4],
            Families::V6 => &[V6],
        }
    }
}

/// Which ports; the kernel filters, and what it leaves out costs next to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ports {
    /// All.
    #[default]
    Any,
    /// Sockets whose own port it is: a server's side.
    Local(u16),
    /// Sockets with this port at either end.
    Either(u16),
}

/// What is to be told beyond the addresses, the state and the queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Details {
    /// `TcpSocket::info`: some 250 bytes of each connection.
    pub info: bool,
    /// `TcpSocket::memory`.
    pub memory: bool,
    /// `TcpSocket::congestion`.
    pub congestion: bool,
}

impl Details {
    /// Everything.
    pub const ALL: Details = Details { info: true, memory: true, congestion: true };
}

/// What to dump. The default is every socket without details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Query {
    /// Which families.
    pub families: Families,
    /// Which states.
    pub states: StateSet,
    /// Which ports.
    pub ports: Ports,
    /// How much of each.
    pub details: Details,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            families: Families::Both,
            states: StateSet::ALL,
            ports: Ports::Any,
            details: Details::default(),
        }
    }
}

/// TCPDIAG_GETSOCK, the older form.
pub(super) const ANY: u16 = 18;
/// SOCK_DIAG_BY_FAMILY (Linux 3.3).
pub(super) const BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH.
const DUMP: u16 = 0x301;

// linux/inet_diag.h: attribute n is asked for by bit n - 1.
pub(super) const INFO: u16 = 2;
pub(super) const CONG: u16 = 4;
pub(super) const SKMEMINFO: u16 = 7;
pub(super) const SHUTDOWN: u16 = 8;
pub(super) const SKV6ONLY: u16 = 11;

const REQ_BYTECODE: u16 = 1;

impl Query {
    /// The datagram that asks.
    pub(super) fn datagram(&self, whose: Whose, sequence: u32) -> Vec<u8> {
        let bit = |on: bool, attribute: u16| u8::from(on) << (attribute - 1);
        let Details { info, memory, congestion } = self.details;
        let wanted = bit(info, INFO) | bit(memory, SKMEMINFO) | bit(congestion, CONG) | bit(true, SHUTDOWN);
        let mut bytes = Vec::with_capacity(128);
        // struct nlmsghdr; the length is filled in at the end. Port id 0: the kernel knows who asks.
        bytes.extend([0; 4]);
        bytes.extend(if whose == Whose::Any { ANY } else { BY_FAMILY }.to_ne_bytes());
        bytes.extend(DUMP.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        // The address fields could ask for one end only, and so stay 0: any.
        let (id, states) = ([0; 48], self.states.mask().to_ne_bytes());
        match whose {
            // Family, lengths of prefixes, attributes; address; states; tables, of which the kernel knows no more.
            Whose::Any => {
                bytes.extend([libc::AF_UNSPEC as u8, 0, 0, wanted]);
                bytes.extend(id);
                bytes.extend(states);
                bytes.extend([0; 4]);
            }
            // Family, protocol, attributes, padding; states; address.
            Whose::Family(family) => {
                bytes.extend([family, libc::IPPROTO_TCP as u8, wanted, 0]);
                bytes.extend(states);
                bytes.extend(id);
            }
        }
        let program = program(self.ports);
        if !program.is_empty() {
            bytes.extend((program.len() as u16 + 4).to_ne_bytes());
            bytes.extend(REQ_BYTECODE.to_ne_bytes());
            bytes.extend(program);
        }
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }
}

/// struct inet_diag_bc_op, each with a jump for yes and one for no: landing exactly at the end takes the socket, past
/// the end leaves it. The host condition with an empty prefix compares the port alone; every kernel has it, which is
/// not true of the shorter S_EQ (Linux 4.16).
fn program(ports: Ports) -> Vec<u8> {
    const JMP: u8 = 1;
    const S_COND: u8 = 7;
    const D_COND: u8 = 8;
    const OP: u16 = 4;
    const COND: u16 = OP + 8;
    let op = |code: u8, yes: u16, no: u16| {
        let [low, high] = no.to_ne_bytes();
        [code, yes as u8, low, high]
    };
    // struct inet_diag_hostcond: AF_UNSPEC, prefix length 0, padding, the port as an int.
    let condition = |code: u8, no: u16, port: u16| {
        let mut bytes = op(code, COND, no).to_vec();
        bytes.extend([0; 4]);
        bytes.extend(i32::from(port).to_ne_bytes());
        bytes
    };
    let past_end = COND + 4;
    match ports {
        Ports::Any => Vec::new(),
        Ports::Local(port) => condition(S_COND, past_end, port),
        Ports::Either(port) => {
            // Ours? Then over the second condition, by a jump. Otherwise on to it.
            let mut bytes = condition(S_COND, COND + OP, port);
            bytes.extend(op(JMP, OP, OP + COND));
            bytes.extend(condition(D_COND, past_end, port));
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp_diag::TcpState;

    #[test]
    fn the_datagram_is_laid_out_as_the_kernel_reads_it() {
        let query = Query {
            states: StateSet::of(&[TcpState::Listen]),
            ports: Ports::Either(8080),
            details: Details::ALL,
            ..Query::default()
        };
        let bytes = query.datagram(Whose::Family(2), 7);
        assert_eq!(bytes.len(), 72 + 4 + 28);
        assert_eq!(bytes[..4], 104u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 20u16.to_ne_bytes());
        assert_eq!(bytes[8..12], 7u32.to_ne_bytes());
        assert_eq!(bytes[16..20], [2, 6, 0b1100_1010, 0]);
        assert_eq!(bytes[20..24], (1u32 << 10).to_ne_bytes());
        assert_eq!(bytes[72..74], 32u16.to_ne_bytes());
        assert_eq!((bytes[76], bytes[77], bytes[88], bytes[92]), (7, 12, 1, 8));
        assert_eq!(Query::default().datagram(Whose::Family(10), 0).len(), 72);
        let older = query.datagram(Whose::Any, 7);
        assert_eq!((older.len(), &older[4..6]), (76 + 4 + 28, &18u16.to_ne_bytes()[..]));
        assert_eq!((older[16], older[19], &older[68..72]), (0, 0b1100_1010, &(1u32 << 10).to_ne_bytes()[..]));
        assert_eq!(older[76..], bytes[72..]);
    }
}
