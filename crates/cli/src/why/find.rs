//! From a port or a process to the sockets that listen there, in the network that they are in.

use super::look::process;
use super::server::{Listener, Missing, accepts, name_of, unlock_process};
use super::target::Target;
use super::words::said;
use crate::failure::Failure;
use crate::inspect::sockets::{Reader, Source};
use crate::inspect::{owners, proc_net};
use duolu_sys::tcp_diag::{Ports, Query, TcpSocket, TcpState};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::fd::AsFd;

/// What a first reading of the sockets gave.
pub struct First {
    /// Those that were asked for.
    pub listeners: Vec<Listener>,
    /// Connections on the listeners' ports.
    pub sockets: Vec<TcpSocket>,
}

pub fn read(query: &Query, reader: &mut Reader) -> Result<(Vec<TcpSocket>, Source), Failure> {
    reader.read(query).map_err(|error| Failure::cannot(error.to_string()))
}

pub fn listening_on(target: Target, port: u16, reader: &mut Reader) -> Result<First, Failure> {
    let (found, _) = read(&Query { ports: Ports::Local(port), ..Query::default() }, reader)?;
    let (listening, sockets): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|socket| socket.state == TcpState::Listen);
    let elsewhere = listening.first().map(|socket| socket.local);
    let listeners: Vec<_> =
        listening.iter().filter(|socket| target.reaches(socket.local)).map(Listener::of).collect();
    if !listeners.is_empty() {
        return Ok(First { listeners, sockets });
    }
    let why = match elsewhere {
        Some(address) => format!("; {address} is listened on, which does not take it"),
        None if proc_net::has_udp(port) => {
            format!("; UDP port {port} is open, but UDP has no connections to explain")
        }
        None => "; 'ss -ltn' lists the ports that are (of this network namespace: for a container, give the number of \
                 its process)"
            .to_owned(),
    };
    Err(Failure::cannot(format!("nobody listens on {target} (TCP){why}")))
}

/// The inodes of a process's sockets, read in the network that it is in.
pub fn sockets_of_process(pid: u32, missing: &mut Vec<Missing>) -> Result<HashSet<u64>, Failure> {
    if !process::is_alive(pid) {
        let port = u16::try_from(pid).ok();
        let hint = port.map_or(String::new(), |port| format!("; a port is written with a colon, as :{port}"));
        return Err(Failure::cannot(format!("there is no process {pid}{hint}")));
    }
    enter_network_of(pid)?;
    let mut held = HashSet::new();
    match owners::sockets_of(pid, |_, inode| {
        held.insert(inode);
    }) {
        Ok(()) => Ok(held),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
            missing.push(Missing {
                what: said!("which ports process {pid} listens on", "进程 {pid} 监听哪些端口"),
                unlock: unlock_process(pid),
            });
            Ok(held)
        }
        Err(_) => Err(Failure::cannot(format!("process {pid} ended while it was being looked at"))),
    }
}

/// A process in a container has a network of its own: ours is left for it, for the rest of the run.
fn enter_network_of(pid: u32) -> Result<(), Failure> {
    let link = |of: &str| fs::read_link(format!("/proc/{of}/ns/net")).ok();
    let theirs = link(&pid.to_string());
    if theirs.is_none() || theirs == link("self") {
        return Ok(()); // or not readable, and then nothing else is
    }
    let enter = |file: fs::File| {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(Into::into)
    };
    let entered: std::io::Result<()> = fs::File::open(format!("/proc/{pid}/ns/net")).and_then(enter);
    entered.map_err(|_| {
        Failure::cannot(format!(
            "process {pid} is in another network namespace (a container); root may look in there: sudo duolu why {pid}"
        ))
    })
}

pub fn listening_of(pid: u32, held: &HashSet<u64>, reader: &mut Reader) -> Result<First, Failure> {
    let (found, _) = read(&Query::default(), reader)?;
    let listening = |socket: &&TcpSocket| socket.state == TcpState::Listen;
    let listeners: Vec<Listener> = found
        .iter()
        .filter(listening)
        .filter(|socket| held.contains(&socket.inode))
        .map(Listener::of)
        .collect();
    if listeners.is_empty() && !held.is_empty() {
        return Err(no_server(pid, held, &found));
    }
    if listeners.is_empty() && owners::sockets_of(pid, |_, _| ()).is_ok() {
        return Err(no_server(pid, held, &found));
    }
    let sockets = found.into_iter().filter(|socket| accepts(&listeners, socket)).collect();
    Ok(First { listeners, sockets })
}

/// A process that listens nowhere: perhaps it serves connections that another one accepts.
fn no_server(pid: u32, held: &HashSet<u64>, found: &[TcpSocket]) -> Failure {
    let title = format!("process {pid} ({})", name_of(pid));
    let served = found.iter().find_map(|socket| {
        let mine = socket.state != TcpState::Listen && held.contains(&socket.inode);
        let taken =
            |other: &&TcpSocket| other.state == TcpState::Listen && accepts(&[Listener::of(other)], socket);
        mine.then(|| found.iter().find(taken))?
    });
    match served {
        Some(listener) => {
            let port = listener.local.port();
            Failure::cannot(format!(
                "{title} listens nowhere; its connections come from port {port}, where another process accepts: \
                 duolu why :{port}"
            ))
        }
        None => Failure::cannot(format!(
            "{title} listens on no TCP port: it is no server that could be explained"
        )),
    }
}

/// A service manager holds the sockets of its services as well, and serves none of them.
pub fn leave_out_activation(pids: &mut BTreeSet<u32>) {
    let is_manager = |pid: &u32| name_of(*pid) == "systemd";
    if pids.iter().any(|pid| !is_manager(pid)) {
        pids.retain(|pid| !is_manager(pid));
    }
}
