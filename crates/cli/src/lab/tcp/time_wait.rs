//! `duolu lab time-wait`: what TIME-WAIT is for, by losing the last ACK once with it and once without.

use super::kit::{connect, listen, read};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::{Said, said};
use crate::lab::stage::{PATIENCE, Stage, errno_name};
use crate::lab::states::{State, socket};
use duolu_sys::tcp_diag::tcp_info;
use duolu_sys::{deaf, socket as sys};
use std::fs;
use std::net::{Shutdown, SocketAddr, TcpStream};

pub static LAB: Lab = Lab {
    name: "time-wait",
    claims: &[6],
    title: said(
        "the last ACK is lost: with TIME-WAIT, and without",
        "最后一个 ACK 丢了：有 TIME-WAIT 和没有 TIME-WAIT",
    ),
    expected: said(
        "The server in LAST-ACK sends its FIN again until it is acknowledged. TIME-WAIT answers each time, although the client's program has \
         closed long ago: the server ends without an error. Without TIME-WAIT (SO_LINGER 0) RST is the answer: the server gets ECONNRESET. \
         net.ipv4.tcp_fin_timeout does not change TIME-WAIT.",
        "处于 LAST-ACK 的服务器会重传 FIN，直到得到确认。客户端程序早已关闭，TIME-WAIT 仍然每次都回答：服务器正常结束，没有错误。\
         没有 TIME-WAIT（SO_LINGER 0）时回答是 RST：服务器得到 ECONNRESET。net.ipv4.tcp_fin_timeout 改变不了 TIME-WAIT。",
    ),
    why: said(
        "That is half of the reason. TIME-WAIT does not make the ACK arrive; it makes sure that someone is there to send it again. The other half: \
         late segments of this connection must not be taken for a new one's between the same two ports (RFC 9293, 3.3.2 and 3.6.1, MUST-13: 2 MSL). On Linux it is 60 \
         seconds and no setting; tcp_fin_timeout is FIN-WAIT-2's (tcp(7)), the commonest wrong advice.",
        "这只是一半原因。TIME-WAIT 并不能让 ACK 到达，而是保证有人在，可以再发一次。另一半：这个连接迟到的报文不能被当成同一对端口上新连接的\
         （RFC 9293 3.3.2 与 3.6.1，MUST-13：2MSL）。Linux 上固定 60 秒，不可调；tcp_fin_timeout 管的是 FIN-WAIT-2（tcp(7)），这是流传最广的错误建议。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::Nothing,
    run,
};

const NO_ERROR: Said = said("none", "没有");

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    with(stage)?;
    without(stage)
}

fn with(stage: &mut Stage) -> Result<(), Trouble> {
    let fin_timeout = shorten_fin_timeout(stage);
    stage.scene(said(
        "With TIME-WAIT: the last ACK is lost, and sent again",
        "有 TIME-WAIT：最后一个 ACK 丢了，再发一次",
    ));
    let (listener, address) = listen()?;
    let (client, served) = connect(stage, &listener)?;
    let local = client.local_addr()?;
    stage.close(Client, client);
    read(stage, Server, &served)?;
    deafen(stage, &served)?;
    stage.call(Server, "shutdown(SHUT_WR)", || sys::shutdown(&served, Shutdown::Write))?;
    stage.reaches(
        said(
            "the last ACK is lost; the client's program has closed long ago",
            "最后一个 ACK 丢了；客户端程序早已关闭",
        ),
        &[(Client, State::TimeWait), (Server, State::LastAck)],
    );
    tell_timer(stage, local, address, fin_timeout);

    let again = wait_for_repetition(stage, &served);
    hear(stage, &served)?;
    stage.reaches(
        said("the FIN is sent again and TIME-WAIT answers", "FIN 重传，TIME-WAIT 回答"),
        &[(Client, State::TimeWait), (Server, State::Closed)],
    );
    tell_end(stage, again, &served, NO_ERROR);
    stage.close(Server, served);
    Ok(())
}

fn without(stage: &mut Stage) -> Result<(), Trouble> {
    stage
        .scene(said("Without TIME-WAIT: nobody is there to send it again", "没有 TIME-WAIT：没人能再发一次"));
    let (listener, _) = listen()?;
    let (client, served) = connect(stage, &listener)?;
    stage.call(Client, "shutdown(SHUT_WR)", || sys::shutdown(&client, Shutdown::Write))?;
    read(stage, Server, &served)?;
    deafen(stage, &served)?;
    stage.call(Client, "setsockopt(linger 0)", || sys::set_linger(&client, Some(0)))?;
    stage.close(Client, client);
    stage.reaches(
        said("SO_LINGER 0 leaves no TIME-WAIT", "SO_LINGER 0 不留 TIME-WAIT"),
        &[(Client, State::Closed), (Server, State::CloseWait)],
    );
    stage.call(Server, "shutdown(SHUT_WR)", || sys::shutdown(&served, Shutdown::Write))?;
    let again = wait_for_repetition(stage, &served);
    hear(stage, &served)?;
    stage.reaches(
        said("the FIN is sent again and answered with RST", "FIN 重传，回答是 RST"),
        &[(Client, State::Closed), (Server, State::Closed)],
    );
    tell_end(stage, again, &served, Said::same("ECONNRESET"));
    stage.close(Server, served);
    Ok(())
}

/// How often the FIN had to be sent again, and how it ended for the server.
fn tell_end(stage: &mut Stage, again: u32, served: &TcpStream, error: Said) {
    stage.check(
        (
            format!("answers lost before that: {again}, each brought the FIN again"),
            format!("在此之前它重传了 {again} 次，回答都丢了"),
        ),
        again >= 1,
    );
    stage.same(said("the server's error", "服务器得到的错误"), error_of(served), error);
}

/// From here on everything that arrives at the server is lost.
fn deafen(stage: &mut Stage, served: &TcpStream) -> Result<(), Trouble> {
    deaf::make_deaf(served)?;
    stage.set_deaf(Server, true);
    stage.remark(Some(Server), said("now nothing reaches it", "从这里起什么都收不到"));
    Ok(())
}

fn hear(stage: &mut Stage, served: &TcpStream) -> Result<(), Trouble> {
    stage.set_deaf(Server, false);
    deaf::make_hear(served)?;
    stage.remark(Some(Server), said("it hears again", "又能收到了"));
    Ok(())
}

/// Waits until the server has sent something again; how often it has.
fn wait_for_repetition(stage: &mut Stage, served: &TcpStream) -> u32 {
    let count = || tcp_info(served).map_or(0, |info| info.total_retrans);
    stage.until(PATIENCE, |_| count() > 0);
    stage.settle();
    count()
}

fn error_of(socket: &TcpStream) -> Said {
    match sys::take_error(socket) {
        Ok(()) => NO_ERROR,
        Err(error) => Said::same(errno_name(&error)),
    }
}

const FIN_TIMEOUT: &str = "/proc/sys/net/ipv4/tcp_fin_timeout";

/// In a network of our own, tcp_fin_timeout becomes 5 seconds, for all to see that TIME-WAIT does not care.
fn shorten_fin_timeout(stage: &Stage) -> Option<u32> {
    if stage.has_own_network() {
        let _ = fs::write(FIN_TIMEOUT, "5");
    }
    fs::read_to_string(FIN_TIMEOUT).ok()?.trim().parse().ok()
}

fn tell_timer(stage: &mut Stage, local: SocketAddr, remote: SocketAddr, fin_timeout: Option<u32>) {
    let left = socket(local, remote).and_then(|socket| socket.timer).map_or(0, |timer| timer.expires_ms);
    let seconds = f64::from(left) / 1000.0;
    let setting = fin_timeout.map_or("?".to_owned(), |seconds| seconds.to_string());
    stage.check(
        (
            format!("its TIME-WAIT lasts another {seconds:.1} s, with tcp_fin_timeout = {setting}"),
            format!("它的 TIME-WAIT 还剩 {seconds:.1} 秒，此时 tcp_fin_timeout = {setting}"),
        ),
        (50_000..=60_000).contains(&left),
    );
}
