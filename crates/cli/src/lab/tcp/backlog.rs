//! `duolu lab backlog`: what LISTEN holds: connections that nobody has accepted, and what happens when it is full.

use super::kit::{ANY, connect_many, wait_connected};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use crate::lab::states::{State, on_port};
use duolu_sys::socket::{self, ListenOptions};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub static LAB: Lab = Lab {
    name: "backlog",
    claims: &[9],
    title: said("what LISTEN holds, and what happens when it is full", "LISTEN 里装着什么，满了会怎样"),
    expected: said(
        "The kernel completes connections without the server: connect() succeeds before accept(). netstat's and ss's Recv-Q of a LISTEN line counts them, Send-Q is \
         the backlog. One more than the backlog fit; the next client's SYN is dropped in silence and sent again a second later. Once the server accepts, that one gets in.",
        "内核不等服务器就完成连接：accept() 之前 connect() 已成功。netstat、ss 中 LISTEN 一行的 Recv-Q 是这些连接的个数，Send-Q 是 backlog。\
         能装 backlog 加一个；再来的客户端，SYN 被悄悄丢弃，一秒后重传。服务器 accept 之后，它才进得来。",
    ),
    why: said(
        "listen()'s backlog, cut to net.core.somaxconn, bounds the queue of connections that wait for accept(2) (listen(2)); the kernel lets it grow one beyond. A full queue drops SYNs \
         instead of refusing, since there may be room in a moment; that is where connects of 1, 3 and 7 seconds come from (ListenOverflows in nstat).",
        "listen() 的 backlog（不超过 net.core.somaxconn）限制等待 accept(2) 的连接队列（listen(2)）；内核允许多出一个。队列满时丢弃 SYN 而不是拒绝，\
         因为也许马上就有空位；1 秒、3 秒、7 秒的连接耗时就是这样来的（nstat 里的 ListenOverflows）。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

const BACKLOG: u32 = 3;
/// The kernel sends a SYN again after a second (TCP_TIMEOUT_INIT); this is for a busy machine.
const SYN_AGAIN: Duration = Duration::from_millis(2500);

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let listener =
        socket::listen(ANY, &ListenOptions { backlog: BACKLOG as i32, ..ListenOptions::default() })?;
    let address = listener.local_addr()?;
    let (waiting, bound) = queue(address);
    stage.equal(
        said("a LISTEN line's Recv-Q and Send-Q at first", "LISTEN 一行最初的 Recv-Q 和 Send-Q"),
        format!("{waiting} {bound}"),
        format!("0 {BACKLOG}"),
    );
    let early = connect_many(address, BACKLOG as usize + 1)?;
    let (waiting, bound) = queue(address);
    stage.equal(
        (
            format!("{} clients connected before any accept(); Recv-Q and Send-Q", early.len()),
            format!("还没有 accept()，{} 个客户端已连接成功；Recv-Q 和 Send-Q", early.len()),
        ),
        format!("{waiting} {bound}"),
        format!("{} {BACKLOG}", BACKLOG + 1),
    );

    stage.scene(said("One client more than the queue holds", "比队列能装的多一个客户端"));
    let full = (
        format!("listen(fd, {BACKLOG}); {waiting} wait"),
        format!("listen(fd, {BACKLOG})；{waiting} 个在等"),
    );
    stage.remark(Some(Server), full);
    let began = Instant::now();
    let late =
        stage.call(Client, "connect()", || socket::connect(address, None).map(|started| started.stream))?;
    stage.watch(late.local_addr()?, address);
    stage.reaches(said("the next client", "下一个客户端"), &[(Client, State::SynSent)]);
    let _accepted = stage.call(Server, "accept()", || socket::accept(&listener))?;
    let stands = stage.until(SYN_AGAIN, |_| is_connected(&late));
    let ms = began.elapsed().as_millis();
    stage.check(
        (
            format!("it stands {ms} ms after connect(), although accept() came at once"),
            format!("虽然 accept() 马上就来了，它在 connect() 之后 {ms} 毫秒才连上"),
        ),
        stands && ms >= 900,
    );
    stage.reaches(said("then", "然后"), &[(Client, State::Established)]);
    stage.end_scene();
    Ok(())
}

/// Recv-Q and Send-Q of the listener.
fn queue(address: SocketAddr) -> (u32, u32) {
    let sockets = on_port(address.port());
    let listener = sockets.iter().find(|socket| socket.state == State::Listen);
    listener.map_or((0, 0), |socket| (socket.recv_q, socket.send_q.unwrap_or(0)))
}

fn is_connected(client: &TcpStream) -> bool {
    client.peer_addr().is_ok() && wait_connected(client).is_ok()
}
