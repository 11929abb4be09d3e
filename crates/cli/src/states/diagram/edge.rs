//! The edges of RFC 9293, figure 5, each with what makes a connection take it: a call of the program here, a segment
//! that arrives, or time.

use crate::lang::Lang;
use duolu_sys::tcp_diag::TcpState;

/// An edge of the figure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Edge {
    PassiveOpen,
    ActiveOpen,
    ListenerClosed,
    ConnectFailed,
    SynArrived,
    ListenerSends,
    HandshakeReset,
    BothOpened,
    Accepted,
    Connected,
    ClosedEarly,
    ActiveClose,
    FinArrived,
    BothClosed,
    FinAcked,
    PassiveClose,
    PeerClosed,
    BothAcked,
    LastAcked,
    Expired,
}

/// Whose way through the figure an edge belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// Opens by connect() and closes first: a client, as a rule. Whoever closes first takes its lower half.
    Client,
    /// Waits for connections and closes second: a server, as a rule.
    Server,
    /// Seldom taken.
    Rare,
}

/// An edge's words, in English and Chinese.
struct About {
    from: TcpState,
    to: TcpState,
    path: Path,
    /// A call of the program, or what arrives.
    cause: (&'static str, &'static str),
    /// The segment that goes out.
    sends: &'static str,
    /// What it is to the program.
    program: (&'static str, &'static str),
}

use TcpState::*;

impl Edge {
    /// All, from top to bottom.
    pub const ALL: [Edge; 20] = [
        Edge::PassiveOpen,
        Edge::ActiveOpen,
        Edge::ListenerClosed,
        Edge::ConnectFailed,
        Edge::SynArrived,
        Edge::ListenerSends,
        Edge::HandshakeReset,
        Edge::BothOpened,
        Edge::Accepted,
        Edge::Connected,
        Edge::ClosedEarly,
        Edge::ActiveClose,
        Edge::FinArrived,
        Edge::BothClosed,
        Edge::FinAcked,
        Edge::PassiveClose,
        Edge::PeerClosed,
        Edge::BothAcked,
        Edge::LastAcked,
        Edge::Expired,
    ];

    const fn about(self) -> About {
        use Path::*;
        let (from, to, path, cause, sends, program) = match self {
            Edge::PassiveOpen => (
                Closed,
                Listen,
                Server,
                ("listen()", "listen()"),
                "",
                ("after bind(); nothing is sent", "在 bind() 之后；不发送任何报文"),
            ),
            Edge::ActiveOpen => (
                Closed,
                SynSent,
                Client,
                ("connect()", "connect()"),
                "SYN",
                ("non-blocking: EINPROGRESS", "非阻塞时得到 EINPROGRESS"),
            ),
            Edge::ListenerClosed => (
                Listen,
                Closed,
                Rare,
                ("close()", "close()"),
                "",
                ("what waits in its queue is reset", "还在队列里的连接被重置"),
            ),
            Edge::ConnectFailed => (
                SynSent,
                Closed,
                Rare,
                ("close(), refused", "close() 被拒绝"),
                "",
                ("ECONNREFUSED, ETIMEDOUT", "ECONNREFUSED、ETIMEDOUT"),
            ),
            Edge::SynArrived => (
                Listen,
                SynReceived,
                Server,
                ("rcv SYN", "收 SYN"),
                "SYN,ACK",
                ("the kernel answers; the program sleeps on", "内核应答，程序还不知道"),
            ),
            Edge::ListenerSends => (
                Listen,
                SynSent,
                Rare,
                ("never on Linux", "Linux 上没有"),
                "",
                ("connect() on a listener fails: EISCONN", "对监听套接字 connect() 会失败：EISCONN"),
            ),
            Edge::HandshakeReset => (
                SynReceived,
                Listen,
                Rare,
                ("rcv RST", "收 RST"),
                "",
                ("the program never knew of it", "程序从头到尾不知道"),
            ),
            Edge::BothOpened => (
                SynSent,
                SynReceived,
                Rare,
                ("rcv SYN", "收 SYN"),
                "SYN,ACK",
                ("both ends called connect() at once", "两端同时 connect()"),
            ),
            Edge::Accepted => (
                SynReceived,
                Established,
                Server,
                ("rcv ACK", "收 ACK"),
                "",
                ("queued for accept(), which moves nothing", "进入队列等 accept()，它不改变状态"),
            ),
            Edge::Connected => (
                SynSent,
                Established,
                Client,
                ("rcv SYN,ACK", "收 SYN,ACK"),
                "ACK",
                ("connect() returns; EPOLLOUT", "connect() 返回；EPOLLOUT"),
            ),
            Edge::ClosedEarly => (
                SynReceived,
                FinWait1,
                Rare,
                ("close()", "close()"),
                "FIN",
                ("before the handshake has ended", "握手还没有结束"),
            ),
            Edge::ActiveClose => (
                Established,
                FinWait1,
                Client,
                ("close()/shutdown()", "close()/shutdown()"),
                "FIN",
                ("close() of its last descriptor", "close() 要关到最后一个描述符"),
            ),
            Edge::FinArrived => (
                Established,
                CloseWait,
                Server,
                ("rcv FIN", "收 FIN"),
                "ACK",
                ("read() gives 0; EPOLLRDHUP", "read() 返回 0；EPOLLRDHUP"),
            ),
            Edge::BothClosed => (
                FinWait1,
                Closing,
                Rare,
                ("rcv FIN", "收 FIN"),
                "ACK",
                ("both ends closed at once", "两端同时关闭"),
            ),
            Edge::FinAcked => (
                FinWait1,
                FinWait2,
                Client,
                ("rcv ACK", "收 ACK"),
                "",
                ("the peer has not closed yet", "对方还没有 close()"),
            ),
            Edge::PassiveClose => (
                CloseWait,
                LastAck,
                Server,
                ("close()", "close()"),
                "FIN",
                ("forgotten: CLOSE-WAIT for ever", "忘了它，就一直 CLOSE-WAIT"),
            ),
            Edge::PeerClosed => (
                FinWait2,
                TimeWait,
                Client,
                ("rcv FIN", "收 FIN"),
                "ACK",
                ("whoever closed first waits", "谁先关闭，谁来等"),
            ),
            Edge::BothAcked => {
                (Closing, TimeWait, Rare, ("rcv ACK", "收 ACK"), "", ("both ends wait", "两端都要等"))
            }
            Edge::LastAcked => (
                LastAck,
                Closed,
                Server,
                ("rcv ACK", "收 ACK"),
                "",
                ("nothing is left of it", "什么也不留下"),
            ),
            Edge::Expired => (
                TimeWait,
                Closed,
                Client,
                ("60 s", "60 秒"),
                "",
                ("fixed in Linux; no setting", "Linux 写死，无法设置"),
            ),
        };
        About { from, to, path, cause, sends, program }
    }

    /// Where it begins.
    pub const fn from(self) -> TcpState {
        self.about().from
    }

    /// Where it ends.
    pub const fn to(self) -> TcpState {
        self.about().to
    }

    /// Whose way it is part of.
    pub const fn path(self) -> Path {
        self.about().path
    }

    /// What moves a connection along it, and the segment that goes out then: `connect() → SYN`.
    pub fn cause(self, lang: Lang) -> String {
        let about = self.about();
        let cause = lang.pick(about.cause.0, about.cause.1);
        if about.sends.is_empty() { cause.to_owned() } else { format!("{cause} → {}", about.sends) }
    }

    /// What it is to the program.
    pub const fn program(self, lang: Lang) -> &'static str {
        let about = self.about();
        lang.pick(about.program.0, about.program.1)
    }

    /// In the figure, but no kernel of Linux takes it.
    pub const fn is_never(self) -> bool {
        matches!(self, Edge::ListenerSends)
    }

    /// The edge between two states.
    pub fn between(from: TcpState, to: TcpState) -> Option<Edge> {
        Edge::ALL.into_iter().find(|edge| (edge.from(), edge.to()) == (from, to))
    }
}

impl Path {
    /// All.
    pub const ALL: [Path; 3] = [Path::Client, Path::Server, Path::Rare];

    /// For the legend.
    pub const fn name(self, lang: Lang) -> &'static str {
        match self {
            Path::Client => lang.pick("client: connects, closes first", "客户端：主动连接，先关闭"),
            Path::Server => lang.pick("server: listens, closes last", "服务器：监听，后关闭"),
            Path::Rare => lang.pick("rare", "少见"),
        }
    }

    /// For attributes of the page.
    pub const fn key(self) -> &'static str {
        match self {
            Path::Client => "client",
            Path::Server => "server",
            Path::Rare => "rare",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9293, section 3.3.2, figure 5, read edge by edge from the top.
    const FIGURE_5: [(TcpState, TcpState); 20] = [
        (Closed, Listen),
        (Closed, SynSent),
        (Listen, Closed),
        (SynSent, Closed),
        (Listen, SynReceived),
        (Listen, SynSent),
        (SynReceived, Listen),
        (SynSent, SynReceived),
        (SynReceived, Established),
        (SynSent, Established),
        (SynReceived, FinWait1),
        (Established, FinWait1),
        (Established, CloseWait),
        (FinWait1, Closing),
        (FinWait1, FinWait2),
        (CloseWait, LastAck),
        (FinWait2, TimeWait),
        (Closing, TimeWait),
        (LastAck, Closed),
        (TimeWait, Closed),
    ];

    #[test]
    fn every_edge_of_the_figure_is_there_once_and_has_its_words() {
        for (at, pair) in FIGURE_5.into_iter().enumerate() {
            assert_eq!((Edge::ALL[at].from(), Edge::ALL[at].to()), pair);
            assert_eq!(Edge::ALL[at] as usize, at, "an edge's number is its place");
            assert_eq!(Edge::between(pair.0, pair.1), Some(Edge::ALL[at]));
            for lang in Lang::BOTH {
                assert!(!Edge::ALL[at].cause(lang).is_empty() && !Edge::ALL[at].program(lang).is_empty());
            }
        }
    }

    #[test]
    fn both_ways_lead_from_closed_to_closed_without_a_gap() {
        for (path, first) in [(Path::Client, SynSent), (Path::Server, Listen)] {
            // Below ESTABLISHED the two ways part, and each has its own edges.
            let (mut at, mut walked) = (first, 1);
            while at != Closed {
                let next = Edge::ALL.into_iter().find(|edge| edge.from() == at && edge.path() == path);
                at = next.unwrap_or_else(|| panic!("{path:?} ends at {at}")).to();
                walked += 1;
            }
            let edges = Edge::ALL.into_iter().filter(|edge| edge.path() == path).count();
            assert_eq!(walked, edges, "{path:?}");
        }
    }
}
