//! The words of the text, English and Chinese side by side.

use crate::lang::Lang;
use duolu_sys::tcp_diag::TcpState;

/// What a state means, in one line, for somebody who meets it for the first time.
pub fn state(lang: Lang, state: TcpState) -> &'static str {
    let (en, zh) = match state {
        TcpState::Listen => (
            "waits for connections; its queue holds those that no accept() has taken yet",
            "等待连接；队列里是握手已完成、还没有被 accept() 取走的连接",
        ),
        TcpState::SynSent => ("connect() has sent SYN; no answer yet", "connect() 已发出 SYN，还没有应答"),
        TcpState::SynReceived => (
            "the kernel has answered a SYN and waits for the last ACK; the program does not know of it yet",
            "内核已应答 SYN，在等握手的最后一个 ACK；程序还不知道这个连接",
        ),
        TcpState::Established => ("open: both ends may send", "连接已建立，两端都可以发送"),
        TcpState::FinWait1 => (
            "this end closed first (close() or shutdown()); its FIN is not acknowledged yet",
            "这一端先关闭（close() 或 shutdown()），FIN 还没有被确认",
        ),
        TcpState::FinWait2 => (
            "this end closed first and its FIN is acknowledged; the other end has yet to close",
            "这一端先关闭，FIN 已被确认，等对端关闭",
        ),
        TcpState::CloseWait => (
            "the other end has closed (read() gives 0 here); this stays until the program here calls close()",
            "对端已关闭（这里 read() 得到 0）；程序不调用 close()，就一直停在这个状态",
        ),
        TcpState::Closing => ("both ends closed at the same time", "两端同时关闭"),
        TcpState::LastAck => (
            "both have closed, the other end first; the last ACK is on its way",
            "两端都已关闭，对端在先；在等最后一个 ACK",
        ),
        TcpState::TimeWait => (
            "this end closed first; the kernel alone keeps it for 60 s, for late segments; no program holds it",
            "这一端先关闭；内核为迟到的报文保留 60 秒，已没有程序持有它",
        ),
        TcpState::Closed => ("no connection", "没有连接"),
    };
    lang.pick(en, zh)
}

/// Headings of columns.
pub struct Heads {
    /// A state.
    pub state: &'static str,
    /// The client's address.
    pub client: &'static str,
    /// The server's.
    pub server: &'static str,
    /// One end's address, where it is not known which is which.
    pub one: &'static str,
    /// The other one's.
    pub other: &'static str,
    /// A listener's address.
    pub address: &'static str,
    /// Process, pid and descriptor.
    pub held: &'static str,
    /// The queue of a listener.
    pub queue: &'static str,
    /// Who closed first.
    pub closed_first: &'static str,
    /// How long in this state.
    pub age: &'static str,
    /// Both queues.
    pub queues: &'static str,
    /// Round-trip time.
    pub rtt: &'static str,
    /// Sent, received, announced.
    pub mss: &'static str,
    /// Path MTU.
    pub pmtu: &'static str,
    /// What the peer and this end allow.
    pub window: &'static str,
    /// Their shifts.
    pub scale: &'static str,
    /// Congestion window.
    pub cwnd: &'static str,
}

/// The headings of a language.
pub fn heads(lang: Lang) -> Heads {
    match lang {
        Lang::En => Heads {
            state: "STATE",
            client: "CLIENT",
            server: "SERVER",
            one: "ONE END",
            other: "OTHER END",
            address: "ADDRESS",
            held: "HELD BY",
            queue: "ACCEPT QUEUE",
            closed_first: "CLOSED FIRST",
            age: "AGE",
            queues: "RECV/SEND-Q",
            rtt: "RTT",
            mss: "MSS",
            pmtu: "PMTU",
            window: "WINDOW",
            scale: "SCALE",
            cwnd: "CWND",
        },
        Lang::Zh => Heads {
            state: "状态",
            client: "客户端",
            server: "服务器",
            one: "一端",
            other: "另一端",
            address: "地址",
            held: "持有者",
            queue: "accept 队列",
            closed_first: "先关闭",
            age: "时长",
            queues: "收/发队列",
            rtt: "RTT",
            mss: "MSS",
            pmtu: "PMTU",
            window: "窗口",
            scale: "窗口位移",
            cwnd: "cwnd",
        },
    }
}

/// What a column means, in one line; by its heading.
pub fn column(lang: Lang, head: &str) -> Option<&'static str> {
    let heads = heads(lang);
    let known = [
        (
            heads.held,
            "process pid/descriptor; +n: so many more descriptors hold it (dup, fork)",
            "进程名 pid/描述符；+n：还有 n 个描述符持有它（dup、fork）",
        ),
        (
            heads.age,
            "how long in this state; ≥: at least, the kernel keeps only the time of the last segment",
            "处于该状态多久；≥：至少，内核只记得最后一个报文的时间",
        ),
        (
            heads.queues,
            "bytes not read yet (an unread FIN counts as 1) / bytes not acknowledged yet",
            "还没有读走的字节（未读到的 FIN 算 1）/ 还没有被确认的字节",
        ),
        (
            heads.mss,
            "payload of a segment: sent / seen from the peer / announced to the peer, options deducted",
            "每个报文段的数据长度：发送 / 对端发来的 / 向对端通告的，已减去选项",
        ),
        (
            heads.pmtu,
            "the largest packet the way is known to take, headers included",
            "路径上能通过的最大分组，含首部",
        ),
        (
            heads.window,
            "bytes that the peer / that this end lets the other have on the way (shifted by SCALE)",
            "对端 / 本端允许对方在途的字节数（已按窗口位移换算）",
        ),
    ];
    known.into_iter().find(|(name, ..)| *name == head).map(|(_, en, zh)| lang.pick(en, zh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_explained_in_both_languages() {
        for of in TcpState::ALL {
            let (en, zh) = (state(Lang::En, of), state(Lang::Zh, of));
            assert!(en.is_ascii() && !en.is_empty(), "{of}");
            assert!(zh.chars().any(|c| c > '\u{2e7f}'), "{of}");
        }
        for lang in Lang::BOTH {
            assert!(column(lang, heads(lang).mss).is_some() && column(lang, "?").is_none());
        }
    }
}
