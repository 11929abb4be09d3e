//! The columns: of listeners, and of connections with both ends.

use super::layout::{Cell, Column, fit};
use super::view::{End, Row, There};
use super::words;
use crate::compare::figures::{bytes, time_us};
use crate::inspect::{Closer, Role, Snapshot, Socket};
use crate::lang::Lang;
use crate::walls::grouped;
use duolu_sys::tcp_diag::{TcpInfo, TcpState};
use std::net::SocketAddr;

const DIM: &str = "2";
const WARN: &str = "33";

/// A line for each listener.
pub fn of_listeners(lang: Lang, listeners: &[&Socket]) -> Vec<Column> {
    let heads = words::heads(lang);
    let each =
        |cell: &dyn Fn(&Socket) -> Cell| listeners.iter().map(|socket| cell(socket)).collect::<Vec<_>>();
    vec![
        Column::new(heads.state, each(&|socket| state_cell(socket.tcp.state))),
        Column::new(heads.address, each(&|socket| address_of(lang, socket).into())),
        Column::new(heads.held, each(&|socket| holder(lang, socket))),
        Column::new(heads.queue, each(&|socket| accept_queue(lang, socket))),
    ]
}

/// An IPv6 wildcard takes IPv4 too, unless told otherwise.
fn address_of(lang: Lang, listener: &Socket) -> String {
    let (local, _) = listener.tcp.ends();
    let both = listener.tcp.is_v6() && local.ip().is_unspecified() && listener.tcp.only_v6 == Some(false);
    if both { format!("{local} {}", lang.pick("(and IPv4)", "（含 IPv4）")) } else { local.to_string() }
}

/// The kernel lets one more wait than the bound says.
fn accept_queue(lang: Lang, listener: &Socket) -> Cell {
    let waiting = grouped(u64::from(listener.tcp.recv_q));
    let Some(bound) = listener.tcp.send_q else { return waiting.into() };
    let of = format!("{waiting}{}{}", lang.pick(" of ", " / "), grouped(u64::from(bound)));
    if listener.tcp.recv_q > bound {
        return Cell::styled(format!("{of} {}", lang.pick("FULL", "已满")), "1;31");
    }
    of.into()
}

/// A line for each connection, as wide as there is room for, and the headings of what was left out. Where even the
/// important columns do not fit, addresses are shortened first.
pub fn of_rows(
    lang: Lang,
    snapshot: &Snapshot,
    rows: &[Row<'_>],
    width: Option<usize>,
) -> (Vec<Column>, Vec<&'static str>) {
    let mut columns = row_columns(lang, snapshot, rows, false);
    let mut left_out = fit(&mut columns, width);
    if columns.iter().all(|column| column.dispensable < QUEUES) && !left_out.is_empty() {
        columns = row_columns(lang, snapshot, rows, true);
        left_out = fit(&mut columns, width);
    }
    (columns, left_out)
}

/// Of the columns that may be left out this is the last but two to go.
const QUEUES: u8 = 3;

fn row_columns(lang: Lang, snapshot: &Snapshot, rows: &[Row<'_>], short: bool) -> Vec<Column> {
    let heads = words::heads(lang);
    let each = |cell: &dyn Fn(&Row<'_>) -> Cell| rows.iter().map(cell).collect::<Vec<_>>();
    type Figure<'a> = &'a dyn Fn(&TcpInfo) -> Option<String>;
    // Each part by itself, so that only what differs between the ends is told twice.
    let figures = |parts: &[Figure<'_>]| {
        let one = |row: &Row<'_>, part| both(row, |socket| socket.tcp.info.as_deref().and_then(part));
        each(&|row| parts.iter().filter_map(|part| one(row, part)).collect::<Vec<_>>().join("/").into())
    };
    let is_known = rows.iter().all(|row| sides(row).is_some());
    let (left, right) = if is_known { (heads.client, heads.server) } else { (heads.one, heads.other) };
    vec![
        Column::new(heads.state, each(&|row| there(lang, row.left))),
        Column::new(left, each(&|row| address(row.left.address, short).into())),
        Column::new(heads.held, each(&|row| holder_of(lang, row.left))),
        Column::new("", each(&|row| arrow(row).into())),
        Column::new(heads.state, each(&|row| there(lang, row.right))),
        Column::new(right, each(&|row| address(row.right.address, short).into())),
        Column::new(heads.held, each(&|row| holder_of(lang, row.right))),
        Column::new(heads.closed_first, each(&|row| closed_first(lang, snapshot, row).into())).dispensable(2),
        Column::new(heads.age, each(&|row| age(snapshot, row).into())).figures().dispensable(1),
        Column::new(heads.queues, each(&|row| queues(row).into())).figures().dispensable(QUEUES),
        Column::new(heads.rtt, figures(&[&|info| info.rtt_us.map(|rtt| time_us(f64::from(rtt)))]))
            .figures()
            .dispensable(4),
        Column::new(
            heads.mss,
            figures(&[
                &|info| Some(info.snd_mss.to_string()),
                &|info| Some(info.rcv_mss.to_string()),
                &|info| Some(info.advmss.to_string()),
            ]),
        )
        .figures()
        .dispensable(5),
        Column::new(heads.window, figures(&[&|info| size(info.snd_wnd), &|info| size(info.rcv_wnd)]))
            .figures()
            .dispensable(6),
        Column::new(heads.pmtu, figures(&[&|info| (info.pmtu != 0).then(|| info.pmtu.to_string())]))
            .figures()
            .dispensable(7),
        Column::new(heads.scale, figures(&[&|info| scale(info.snd_wscale), &|info| scale(info.rcv_wscale)]))
            .figures()
            .dispensable(8),
        Column::new(heads.cwnd, figures(&[&|info| Some(info.cwnd.to_string())])).figures().dispensable(9),
    ]
}

/// One value where both ends agree or only one is here, else `left|right`.
fn both(row: &Row<'_>, of: impl Fn(&Socket) -> Option<String>) -> Option<String> {
    let value = |end: End<'_>| end.there.socket().and_then(&of);
    match (value(row.left), value(row.right)) {
        (Some(left), Some(right)) if left != right => Some(format!("{left}|{right}")),
        (left, right) => left.or(right),
    }
}

fn queues(row: &Row<'_>) -> String {
    // A minisocket has none.
    let has = |socket: &Socket| socket.tcp.state != TcpState::TimeWait;
    let received = both(row, |socket| has(socket).then(|| socket.tcp.recv_q.to_string()));
    let sent = both(row, |socket| socket.tcp.send_q.filter(|_| has(socket)).map(|bytes| bytes.to_string()));
    [received, sent].into_iter().flatten().collect::<Vec<_>>().join("/")
}

fn size(window: Option<u32>) -> Option<String> {
    Some(window.map_or("?".to_owned(), |window| bytes(f64::from(window))))
}

fn scale(bits: Option<u8>) -> Option<String> {
    Some(bits.map_or("-".to_owned(), |bits| bits.to_string()))
}

fn state_cell(state: TcpState) -> Cell {
    let style = match state {
        TcpState::Listen => "36",
        TcpState::Established => "32",
        TcpState::CloseWait => "1;33",
        TcpState::SynSent | TcpState::SynReceived => "34",
        TcpState::TimeWait | TcpState::Closed => DIM,
        _ => "35",
    };
    Cell::styled(state.name(), style)
}

fn there(lang: Lang, end: End<'_>) -> Cell {
    match end.there {
        There::Here(socket) => state_cell(socket.tcp.state),
        There::Gone => Cell::styled(lang.pick("gone", "已消失"), DIM),
        There::Elsewhere => Cell::styled(lang.pick("remote", "远端"), DIM),
    }
}

/// On a narrow terminal the address of loopback says nothing.
fn address(at: SocketAddr, short: bool) -> String {
    if short && at.ip().is_loopback() { format!(":{}", at.port()) } else { at.to_string() }
}

fn holder_of(lang: Lang, end: End<'_>) -> Cell {
    end.there.socket().map(|socket| holder(lang, socket)).unwrap_or_default()
}

/// `nginx 801/6`, or why it is nobody.
fn holder(lang: Lang, socket: &Socket) -> Cell {
    if let [first, more @ ..] = &socket.owners[..] {
        let more = if more.is_empty() { String::new() } else { format!(" +{}", more.len()) };
        return format!("{} {}/{}{more}", first.process, first.pid, first.fd).into();
    }
    if socket.is_unaccepted() {
        return Cell::styled(lang.pick("not accepted", "未 accept"), WARN);
    }
    if socket.is_orphan() {
        return Cell::styled(lang.pick("closed", "已 close"), DIM);
    }
    match socket.tcp.inode {
        0 => Cell::default(), // half-open: the program does not know of it yet
        _ => Cell::styled(format!("? uid {}", socket.tcp.uid), DIM),
    }
}

/// Whether it is known which end is the client's.
fn sides(row: &Row<'_>) -> Option<()> {
    let known = |end: End<'_>| end.there.socket().is_some_and(|socket| socket.role != Role::Unknown);
    (known(row.left) || known(row.right)).then_some(())
}

fn arrow(row: &Row<'_>) -> &'static str {
    if sides(row).is_some() { "→" } else { "↔" }
}

fn closed_first(lang: Lang, snapshot: &Snapshot, row: &Row<'_>) -> &'static str {
    let (left, right) = match sides(row) {
        Some(()) => (lang.pick("client", "客户端"), lang.pick("server", "服务器")),
        None => (lang.pick("left end", "左端"), lang.pick("right end", "右端")),
    };
    let closer = |end: End<'_>, own, other| {
        let closer = snapshot.closer(end.there.socket()?)?;
        Some(match closer {
            Closer::Local => own,
            Closer::Remote => other,
            Closer::Both => lang.pick("both", "同时"),
        })
    };
    closer(row.left, left, right).or_else(|| closer(row.right, right, left)).unwrap_or_default()
}

/// Of the two ends that of the one which waits for a program, or for the clock.
fn age(snapshot: &Snapshot, row: &Row<'_>) -> String {
    let ends: Vec<&Socket> = [row.left, row.right].into_iter().filter_map(|end| end.there.socket()).collect();
    let waits = |socket: &&&Socket| matches!(socket.tcp.state, TcpState::CloseWait | TcpState::TimeWait);
    let socket = ends.iter().find(waits).or_else(|| ends.first());
    let Some(age) = socket.and_then(|socket| snapshot.age(socket)) else { return String::new() };
    let at_least = if age.at_least { "≥" } else { "" };
    format!("{at_least}{}", span(age.ms))
}

/// `0.4s`, `59s`, `3m20s`, `2h05m`, `3d04h`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=9 => format!("{seconds}.{}s", ms % 1000 / 100),
        10..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        7200..=172_799 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (ms, expected) in [
            (0, "0.0s"),
            (450, "0.4s"),
            (59_900, "59s"),
            (200_000, "3m20s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d04h"),
        ] {
            assert_eq!(span(ms), expected);
        }
    }
}
