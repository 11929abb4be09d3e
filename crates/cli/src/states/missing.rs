//! Nothing there: why, as far as it can be told, and what to do.

use super::args::Plan;
use super::view::View;
use crate::failure::Failure;
use crate::inspect::proc_net;
use duolu_sys::tcp_diag::TcpState;
use rustix::io::Errno;

/// The sentence, if there is nothing to show and that is not just what the filter left.
pub fn reason(plan: &Plan, view: &View<'_>) -> Option<Failure> {
    if !view.picked.is_empty() {
        return None;
    }
    nobody(plan).or_else(|| nothing(plan, view))
}

/// Of a process that is not there, or not ours to look into, no socket can be found.
fn nobody(plan: &Plan) -> Option<Failure> {
    let pid = plan.filter.pid?;
    match crate::inspect::owners::sockets_of(pid, |_, _| ()) {
        Err(Errno::ACCESS | Errno::PERM) => Some(Failure::cannot(format!(
            "the descriptors of process {pid} may not be read; run as its user, or as root (CAP_SYS_PTRACE)"
        ))),
        Err(_) => Some(Failure::cannot(format!("there is no process {pid} (in this PID namespace)"))),
        Ok(()) => None,
    }
}

/// Of a port that nobody uses.
fn nothing(plan: &Plan, view: &View<'_>) -> Option<Failure> {
    let at = plan.target.shown()?;
    let port = plan.target.port?;
    let others: Vec<String> = view
        .snapshot
        .sockets
        .iter()
        .filter(|socket| socket.tcp.state == TcpState::Listen && socket.tcp.local.port() == port)
        .map(|socket| socket.tcp.ends().0.to_string())
        .collect();
    let on_target = view.snapshot.sockets.iter().any(|socket| plan.target.takes(socket));
    if on_target && !plan.filter.is_all() {
        return None; // the filter's doing
    }
    let namespace = "A server in a container or another network namespace is seen from there: nsenter -t PID -n duolu \
                     states";
    Some(Failure::cannot(if let [first, ..] = &others[..] {
        format!(
            "nothing listens or is connected on {at}; {first} listens on that port: name that, or :{port}"
        )
    } else if proc_net::has_udp(port) {
        format!(
            "port {port} is bound for UDP only; UDP has no connections and so no states (`ss -uanp` shows its \
             sockets)"
        )
    } else {
        format!("nothing listens or is connected on {at}, and nothing is in TIME-WAIT there. {namespace}")
    }))
}
