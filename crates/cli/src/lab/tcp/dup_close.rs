//! `duolu lab dup-close`: several descriptors of one socket; close() on one of them, and shutdown().

use super::kit::{connect, listen, read};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use crate::lab::states::State;
use duolu_sys::socket;
use std::net::Shutdown;
use std::os::fd::AsRawFd;

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

    stage.scene(said("close() one of two", "关闭两个描述符中的一个"));
    let (client, served) = connect(stage, &listener)?;
    let copy = stage.call(Client, format!("dup(fd {})", client.as_raw_fd()), || socket::dup(&client, 0))?;
    stage.close(Client, client);
    stage.reaches(
        said("one of two descriptors is closed: client", "关闭了两个中的一个：客户端"),
        Client,
        State::Established,
    );
    stage.reaches(said("and server", "服务器"), Server, State::Established);
    let more = stage.send(Client, &copy, b"more")?;
    stage.equal(said("the other one still writes, bytes", "另一个仍能写，字节"), more, 4);
    let heard = read(stage, Server, &served)?;
    stage.equal(said("and the server reads", "服务器读到"), heard.0, "more".to_owned());
    stage.close(Client, copy);
    stage.reaches(said("the second is closed: client", "第二个也关闭了：客户端"), Client, State::FinWait2);
    let end = read(stage, Server, &served)?;
    stage.equal(said("and the server's read() gives", "服务器的 read() 返回"), end.0.len(), 0);
    stage.close(Server, served);

    stage.scene(said("shutdown() with two open", "两个都开着时 shutdown()"));
    let (client, served) = connect(stage, &listener)?;
    let copy = stage.call(Client, format!("dup(fd {})", client.as_raw_fd()), || socket::dup(&client, 0))?;
    stage.call(Client, format!("shutdown(fd {}, SHUT_WR)", copy.as_raw_fd()), || {
        socket::shutdown(&copy, Shutdown::Write)
    })?;
    stage.reaches(
        said("shutdown() with both open: client", "两个都开着，shutdown() 之后：客户端"),
        Client,
        State::FinWait2,
    );
    stage.reaches(said("and server", "服务器"), Server, State::CloseWait);
    let through_other = stage.send(Client, &client, b"x");
    let outcome =
        through_other.map_or_else(|error| crate::lab::stage::errno_name(&error), |sent| sent.to_string());
    stage.equal(said("writing through the other one", "通过另一个描述符 write"), outcome, "EPIPE".to_owned());
    let both = [client.as_raw_fd(), copy.as_raw_fd()];
    let open =
        both.iter().filter(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok()).count();
    stage.equal(said("descriptors still open after shutdown()", "shutdown() 之后仍然打开的描述符"), open, 2);
    stage.close(Client, client);
    stage.close(Client, copy);
    stage.close(Server, served);
    Ok(())
}
