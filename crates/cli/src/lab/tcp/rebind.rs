//! `duolu lab rebind`: when a server that was ended can be started again, and why the notes' author saw no error.

use super::kit::{ANY, connect, listen, plain_connection, read, wait_readable, wait_until};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::{Said, said};
use crate::lab::stage::{Stage, errno_name};
use crate::lab::states::{State, on_port};
use duolu_sys::socket::{self, ListenOptions};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect as connect_socket, socket_with, sockopt,
};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

pub static LAB: Lab = Lab {
    name: "rebind",
    claims: &[13, 17, 18, 19],
    title: said("when a server can be started again", "服务器什么时候能重新启动"),
    expected: said(
        "In the author's order, the client closing first, TIME-WAIT is on the client's port: the server starts again at once, and new clients get another port and are served. \
         EADDRINUSE comes only where the server closed first or died; and SO_REUSEADDR helps there only if the server before had set it, too.",
        "按作者的顺序（客户端先关闭），TIME-WAIT 在客户端的端口上：服务器立即就能重新启动，新客户端用别的端口，通信正常。\
         只有服务器先关闭或先退出时才会 EADDRINUSE；而 SO_REUSEADDR 只有在上一个服务器也设置过时才有用。",
    ),
    why: said(
        "A connection is two addresses and two ports; TIME-WAIT keeps the port only at the end that closed first. That is why the author could not reproduce the error: the client had closed first. \
         Linux lets a port in TIME-WAIT or FIN-WAIT-2 be bound again only if both the old and the new socket have SO_REUSEADDR (socket(7)), set before bind. It \
         does not let two live servers share a port: that is SO_REUSEPORT (lab reuseport).",
        "连接由两端的地址和端口确定；TIME-WAIT 只占住先关闭一端的端口。这就是作者没能复现错误的原因：先关闭的是客户端。\
         Linux 上，处于 TIME-WAIT 或 FIN-WAIT-2 的端口，只有旧套接字和新套接字都在 bind 之前设置了 SO_REUSEADDR 才能再次绑定（socket(7)）。\
         它并不允许两个活着的服务器共用端口，那是 SO_REUSEPORT（lab reuseport）。",
    ),
    verdict: Verdict::Answered,
    needs: Needs::Nothing,
    run,
};

/// Who ended the old connection.
#[derive(Clone, Copy)]
enum First {
    Client,
    Server,
    /// The server's process is gone, the client is still there.
    ServerDied,
}

/// Whether the old server and the new one set SO_REUSEADDR.
const COLUMNS: [(bool, bool); 3] = [(false, false), (false, true), (true, true)];

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    authors_order(stage)?;
    other_order(stage)?;
    matrix(stage)?;
    fixed_port(stage)?;
    before_bind(stage)?;
    Ok(())
}

/// Claim 19: no SO_REUSEADDR anywhere, and the server starts again.
fn authors_order(stage: &mut Stage) -> Result<(), Trouble> {
    stage.scene(said("The author's order: the client closes first", "作者的顺序：客户端先关闭"));
    let (listener, address) = listen_as(ANY, false)?;
    let (client, served) = connect(stage, &listener)?;
    stage.close(Client, client);
    read(stage, Server, &served)?;
    stage.close(Server, served);
    stage.wait_state(Client, State::TimeWait);
    stage.close(Server, listener);
    let again = stage.call(Server, format!("bind(:{})", address.port()), || listen_on(address, false));
    stage.equal(
        said("the client closed first; the server binds its port again", "客户端先关闭；服务器再次绑定端口"),
        outcome(&again),
        "OK".to_owned(),
    );
    let Ok(listener) = again else { return Ok(()) };

    let before = stage.state(Client);
    stage.equal(
        said("meanwhile the client's old port is in", "此时客户端的旧端口处于"),
        before,
        State::TimeWait,
    );
    let (client, served) = plain_connection(&listener)?;
    socket::send(&client, b"hello")?;
    wait_readable(&served)?;
    let got = socket::recv(&served, &mut [0; 16])?;
    stage.equal(
        said(
            "a new client gets another port and is served; the server reads, bytes",
            "新客户端换一个端口，通信正常；服务器读到，字节",
        ),
        got,
        5,
    );
    Ok(())
}

fn other_order(stage: &mut Stage) -> Result<(), Trouble> {
    stage.scene(said("The other order: the server closes first", "另一种顺序：服务器先关闭"));
    let (listener, address) = listen_as(ANY, false)?;
    let (client, served) = connect(stage, &listener)?;
    stage.close(Server, served);
    read(stage, Client, &client)?;
    stage.close(Client, client);
    stage.wait_state(Server, State::TimeWait);
    stage.close(Server, listener);
    let again = stage.call(Server, format!("bind(:{})", address.port()), || listen_on(address, false));
    stage.equal(
        said("the server closed first; it binds its port again", "服务器先关闭；它再次绑定端口"),
        outcome(&again),
        "EADDRINUSE".to_owned(),
    );
    Ok(())
}

fn matrix(stage: &mut Stage) -> Result<(), Trouble> {
    let rows: [(First, Said, [&str; 3]); 3] = [
        (First::Client, said("client", "客户端"), ["OK", "OK", "OK"]),
        (First::Server, said("server", "服务器"), ["EADDRINUSE", "EADDRINUSE", "OK"]),
        (
            First::ServerDied,
            said("server died, client still open", "服务器退出，客户端还开着"),
            ["EADDRINUSE", "EADDRINUSE", "OK"],
        ),
    ];
    let mut table = vec![vec![
        said("who closed first", "谁先关闭"),
        said("server's port", "服务器端口"),
        said("without", "都没有"),
        said("only the new", "只有新的"),
        said("both", "新旧都有"),
    ]];
    for (first, name, expected) in rows {
        let mut left = "-";
        let mut measured = Vec::new();
        for (old, new) in COLUMNS {
            let (state, result) = try_again(first, old, new)?;
            left = state.map_or("-", |state| state.name());
            measured.push(result);
        }
        let row = [name.clone(), Said::same(left)].into_iter().chain(measured.iter().map(Said::same));
        table.push(row.collect());
        let each = said("SO_REUSEADDR on none, the new, both", "SO_REUSEADDR 都没有、只有新的、都有");
        let what = Said::of(|lang| {
            let first = lang.pick("closed first", "先关闭的");
            let (colon, then) = (lang.pick(": ", "："), lang.pick("; ", "；"));
            format!("{first}{colon}{}{then}{}", name.pick(lang), each.pick(lang))
        });
        stage.equal(what, measured.join(", "), expected.join(", "));
    }
    stage.table(
        said(
            "bind() of a restarted server, by who set SO_REUSEADDR",
            "重启的服务器 bind() 的结果，看谁设置过 SO_REUSEADDR",
        ),
        table,
    );
    Ok(())
}

/// One cell: a server, a connection, an end, and the server again. What is left on its port, and what bind says.
fn try_again(first: First, old: bool, new: bool) -> Result<(Option<State>, String), Trouble> {
    let (listener, address) = listen_as(ANY, old)?;
    let (client, served) = plain_connection(&listener)?;
    let mut still_open = None;
    let left_there = match first {
        First::Client => {
            drop(client);
            wait_for(address, State::CloseWait);
            drop(served);
            None
        }
        First::Server => {
            drop(served);
            wait_for(address, State::FinWait2);
            drop(client);
            Some(State::TimeWait)
        }
        First::ServerDied => {
            drop(served);
            still_open = Some(client);
            Some(State::FinWait2)
        }
    };
    drop(listener);
    if let Some(state) = left_there {
        wait_for(address, state);
    }
    let left = on_port(address.port()).into_iter().find(|socket| socket.local.port() == address.port());
    let again = listen_on(address, new);
    drop(still_open);
    Ok((left.map(|socket| socket.state), outcome(&again)))
}

/// Claim 13: only a client that insists on its old port is in trouble, and not even it with SO_REUSEADDR.
fn fixed_port(stage: &mut Stage) -> Result<(), Trouble> {
    let without = same_port_again(false)?;
    stage.equal(
        said("a client that insists on its old local port", "坚持用原来本地端口的客户端"),
        without,
        "EADDRINUSE".to_owned(),
    );
    // On a shared loopback another program's connection may have the same port meanwhile.
    if stage.has_own_network() {
        let with = same_port_again(true)?;
        stage.equal(
            said(
                "the same with SO_REUSEADDR on its old and its new socket",
                "新旧套接字都设置 SO_REUSEADDR 时",
            ),
            with,
            "OK".to_owned(),
        );
    }
    Ok(())
}

/// A client closes first, and another connects from the port that it had.
fn same_port_again(reuse_address: bool) -> Result<String, Trouble> {
    let (listener, address) = listen()?;
    let client = client_from(None, reuse_address)?;
    connect_socket(&client, &address).map_err(io::Error::from)?;
    wait_readable(&listener)?;
    let served = socket::accept(&listener)?;
    let old = served.peer_addr()?;
    drop(client);
    wait_for(address, State::CloseWait);
    drop(served);
    let again = client_from(Some(old), reuse_address)
        .and_then(|client| connect_socket(&client, &address).map_err(io::Error::from));
    Ok(outcome(&again))
}

/// A client's socket, bound to `port`, or not yet.
fn client_from(port: Option<SocketAddr>, reuse_address: bool) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, reuse_address)?;
    if let Some(port) = port {
        bind(&socket, &port)?;
    }
    Ok(socket)
}

/// Claim 18: the same socket, the option before bind and after.
fn before_bind(stage: &mut Stage) -> Result<(), Trouble> {
    let (listener, address) = listen_as(ANY, true)?;
    let (client, served) = plain_connection(&listener)?;
    drop(served);
    wait_for(address, State::FinWait2);
    drop((client, listener));
    wait_for(address, State::TimeWait);
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)?;
    let too_early = bind(&socket, &address).map_err(io::Error::from);
    sockopt::set_socket_reuseaddr(&socket, true).map_err(io::Error::from)?;
    let after = bind(&socket, &address).map_err(io::Error::from);
    let both = format!("{} {}", outcome(&too_early), outcome(&after));
    stage.equal(
        said("bind() before the option is set, and after", "设置选项之前 bind()，设置之后 bind()"),
        both,
        "EADDRINUSE OK".to_owned(),
    );
    Ok(())
}

fn listen_as(address: SocketAddr, reuse_address: bool) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = listen_on(address, reuse_address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn listen_on(address: SocketAddr, reuse_address: bool) -> io::Result<TcpListener> {
    socket::listen(address, &ListenOptions { reuse_address, ..ListenOptions::default() })
}

/// Waits until some socket on the server's own port is in this state.
fn wait_for(address: SocketAddr, wanted: State) {
    wait_until(|| {
        on_port(address.port())
            .iter()
            .any(|socket| socket.local.port() == address.port() && socket.state == wanted)
    });
}

fn outcome<T>(result: &io::Result<T>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(error) => errno_name(error),
    }
}
