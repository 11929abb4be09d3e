//! `duolu lab close-order`: the life of a connection, from LISTEN to TIME-WAIT, and whose TIME-WAIT it is.

use super::kit::{connect, hears, listen};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use crate::lab::states::{State, TimerKind, on_port, socket};
use duolu_sys::socket as sys;
use std::net::{Shutdown, SocketAddr};

pub static LAB: Lab = Lab {
    name: "close-order",
    claims: &[7, 9, 10, 11, 12],
    title: said("who closes first waits in TIME-WAIT", "谁先关闭，谁等 TIME-WAIT"),
    expected: said(
        "A server that listens is in LISTEN. A connection on the loopback shows twice, both ends ESTABLISHED. The client ends its \
         sending (Ctrl+D in nc is shutdown): FIN-WAIT-2 there, CLOSE-WAIT at the server. The server closes too: TIME-WAIT at \
         the client, nothing at the server. The other way round TIME-WAIT is the server's.",
        "服务器监听时处于 LISTEN。环回上的一个连接显示两行，两端都是 ESTABLISHED。客户端结束发送（nc 里的 Ctrl+D 就是 shutdown）：\
         客户端 FIN-WAIT-2，服务器 CLOSE-WAIT。服务器也关闭之后：客户端 TIME-WAIT，服务器一端什么都没有。反过来，TIME-WAIT 就在服务器一端。",
    ),
    why: said(
        "Each state is one's own FIN or the peer's, sent, seen or acknowledged (RFC 9293, 3.3.2 and figure 5): close() or shutdown() sends FIN, and CLOSE-WAIT lasts \
         until the program closes, for ever if it forgets. Whoever sent the first FIN also sends the last ACK, so he has to wait: 2 MSL; \
         Linux always waits 60 seconds in all (TCP_TIMEWAIT_LEN).",
        "每个状态都由自己的 FIN 和对方的 FIN 决定：是否已发出、已看到、已确认（RFC 9293 3.3.2 与图 5）：close() 或 shutdown() 发出 FIN；\
         CLOSE-WAIT 一直持续到程序关闭，忘了关就永远停在那里。先发 FIN 的一方要发最后一个 ACK，所以由它等待 2MSL；Linux 固定共 60 秒（TCP_TIMEWAIT_LEN）。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    client_first(stage)?;
    server_first(stage)
}

fn client_first(stage: &mut Stage) -> Result<(), Trouble> {
    stage.scene(said("The notes' order: the client closes first", "笔记里的顺序：客户端先关闭"));
    let (listener, address) = listen()?;
    let listening: Vec<State> = on_port(address.port()).iter().map(|socket| socket.state).collect();
    stage.equal(
        said("the server runs; sockets on its port", "服务器运行后，它端口上的套接字"),
        names(&listening),
        "LISTEN".to_owned(),
    );

    let (client, served) = connect(stage, &listener)?;
    let ends: Vec<State> = on_port(address.port()).iter().skip(1).map(|socket| socket.state).collect();
    stage.equal(
        said("a client connects; beside the listener there are", "客户端连上之后，除监听套接字外还有"),
        names(&ends),
        "ESTABLISHED ESTABLISHED".to_owned(),
    );

    stage.call(Client, "shutdown(SHUT_WR)", || sys::shutdown(&client, Shutdown::Write))?;
    stage.remark(Some(Client), said("Ctrl+D in nc", "nc 里的 Ctrl+D"));
    stage.reaches(
        said("the client has closed", "客户端已关闭"),
        &[(Client, State::FinWait2), (Server, State::CloseWait)],
    );

    let waits = socket(address, client.local_addr()?).is_some_and(|socket| socket.timer.is_none());
    stage.check(
        said(
            "no timer ends CLOSE-WAIT: it lasts until the program closes",
            "没有定时器会结束 CLOSE-WAIT：一直等到程序关闭",
        ),
        waits,
    );
    hears(stage, said("the server's read() gives", "服务器的 read() 返回"), Server, &served, "")?;
    let local = client.local_addr()?;
    stage.close(Server, served);
    stage.reaches(
        said("the server has closed, too", "服务器也关闭了"),
        &[(Client, State::TimeWait), (Server, State::Closed)],
    );
    tell_timer(stage, local, address);
    stage.close(Client, client);
    Ok(())
}

fn server_first(stage: &mut Stage) -> Result<(), Trouble> {
    stage.scene(said("The other way round: the server closes first", "反过来：服务器先关闭"));
    let (listener, address) = listen()?;
    let (client, served) = connect(stage, &listener)?;
    stage.close(Server, served);
    stage.reaches(
        said("the server closes first", "服务器先关闭"),
        &[(Client, State::CloseWait), (Server, State::FinWait2)],
    );
    let local = client.local_addr()?;
    stage.close(Client, client);
    stage.reaches(
        said("the client has closed, too", "客户端也关闭了"),
        &[(Client, State::Closed), (Server, State::TimeWait)],
    );
    tell_timer(stage, address, local);
    Ok(())
}

/// How long the end at `local` stays in TIME-WAIT, from its timer.
fn tell_timer(stage: &mut Stage, local: SocketAddr, remote: SocketAddr) {
    let timer = socket(local, remote).and_then(|socket| socket.timer);
    let left = timer.filter(|timer| timer.kind == TimerKind::TimeWait).map_or(0, |timer| timer.expires_ms);
    let seconds = f64::from(left) / 1000.0;
    stage.check(
        (
            format!("its TIME-WAIT ends in {seconds:.1} s (read from the timer, not waited for)"),
            format!("它的 TIME-WAIT 还剩 {seconds:.1} 秒（读自定时器，没有真等）"),
        ),
        (50_000..=60_000).contains(&left),
    );
}

fn names(states: &[State]) -> String {
    states.iter().map(|state| state.name()).collect::<Vec<_>>().join(" ")
}
