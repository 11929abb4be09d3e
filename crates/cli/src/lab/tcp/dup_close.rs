//! `duolu lab dup-close`: several descriptors of one socket; close() on one of them, and shutdown().

use super::kit::{connect, hears, listen};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::said;
use crate::lab::stage::{Stage, errno_name};
use crate::lab::states::State;
use duolu_sys::socket;
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

pub static LAB: Lab = Lab {
    name: "dup-close",
    claims: &[15, 16],
    title: said(
        "with two descriptors close() sends nothing, shutdown() does",
        "两个描述符时 close() 什么都不发，shutdown() 会发",
    ),
    expected: said(
        "After dup() close() on one of the two leaves the connection ESTABLISHED and sends no FIN; only the last close() does. shutdown(SHUT_WR) \
         sends FIN at once, through either of them, and frees no descriptor.",
        "dup() 之后 close() 其中一个，连接仍是 ESTABLISHED，不发 FIN；最后一个 close() 才发。shutdown(SHUT_WR) 通过任意一个描述符立即发出 FIN，但不释放描述符。",
    ),
    why: said(
        "close() gives back a descriptor; the socket ends with the last one that refers to it (close(2), dup(2)), in whichever \
         process that is. shutdown() is a request to the connection itself (shutdown(2)). The descriptor stays open after it: it still has to be closed.",
        "close() 归还的是描述符；最后一个引用它的描述符关闭时，套接字才结束（close(2)、dup(2)），不论在哪个进程里。\
         shutdown() 作用于连接本身（shutdown(2)）。之后描述符仍然打开，还是要 close()。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let (listener, _) = listen()?;
    close_one(stage, &listener)?;
    shut_down(stage, &listener)
}

fn close_one(stage: &mut Stage, listener: &TcpListener) -> Result<(), Trouble> {
    stage.scene(said("close() one of two", "关闭两个描述符中的一个"));
    let (client, served) = connect(stage, listener)?;
    let copy = duplicate(stage, &client)?;
    stage.close(Client, client);
    stage.reaches(
        said("one of two descriptors is closed", "关闭了两个中的一个"),
        &[(Client, State::Established), (Server, State::Established)],
    );
    stage.send(Client, &copy, b"more")?;
    let what = said("what is written through the other one arrives", "通过另一个写入的数据，服务器读到");
    hears(stage, what, Server, &served, "more")?;
    stage.close(Client, copy);
    stage.reaches(
        said("the second is closed, too", "第二个也关闭了"),
        &[(Client, State::FinWait2), (Server, State::CloseWait)],
    );
    hears(stage, said("the server's read() gives", "服务器的 read() 返回"), Server, &served, "")?;
    stage.close(Server, served);
    Ok(())
}

fn shut_down(stage: &mut Stage, listener: &TcpListener) -> Result<(), Trouble> {
    stage.scene(said("shutdown() with two open", "两个都开着时 shutdown()"));
    let (client, served) = connect(stage, listener)?;
    let copy = duplicate(stage, &client)?;
    stage.call(Client, format!("shutdown({}, SHUT_WR)", copy.as_raw_fd()), || {
        socket::shutdown(&copy, Shutdown::Write)
    })?;
    stage.reaches(
        said("shutdown() with both open", "两个都开着，shutdown() 之后"),
        &[(Client, State::FinWait2), (Server, State::CloseWait)],
    );
    let through_other = stage.send(Client, &client, b"x");
    let outcome = through_other.map_or_else(|error| errno_name(&error), |sent| sent.to_string());
    stage.equal(said("writing through the other one", "通过另一个描述符 write"), outcome, "EPIPE".to_owned());
    let both = [client.as_raw_fd(), copy.as_raw_fd()];
    let is_open = |fd: &&i32| fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok();
    let open = both.iter().filter(is_open).count();
    stage.equal(said("descriptors still open after shutdown()", "shutdown() 之后仍然打开的描述符"), open, 2);
    stage.close(Client, client);
    stage.close(Client, copy);
    stage.close(Server, served);
    Ok(())
}

fn duplicate(stage: &mut Stage, client: &TcpStream) -> io::Result<OwnedFd> {
    stage.call(Client, format!("dup(fd {})", client.as_raw_fd()), || socket::dup(client, 0))
}
