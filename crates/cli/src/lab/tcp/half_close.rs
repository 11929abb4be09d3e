//! `duolu lab half-close`: what close() ends, and what shutdown() leaves open.

use super::kit::{connect, hears, listen, read};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::said;
use crate::lab::stage::{Stage, errno_name};
use crate::lab::states::State;
use duolu_sys::socket;
use std::net::{Shutdown, TcpListener};

pub static LAB: Lab = Lab {
    name: "half-close",
    claims: &[14],
    title: said("close() ends both directions, shutdown() one", "close() 关闭两个方向，shutdown() 只关一个"),
    expected: said(
        "After shutdown(SHUT_WR) the client still reads what the server sends. After close() it cannot: the server's first \
         write succeeds and is answered with RST, its second fails with EPIPE; and close() with unread data resets at once.",
        "shutdown(SHUT_WR) 之后客户端仍能读到服务器发来的数据。close() 之后不能：服务器第一次 write 成功，但对方回 RST，\
         第二次 write 得到 EPIPE；如果 close() 时还有未读数据，连接立即被重置。",
    ),
    why: said(
        "close() on the last descriptor takes the socket away from the application in both directions (RFC 9293, 3.6.1, MAY-1); \
         TCP sends FIN, but data that comes later finds nobody and must be answered with RST (SHLD-3). Only shutdown(SHUT_WR) is a half-close: it \
         sends FIN and leaves reading as it was (shutdown(2)).",
        "对最后一个描述符 close()，应用的两个方向都没有了（RFC 9293 3.6.1，MAY-1）：TCP 发出 FIN，但之后到来的数据无人接收，\
         应以 RST 回答（SHLD-3）。真正的半关闭是 shutdown(SHUT_WR)：发送 FIN，读方向不变（shutdown(2)）。",
    ),
    verdict: Verdict::Wrong,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let (listener, _) = listen()?;
    shut_down(stage, &listener)?;
    close(stage, &listener)?;
    close_with_unread_data(stage, &listener)
}

fn shut_down(stage: &mut Stage, listener: &TcpListener) -> Result<(), Trouble> {
    stage.scene(said("shutdown(SHUT_WR): the half-close", "shutdown(SHUT_WR)：半关闭"));
    let (client, served) = connect(stage, listener)?;
    stage.call(Client, "shutdown(SHUT_WR)", || socket::shutdown(&client, Shutdown::Write))?;
    stage.reaches(
        said("after the client's shutdown(SHUT_WR)", "客户端 shutdown(SHUT_WR) 之后"),
        &[(Client, State::FinWait2), (Server, State::CloseWait)],
    );
    hears(stage, said("the server's read() gives", "服务器的 read() 返回"), Server, &served, "")?;
    stage.send(Server, &served, b"still")?;
    let what = said("the half-closed client still reads", "半关闭的客户端仍读到");
    hears(stage, what, Client, &client, "still")?;
    stage.close(Server, served);
    stage.close(Client, client);
    Ok(())
}

fn close(stage: &mut Stage, listener: &TcpListener) -> Result<(), Trouble> {
    stage.scene(said("close(): both directions are gone", "close()：两个方向都没有了"));
    let (client, served) = connect(stage, listener)?;
    stage.close(Client, client);
    let first = stage.send(Server, &served, b"anyone?");
    stage.equal(
        said(
            "after the client's close() the server's first write()",
            "客户端 close() 之后，服务器第一次 write()",
        ),
        outcome(&first),
        "7".to_owned(),
    );
    stage.reaches(
        said("which was answered with RST", "它得到的回答是 RST"),
        &[(Client, State::Closed), (Server, State::Closed)],
    );
    let second = stage.send(Server, &served, b"hello?");
    stage.equal(said("its second", "第二次"), outcome(&second), "EPIPE".to_owned());
    stage.close(Server, served);
    Ok(())
}

fn close_with_unread_data(stage: &mut Stage, listener: &TcpListener) -> Result<(), Trouble> {
    stage.scene(said("close() with unread data: reset at once", "还有未读数据时 close()：立即重置"));
    let (client, served) = connect(stage, listener)?;
    stage.send(Server, &served, b"unread")?;
    stage.close(Client, client);
    let heard = read(stage, Server, &served);
    stage.equal(
        said("closed with unread data: the server's read()", "还有未读数据就 close()：服务器的 read()"),
        heard.map_or_else(|error| errno_name(&error), |received| received.0),
        "ECONNRESET".to_owned(),
    );
    stage.close(Server, served);
    Ok(())
}

fn outcome(result: &std::io::Result<usize>) -> String {
    match result {
        Ok(count) => count.to_string(),
        Err(error) => errno_name(error),
    }
}
