//! The result for programs. Words are English whatever the reader's language.

use super::Report;
use super::look::epoll::{Entry, Epoll, Trigger};
use super::look::process::Process;
use super::look::ring;
use super::look::threads::Thread;
use super::look::wait::What;
use super::wall::{Bar, Fix, Unit};
use crate::lab::said::Said;
use crate::lang::Lang;
use duolu_sys::tcp_diag::TcpState;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// One object.
pub fn object(report: &Report<'_>) -> Value {
    let (server, verdict) = (report.case.server, report.case.verdict);
    let first = server.listeners.first();
    let leader = server.leader();
    let next = report.next();
    json!({
        "schema": 1,
        "port": first.map(|listener| listener.address.port()),
        "address": first.map(|listener| listener.address.to_string()),
        "process": leader.map(|process| json!({
            "pid": process.pid,
            "name": process.name,
            "command": process.command.join(" "),
            "uid": process.uid,
        })),
        "processes": server.processes.iter().map(|process| self::process(report, process)).collect::<Vec<_>>(),
        "model": verdict.model.name(),
        "certain": verdict.certain,
        "accept": verdict.sharing.map(|sharing| sharing.name()),
        "listener": verdict.listener.map(trigger),
        "evidence": verdict.evidence.iter().map(en).collect::<Vec<_>>(),
        "threads": server.threads(),
        "waits": waits(report),
        "epolls": epolls(report),
        "rings": rings(report),
        "listen": {
            "queue": server.waiting(),
            "backlog": server.backlog(),
            "sockets": server.listeners.iter().map(|listener| json!({
                "address": listener.address.to_string(),
                "queue": listener.queue,
                "backlog": listener.backlog,
                "uid": listener.uid,
            })).collect::<Vec<_>>(),
        },
        "connections": (!server.listeners.is_empty()).then_some(report.case.connections),
        "states": states(&server.states),
        "outgoing": server.outgoing.len(),
        "headroom": report.bars.iter().map(bar).collect::<Vec<_>>(),
        "next_wall": next.map(|next| json!({
            "name": next.wall,
            "at": next.at,
            "about": next.about,
            "evidence": en(&next.evidence),
            "source": en(&next.source),
            "fix": fix(&next.fixes),
        })),
        "warnings": report.warnings.iter().map(|warning| json!({
            "name": warning.name,
            "evidence": en(&warning.evidence),
            "fix": fix(&warning.fixes),
        })).collect::<Vec<_>>(),
        "missing": server.missing.iter().map(|missing| json!({
            "what": en(&missing.what),
            "unlock": en(&missing.unlock),
        })).collect::<Vec<_>>(),
        "ended": server.ended,
        "complete": server.missing.is_empty() && server.ended.is_empty() && !server.interrupted,
        "interrupted": server.interrupted,
        "looks": server.looks.count,
        "looked_ms": server.looks.lasted.as_millis() as u64,
    })
}

fn en(said: &Said) -> String {
    said.pick(Lang::En).to_owned()
}

/// The lines that can be copied, each with when it works.
fn fix(fixes: &[Fix]) -> String {
    let line = |fix: &Fix| format!("{}: {}", fix.when.said(Lang::En), fix.line.pick(Lang::En));
    fixes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Level => "level",
        Trigger::Edge => "edge",
        Trigger::OneShot => "oneshot",
    }
}

fn states(states: &BTreeMap<TcpState, u64>) -> Map<String, Value> {
    states.iter().map(|(state, count)| (state.name().to_owned(), json!(count))).collect()
}

fn process(report: &Report<'_>, process: &Process) -> Value {
    json!({
        "pid": process.pid,
        "parent": process.parent,
        "name": process.name,
        "threads": process.threads,
        "connections": report.case.server.held_by(process.pid),
        "descriptors": process.descriptors,
        "descriptor_limit": process.descriptor_limit(),
        "memory_bytes": process.memory,
    })
}

/// Threads by what they mostly did.
fn waits(report: &Report<'_>) -> Vec<Value> {
    // Process, state, call, descriptor.
    type Key = (u32, String, String, Option<i32>);
    let mut groups: BTreeMap<Key, (u64, f64)> = BTreeMap::new();
    for thread in &report.case.server.looks.threads {
        let doing = thread.main();
        let what = doing.map_or("unknown", |doing| match doing.what {
            What::Running => "running",
            What::In(_) | What::PollOrSelect => "waiting",
            What::Hidden => "unknown",
        });
        let call = doing.map_or_else(String::new, |doing| doing.call.to_string());
        let key = (thread.pid, what.to_owned(), call, doing.and_then(|doing| doing.fd));
        let group = groups.entry(key).or_default();
        group.0 += 1;
        group.1 += thread.cpu.unwrap_or(0.0);
    }
    groups
        .into_iter()
        .map(|((pid, state, call, fd), (threads, cpu))| {
            json!({"pid": pid, "state": state, "call": call, "fd": fd, "threads": threads, "cpu": (cpu * 1000.0).round() / 1000.0})
        })
        .collect()
}

fn epolls(report: &Report<'_>) -> Vec<Value> {
    let all = report
        .case
        .server
        .processes
        .iter()
        .flat_map(|process| process.epolls.iter().map(move |epoll| (process, epoll)));
    all.map(|(process, epoll)| self::epoll(report, process, epoll)).collect()
}

fn epoll(report: &Report<'_>, process: &Process, epoll: &Epoll) -> Value {
    let server = report.case.server;
    let edge = epoll.entries.iter().filter(|entry| entry.is_edge()).count();
    let listener =
        epoll.entries.iter().find(|entry| entry.inode.is_some_and(|inode| server.is_listener(inode)));
    let is_connection =
        |entry: &&Entry| entry.inode.is_some_and(|inode| server.is_ours(inode) && !server.is_listener(inode));
    let waiting = |thread: &&Thread| {
        let on_it = |doing: &super::look::wait::Doing| {
            doing.what == What::In(duolu_sys::calls::CallKind::Epoll) && doing.fd == Some(epoll.fd)
        };
        thread.pid == process.pid && thread.doings.iter().any(|(doing, _)| on_it(doing))
    };
    json!({
        "pid": process.pid,
        "fd": epoll.fd,
        "watched": epoll.entries.len(),
        "edge": edge,
        "level": epoll.entries.len() - edge,
        "oneshot": epoll.entries.iter().filter(|entry| entry.trigger() == Trigger::OneShot).count(),
        "exclusive": epoll.entries.iter().filter(|entry| entry.is_exclusive()).count(),
        "data": process.maps.as_ref().and_then(|maps| epoll.data(maps)).map(|data| data.name()),
        "listener": listener.map(|entry| trigger(entry.trigger())),
        "connections": epoll.entries.iter().filter(is_connection).count(),
        "threads": server.looks.threads.iter().filter(waiting).map(|thread| thread.tid).collect::<Vec<_>>(),
    })
}

fn rings(report: &Report<'_>) -> Vec<Value> {
    let all = report
        .case
        .server
        .processes
        .iter()
        .flat_map(|process| process.rings.iter().map(move |ring| (process, ring)));
    let requests = |ring: &ring::Ring| -> Map<String, Value> {
        let name =
            |number: u32| ring::operation(number).map_or_else(|| format!("op {number}"), str::to_owned);
        ring.waiting.iter().map(|(&number, count)| (name(number), json!(count))).collect()
    };
    all.map(|(process, ring)| {
        json!({
            "pid": process.pid,
            "fd": ring.fd,
            "requests": requests(ring),
            "places": ring.places.map(|(_, all)| all),
            "taken": ring.places.map(|(taken, _)| taken),
            "overflown": ring.overflown,
        })
    })
    .collect()
}

fn bar(bar: &Bar) -> Value {
    json!({
        "wall": bar.wall,
        "of": bar.of,
        "used": bar.used,
        "limit": bar.limit,
        "unit": match bar.unit {
            Unit::Count => "count",
            Unit::Percent => "percent",
            Unit::Bytes => "bytes",
        },
        "source": en(&bar.source),
        "at": bar.at,
        "about": bar.about,
    })
}
