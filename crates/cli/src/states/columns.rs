//! The columns: of listeners, and of connections with both ends.

use super::figure::Figure;
use super::layout::{Cell, Column, fit};
use super::view::{End, Row, There};
use super::words;
use crate::inspect::{Closer, Role, Snapshot, Socket};
use crate::lang::Lang;
use crate::walls::grouped;
use duolu_sys::tcp_diag::{TcpInfo, TcpState};
use std::fmt::Write;
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

/// A figure of one end of a connection.
type Part = fn(&Socket) -> Option<Figure>;

/// Of the columns that may be left out this is the last but two to go.
const QUEUES: u8 = 3;

/// The columns, filled row by row: what the kernel told of a socket is then looked up in memory once.
fn row_columns(lang: Lang, snapshot: &Snapshot, rows: &[Row<'_>], short: bool) -> Vec<Column> {
    let heads = words::heads(lang);
    let is_known = rows.iter().all(|row| sides(row).is_some());
    let (left, right) = if is_known { (heads.client, heads.server) } else { (heads.one, heads.other) };
    let column = |head| Column::new(head, Vec::with_capacity(rows.len()));
    let figures = |head, rank| column(head).figures().dispensable(rank);
    let mut columns = [
        column(heads.state),
        column(left),
        column(heads.held),
        column(""),
        column(heads.state),
        column(right),
        column(heads.held),
        column(heads.closed_first).dispensable(2),
        figures(heads.age, 1),
        figures(heads.queues, QUEUES),
        figures(heads.rtt, 4),
        figures(heads.mss, 5),
        figures(heads.window, 6),
        figures(heads.pmtu, 7),
        figures(heads.scale, 8),
        figures(heads.cwnd, 9),
    ];
    for row in rows {
        let cells: [Cell; 16] = [
            there(lang, row.left),
            address(row.left.address, short).into(),
            holder_of(lang, row.left),
            arrow(row).into(),
            there(lang, row.right),
            address(row.right.address, short).into(),
            holder_of(lang, row.right),
            closed_first(lang, snapshot, row).into(),
            age(snapshot, row).into(),
            parts(row, &[received, unacknowledged]),
            parts(row, &[|of| info(of)?.rtt_us.map(Figure::micros)]),
            parts(row, &[snd_mss, rcv_mss, advmss]),
            parts(row, &[snd_wnd, rcv_wnd]),
            parts(row, &[pmtu]),
            parts(row, &[snd_wscale, rcv_wscale]),
            parts(row, &[|of| Some(Figure::Number(info(of)?.cwnd))]),
        ];
        for (column, cell) in columns.iter_mut().zip(cells) {
            column.cells.push(cell);
        }
    }
    columns.into()
}

/// The parts one after the other, each by itself, so that only what differs between the ends is told twice: one value
/// where both ends agree or only one is here, else `left|right`.
fn parts(row: &Row<'_>, parts: &[Part]) -> Cell {
    let mut text = String::new();
    for part in parts {
        let slash = if text.is_empty() { "" } else { "/" };
        let value = |end: End<'_>| end.there.socket().and_then(part);
        // Writing to a String cannot fail.
        let _ = match (value(row.left), value(row.right)) {
            (Some(left), Some(right)) if left != right => write!(text, "{slash}{left}|{right}"),
            (Some(one), _) | (None, Some(one)) => write!(text, "{slash}{one}"),
            (None, None) => Ok(()),
        };
    }
    text.into()
}

fn info(socket: &Socket) -> Option<&TcpInfo> {
    socket.tcp.info.as_deref()
}

fn received(socket: &Socket) -> Option<Figure> {
    has_queues(socket).then_some(Figure::Number(socket.tcp.recv_q))
}

fn unacknowledged(socket: &Socket) -> Option<Figure> {
    socket.tcp.send_q.filter(|_| has_queues(socket)).map(Figure::Number)
}

/// A minisocket has none.
fn has_queues(socket: &Socket) -> bool {
    socket.tcp.state != TcpState::TimeWait
}

fn snd_mss(socket: &Socket) -> Option<Figure> {
    Some(Figure::Number(info(socket)?.snd_mss))
}

fn rcv_mss(socket: &Socket) -> Option<Figure> {
    Some(Figure::Number(info(socket)?.rcv_mss))
}

fn advmss(socket: &Socket) -> Option<Figure> {
    Some(Figure::Number(info(socket)?.advmss))
}

fn pmtu(socket: &Socket) -> Option<Figure> {
    Some(info(socket)?.pmtu).filter(|pmtu| *pmtu != 0).map(Figure::Number)
}

fn snd_wnd(socket: &Socket) -> Option<Figure> {
    Some(info(socket)?.snd_wnd.map_or(Figure::Unknown, Figure::bytes))
}

fn rcv_wnd(socket: &Socket) -> Option<Figure> {
    Some(info(socket)?.rcv_wnd.map_or(Figure::Unknown, Figure::bytes))
}

fn snd_wscale(socket: &Socket) -> Option<Figure> {
    Some(info(socket)?.snd_wscale.map_or(Figure::Unknown, |bits| Figure::Number(bits.into())))
}

fn rcv_wscale(socket: &Socket) -> Option<Figure> {
    Some(info(socket)?.rcv_wscale.map_or(Figure::Unknown, |bits| Figure::Number(bits.into())))
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
