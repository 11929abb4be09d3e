//! `duolu lab reuseport`: SO_REUSEADDR does not share a port between living servers; SO_REUSEPORT does.

use super::kit::{ANY, connect_many, wait_until};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::{Stage, errno_name};
use crate::lang::Lang;
use duolu_sys::socket::{self, ListenOptions};
use std::io;
use std::net::{TcpListener, TcpStream};

pub static LAB: Lab = Lab {
    name: "reuseport",
    claims: &[17],
    title: said("two living servers on one port", "两个活着的服务器共用一个端口"),
    expected: said(
        "A second listener on a port in use: EADDRINUSE, also with SO_REUSEADDR on both, and with SO_REUSEPORT on one. With SO_REUSEPORT on both it listens, and \
         the kernel spreads the connections. When one of them closes, what waits in its queue is reset.",
        "在已有人监听的端口上再监听：EADDRINUSE，两边都设 SO_REUSEADDR 也一样，只有一边设 SO_REUSEPORT 也一样。两边都设 SO_REUSEPORT 才行，\
         内核把连接分给它们。其中一个关闭时，排在它队列里的连接被重置。",
    ),
    why: said(
        "SO_REUSEADDR is about what a dead server left behind, SO_REUSEPORT about sharing among the living (socket(7)): every socket must set it before bind, \
         and all must be one user's. A hash of both addresses and ports picks the listener, not who is idle. Each has a queue of its own, and \
         close() resets what is in it, unless net.ipv4.tcp_migrate_req (Linux 5.14) moves it to another one.",
        "SO_REUSEADDR 管的是死去的服务器留下的东西，SO_REUSEPORT 才是活着的服务器之间共用（socket(7)）：每个套接字都要在 bind 之前设置，且属于同一用户。\
         选哪个监听者由地址和端口的散列决定，不看谁空闲。每个监听者有自己的队列，close() 会重置队列里的连接，除非 net.ipv4.tcp_migrate_req（Linux 5.14）把它们移走。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::Nothing,
    run,
};

const CONNECTIONS: usize = 200;

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let mut table = vec![vec![
        said("the first listens with", "先监听的设置"),
        said("the second with", "后监听的设置"),
        said("result", "结果"),
    ]];
    let nothing = ListenOptions { reuse_address: false, ..ListenOptions::default() };
    let address = ListenOptions::default();
    let port = ListenOptions { reuse_port: true, ..nothing };
    for (first, second, expected) in [
        (nothing, nothing, "EADDRINUSE"),
        (address, address, "EADDRINUSE"),
        (nothing, port, "EADDRINUSE"),
        (port, nothing, "EADDRINUSE"),
        (port, port, "OK"),
    ] {
        let one = socket::listen(ANY, &first)?;
        let two = socket::listen(one.local_addr()?, &second);
        let result = two.map_or_else(|error| errno_name(&error), |_| "OK".to_owned());
        table.push(vec![name(&first), name(&second), Said::same(result.as_str())]);
        let pair = |lang| format!("{} + {}", name(&first).pick(lang), name(&second).pick(lang));
        stage.equal((pair(Lang::En), pair(Lang::Zh)), result, expected.to_owned());
    }
    stage.table(said("a second listener on the same port", "同一端口上的第二个监听者"), table);
    spread(stage, &port)?;
    queue_is_lost(stage, &port)
}

fn name(options: &ListenOptions) -> Said {
    match options {
        ListenOptions { reuse_port: true, .. } => Said::same("SO_REUSEPORT"),
        ListenOptions { reuse_address: true, .. } => Said::same("SO_REUSEADDR"),
        _ => said("neither", "都不设"),
    }
}

/// Two listeners, many connections.
fn spread(stage: &mut Stage, options: &ListenOptions) -> Result<(), Trouble> {
    let one = socket::listen(ANY, options)?;
    let address = one.local_addr()?;
    let two = socket::listen(address, options)?;
    let clients = connect_many(address, CONNECTIONS)?;
    let mut counts = [0; 2];
    wait_until(|| {
        for (count, listener) in counts.iter_mut().zip([&one, &two]) {
            *count += accept_all(listener);
        }
        counts.iter().sum::<usize>() == CONNECTIONS
    });
    let [a, b] = counts;
    stage.check(
        (
            format!("of {CONNECTIONS} connections one listener accepted {a}, the other {b}"),
            format!("{CONNECTIONS} 个连接，一个监听者接受了 {a} 个，另一个 {b} 个"),
        ),
        a + b == CONNECTIONS && a > 0 && b > 0,
    );
    drop(clients);
    Ok(())
}

/// What waits in the queue of a listener that closes.
fn queue_is_lost(stage: &mut Stage, options: &ListenOptions) -> Result<(), Trouble> {
    let one = socket::listen(ANY, options)?;
    let address = one.local_addr()?;
    let two = socket::listen(address, options)?;
    let clients = connect_many(address, CONNECTIONS)?;
    drop(two);
    let reset = |client: &TcpStream| {
        socket::recv(client, &mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    };
    let (mut lost, mut kept) = (0, 0);
    wait_until(|| {
        lost += clients.iter().filter(|client| reset(client)).count();
        kept += accept_all(&one);
        lost + kept >= CONNECTIONS
    });
    stage.check(
        (
            format!("one listener closed before it accepted: {lost} connections were reset, {kept} were the other's"),
            format!("一个监听者还没 accept 就关闭：{lost} 个连接被重置，{kept} 个属于另一个"),
        ),
        lost + kept == CONNECTIONS && lost > 0 && kept > 0,
    );
    Ok(())
}

fn accept_all(listener: &TcpListener) -> usize {
    std::iter::from_fn(|| socket::accept(listener).ok()).count()
}
