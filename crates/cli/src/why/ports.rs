//! Ports: of a server that connects on, and of its clients.

use super::headroom::Case;
use super::wall::{Bar, Fix, more};
use super::words::said;
use crate::lab::said::Said;
use crate::walls::{grouped, names};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// Local ports, for a server that connects on to others.
pub fn ports(case: &Case<'_>) -> Option<Bar> {
    let mut counts: HashMap<(IpAddr, SocketAddr), u64> = HashMap::new();
    for socket in &case.server.outgoing {
        let (local, remote) = socket.ends();
        *counts.entry((local.ip(), remote)).or_default() += 1;
    }
    let (&(from, to), &used) = counts.iter().max_by_key(|&(_, count)| count)?;
    let ports = crate::walls::machine::local_ports()?;
    let limit = u64::from(ports.end() - ports.start()) + 1;
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "{n_used} connections go from {from} to {to}, which has {n_limit} local ports to come from",
        "从 {from} 到 {to} 有 {n_used} 个连接，可用的本地端口有 {n_limit} 个"
    );
    let source = "sock_diag, net.ipv4.ip_local_port_range";
    let bar = Bar::new(names::PORTS, used, limit, source, evidence).of(to.to_string());
    let each = case.outgoing_each();
    let left = limit.saturating_sub(used) as f64;
    let at = (each > 0.0).then(|| case.connections + (left / each) as u64);
    Some(bar.about(at).fixed_by(vec![
        Fix::now(Said::same("sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535'")),
        Fix::for_good(Said::from((
            "more source or destination addresses; keep-alive to the upstream; IP_BIND_ADDRESS_NO_PORT",
            "使用更多源地址或目的地址；与上游保持长连接；IP_BIND_ADDRESS_NO_PORT",
        ))),
    ]))
}

/// One client address has only so many ports: what a load test from one machine meets.
pub fn client_ports(case: &Case<'_>) -> Option<Bar> {
    let mut counts: HashMap<(IpAddr, SocketAddr), u64> = HashMap::new();
    for connection in &case.server.connections {
        let (local, remote) = connection.socket.ends();
        *counts.entry((remote.ip(), local)).or_default() += 1;
    }
    let (&(from, to), &used) = counts.iter().max_by_key(|&(_, count)| count)?;
    // A client on this machine takes its ports from the range that can be read here.
    let is_here = from.is_loopback() || from == to.ip();
    let here = crate::walls::machine::local_ports().map(|ports| u64::from(ports.end() - ports.start()) + 1);
    let limit = if is_here { here? } else { 64_511 };
    const WORTH_TELLING: u64 = 100;
    if used < WORTH_TELLING {
        return None;
    }
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "{n_used} connections come from {from} to {to}: that client has {n_limit} ports for it",
        "有 {n_used} 个连接从 {from} 到 {to}：这个客户端为此最多有 {n_limit} 个端口"
    );
    let source =
        if is_here { "sock_diag, net.ipv4.ip_local_port_range" } else { "sock_diag; ports 1,024 to 65,535" };
    let bar = Bar::new(more::CLIENT_PORTS, used, limit, source, evidence).of(from.to_string());
    // A load test from one address: there the clients stop first.
    const MANY: u64 = 1000;
    let only = used == case.connections && used >= MANY;
    Some(bar.about(only.then_some(limit)).fixed_by(vec![Fix::now(Said::from((
        "clients at more addresses (duolu load takes more of 127.0.0.0/8 by itself)",
        "让客户端使用更多地址（duolu load 会自己使用更多 127.0.0.0/8 地址）",
    )))]))
}
