//! What connections themselves show: leaks, small segments held back, clients that do not read.

use super::headroom::{Case, in_state};
use super::look::fds::{Fd, Kind};
use super::machine;
use super::server::Connection;
use super::warnings::Warning;
use super::words::said;
use crate::inspect::life;
use crate::walls::grouped;
use duolu_sys::tcp_diag::{TcpInfo, TcpState};

/// The peer has closed and the program does not.
pub fn close_wait(case: &Case<'_>) -> Option<Warning> {
    const LEAK_MS: u64 = 60_000;
    let old = |connection: &&Connection| {
        connection.socket.state == TcpState::CloseWait
            && life::age(&connection.socket).is_some_and(|age| age.ms >= LEAK_MS)
    };
    let leaked: Vec<&Connection> = case.server.connections.iter().filter(old).collect();
    let oldest = leaked.iter().max_by_key(|connection| life::age(&connection.socket).map(|age| age.ms))?;
    let age = life::age(&oldest.socket)?.ms / 1000;
    let held = oldest.holders.first().and_then(|&pid| {
        let process = case.server.process(pid)?;
        let is_it = |fd: &&Fd| fd.kind == Kind::Socket(oldest.socket.inode);
        let fd = process.fds.as_ref()?.iter().find(is_it)?.number;
        Some((process.title(), fd))
    });
    let (n, remote) = (grouped(leaked.len() as u64), oldest.socket.ends().1);
    let (en, zh) = held.map_or((String::new(), String::new()), |(title, fd)| {
        (format!(": descriptor {fd} of {title}"), format!("：{title} 的描述符 {fd}"))
    });
    let evidence = said!(
        "connections in CLOSE-WAIT for more than 60 s: {n}; the client has closed, the server has not; the oldest, from \
         {remote}, for {age} s{en}",
        "{n} 个连接停在 CLOSE-WAIT 超过 60 秒：客户端已关闭，服务器没有关；最老的来自 {remote}，已 {age} 秒{zh}"
    );
    Some(Warning::new(
        "close-wait",
        evidence,
        (
            "a bug of the server: close() when read() returns 0; until then each keeps a descriptor for ever",
            "这是服务器的缺陷：read() 返回 0 时要 close()；否则每个都永远占着一个描述符",
        ),
    ))
}

/// Nagle's algorithm meets delayed acknowledgement: a small segment is held back until the one before it is acknowledged,
/// and the peer takes 40 ms for that. At any moment nearly all such connections are seen waiting.
pub fn delayed(case: &Case<'_>) -> Option<Warning> {
    // The kernel's least delay of an acknowledgement is 40 ms (TCP_DELACK_MIN). Segments that a question acknowledges
    // sooner pull the mean down to a half of that; a busy machine can have such round trips too, but holds nothing back.
    let is_late = |info: &TcpInfo| {
        let rtt = info.rtt_us.unwrap_or(0);
        let was_short = info.min_rtt_us.is_some_and(|least| least * 8 < rtt);
        (15_000..60_000).contains(&rtt) && was_short && info.last_data_sent_ms < 1000
    };
    let is_held = |info: &TcpInfo| {
        info.notsent.is_some_and(|bytes| bytes > 0 && bytes < info.snd_mss)
            && info.unacked > 0
            && info.unacked < info.cwnd
    };
    let active: Vec<&TcpInfo> = case
        .server
        .connections
        .iter()
        .filter_map(|connection| connection.socket.info.as_deref())
        .filter(|info| info.last_data_sent_ms < 1000)
        .collect();
    let held: Vec<&&TcpInfo> = active.iter().filter(|info| is_late(info) && is_held(info)).collect();
    if held.is_empty() || held.len() * 4 < active.len() {
        return None;
    }
    let rtt = held.iter().filter_map(|info| info.rtt_us).max().unwrap_or(0) / 1000;
    let (n, active) = (grouped(held.len() as u64), grouped(active.len() as u64));
    let evidence = said!(
        "on {n} of {active} active connections a small segment waits for the acknowledgement of the one before, which comes \
         up to 40 ms late (round trip {rtt} ms, otherwise far less): Nagle's algorithm meets delayed acknowledgements",
        "{active} 个活跃连接中有 {n} 个正有小段在等前一段的确认，而确认最多迟到 40 毫秒（往返 {rtt} 毫秒，平时远小于此）：Nagle 算法遇上了延迟确认"
    );
    Some(Warning::new(
        "delayed-ack",
        evidence,
        (
            "TCP_NODELAY on the server's sockets, or write each answer with one call (writev, MSG_MORE)",
            "在服务器的套接字上设 TCP_NODELAY，或把每个回答用一次调用写出（writev、MSG_MORE）",
        ),
    ))
}

/// Answers that nobody takes: the peers' windows, or the send buffers, are full.
pub fn peers_do_not_read(case: &Case<'_>) -> Option<Warning> {
    let is_held = |info: &TcpInfo| {
        let busy = info.busy_us.unwrap_or(0);
        let held = info.rwnd_limited_us.unwrap_or(0);
        // Held up most of the time that there was something to send, and for long enough to matter.
        info.notsent.unwrap_or(0) > 0 && held * 2 > busy && held > 200_000
    };
    let infos = || case.server.connections.iter().filter_map(|connection| connection.socket.info.as_deref());
    let held = infos().filter(|info| is_held(info)).count() as u64;
    let all = case.connections;
    if held == 0 || held * 10 < all {
        return None;
    }
    let waiting: u64 =
        infos().filter(|info| is_held(info)).map(|info| u64::from(info.notsent.unwrap_or(0))).sum();
    let (n, all, bytes) = (grouped(held), grouped(all), machine::bytes(waiting));
    let evidence = said!(
        "{n} of {all} connections wait for their clients, whose receive windows are closed; {bytes} of answers wait \
         (rwnd_limited)",
        "{all} 个连接中有 {n} 个在等客户端：对方的接收窗口已关；积压的回答有 {bytes}（rwnd_limited）"
    );
    Some(Warning::new(
        "peers-do-not-read",
        evidence,
        (
            "the clients are slow, not the server: bound what is queued for each, and a time limit",
            "慢的是客户端，不是服务器：限制每个连接的排队量，并设超时",
        ),
    ))
}

pub fn time_wait(case: &Case<'_>) -> Option<Warning> {
    const PILE: u64 = 5_000;
    let own = in_state(case.server, TcpState::TimeWait);
    if own < PILE || own < case.connections * 2 {
        return None;
    }
    let (n, rate) = (grouped(own), grouped(own / 60));
    let evidence = said!(
        "{n} connections of this server are in TIME-WAIT: it closes first, about {rate} times a second",
        "本服务器有 {n} 个连接处于 TIME-WAIT：由它先关闭，每秒约 {rate} 次"
    );
    Some(Warning::new(
        "time-wait",
        evidence,
        (
            "keep connections open (keep-alive), or let clients close first; TIME-WAIT itself costs little and is no fault",
            "保持长连接（keep-alive），或让客户端先关闭；TIME-WAIT 本身代价很小，不是错误",
        ),
    ))
}
