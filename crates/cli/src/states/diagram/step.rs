//! What a change of state, as the kernel tells it, is on the diagram: an edge, or something that the figure leaves out
//! and that has a name of its own.

use super::edge::Edge;
use crate::lang::Lang;
use duolu_sys::tcp_diag::TcpState::{self, *};

/// What a change of state is on the diagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// One of the figure's edges.
    Edge(Edge),
    /// Not in the figure.
    Other(Other),
    /// FIN-WAIT-2 or CLOSING to CLOSED: something smaller stays in the socket's place, in TIME-WAIT or still in
    /// FIN-WAIT-2, and does not tell when it moves. Its edges are inferred from what stands in TIME-WAIT.
    Minisocket,
}

/// What the figure leaves out "for legibility" (RFC 9293), or what we cannot tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Other {
    /// An end without the two FINs: RST came or was sent (close() with unread data, SO_LINGER 0), or a timeout.
    CutOff,
    /// A handshake that did not come to its end.
    HandshakeFailed,
    /// An orphan in FIN-WAIT-2 whose peer did not close within net.ipv4.tcp_fin_timeout.
    OrphanGivenUp,
    /// FIN-WAIT-2 or CLOSING that did not become TIME-WAIT: TCP_LINGER2 below 0, a reset, TIME-WAIT cut short.
    NoTimeWait,
    /// Between two looks: gone, and whether by FIN or by RST was not seen.
    Vanished,
    /// Any other pair: TCP Fast Open, TCP_REPAIR.
    Unusual,
}

impl Other {
    /// All.
    pub const ALL: [Other; 6] = [
        Other::CutOff,
        Other::HandshakeFailed,
        Other::OrphanGivenUp,
        Other::NoTimeWait,
        Other::Vanished,
        Other::Unusual,
    ];

    /// A few words.
    pub const fn name(self, lang: Lang) -> &'static str {
        match self {
            Other::CutOff => lang.pick("cut off (RST, timeout)", "被切断（RST、超时）"),
            Other::HandshakeFailed => lang.pick("handshake failed", "握手失败"),
            Other::OrphanGivenUp => lang.pick("FIN-WAIT-2 given up", "FIN-WAIT-2 放弃等待"),
            Other::NoTimeWait => lang.pick("no TIME-WAIT", "没有 TIME-WAIT"),
            Other::Vanished => lang.pick("ended unseen", "在两次查看之间结束"),
            Other::Unusual => lang.pick("unusual", "其他"),
        }
    }

    /// What it is to the program.
    pub const fn program(self, lang: Lang) -> &'static str {
        match self {
            Other::CutOff => lang.pick(
                "close() with unread data, SO_LINGER 0, a peer that was killed, retransmissions or keepalives in vain: ECONNRESET, ETIMEDOUT, EPIPE",
                "有未读数据就 close()、SO_LINGER 0、对方被杀死、重传或保活得不到回应：ECONNRESET、ETIMEDOUT、EPIPE",
            ),
            Other::HandshakeFailed => lang.pick(
                "a connection reset before its handshake was over; accept() never sees it",
                "握手完成之前就被重置；accept() 看不到它",
            ),
            Other::OrphanGivenUp => lang.pick(
                "the peer did not close within net.ipv4.tcp_fin_timeout of our close()",
                "我方 close() 之后，对方在 net.ipv4.tcp_fin_timeout 之内没有关闭",
            ),
            Other::NoTimeWait => lang.pick(
                "closed first, and yet did not wait: TCP_LINGER2 below 0, a reset in FIN-WAIT-2, tcp_max_tw_buckets reached, or the same two ports connected again at once (tcp_tw_reuse)",
                "先关闭却没有等待：TCP_LINGER2 小于 0、在 FIN-WAIT-2 被重置、达到 tcp_max_tw_buckets，或同样的两个端口马上又建立连接（tcp_tw_reuse）",
            ),
            Other::Vanished => lang.pick(
                "gone from one look to the next: closed after the peer, or reset; sampling cannot tell which",
                "这次查看时已经不在：后关闭，或被重置；取样分不清",
            ),
            Other::Unusual => {
                lang.pick("a change the figure does not have: TCP Fast Open, TCP_REPAIR", "图上没有的变化：TCP Fast Open、TCP_REPAIR")
            }
        }
    }
}

/// What the change from `old` to `new` is. They differ.
pub fn classify(old: TcpState, new: TcpState) -> Step {
    if let Some(edge) = Edge::between(old, new) {
        return Step::Edge(edge);
    }
    match (old, new) {
        (FinWait2 | Closing, Closed) => Step::Minisocket,
        (SynReceived, Closed) => Step::Other(Other::HandshakeFailed),
        (Established | FinWait1 | CloseWait, Closed) => Step::Other(Other::CutOff),
        _ => Step::Other(Other::Unusual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair that net/ipv4 of Linux 6.18 sets, beyond those of the figure.
    const KERNEL: [(TcpState, TcpState, Step); 8] = [
        (Established, Closed, Step::Other(Other::CutOff)),
        (CloseWait, Closed, Step::Other(Other::CutOff)),
        (FinWait1, Closed, Step::Other(Other::CutOff)),
        (SynReceived, Closed, Step::Other(Other::HandshakeFailed)),
        (FinWait2, Closed, Step::Minisocket),
        (Closing, Closed, Step::Minisocket),
        // A FIN with the data of TCP Fast Open; TCP_REPAIR.
        (SynReceived, CloseWait, Step::Other(Other::Unusual)),
        (Closed, Established, Step::Other(Other::Unusual)),
    ];

    #[test]
    fn every_pair_is_an_edge_or_has_a_name() {
        let mut edges = 0;
        for old in TcpState::ALL {
            for new in TcpState::ALL.into_iter().filter(|new| *new != old) {
                match classify(old, new) {
                    Step::Edge(edge) => {
                        assert_eq!((edge.from(), edge.to()), (old, new));
                        edges += 1;
                    }
                    // Ends that the figure leaves out may only lead to CLOSED.
                    Step::Minisocket | Step::Other(Other::CutOff | Other::HandshakeFailed) => {
                        assert_eq!(new, Closed);
                    }
                    Step::Other(other) => assert_eq!(other, Other::Unusual, "{old} {new}"),
                }
            }
        }
        assert_eq!(edges, Edge::ALL.len());
        for (old, new, step) in KERNEL {
            assert_eq!(classify(old, new), step, "{old} {new}");
        }
    }

    #[test]
    fn a_named_other_has_words_in_both_languages_and_its_own_number() {
        for (at, other) in Other::ALL.into_iter().enumerate() {
            assert_eq!(other as usize, at);
            assert_ne!(other.name(Lang::En), other.name(Lang::Zh));
            assert_ne!(other.program(Lang::En), other.program(Lang::Zh));
        }
    }
}
