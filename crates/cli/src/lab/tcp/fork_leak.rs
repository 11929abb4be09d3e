//! `duolu lab fork-leak`: the classic fork server: the connection does not end, because a child has its descriptor, too.

use super::kit::{connect, hears, listen};
use crate::lab::child::Child;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use crate::lab::states::State;
use duolu_sys::socket;
use std::net::Shutdown;
use std::time::Duration;

pub static LAB: Lab = Lab {
    name: "fork-leak",
    claims: &[15],
    title: said(
        "fork() copies descriptors: the parent's close() ends nothing",
        "fork() 复制描述符：父进程 close() 什么也没结束",
    ),
    expected: said(
        "The server forks while a connection is open, then closes it. The client notices nothing: ESTABLISHED, no end of stream. It \
         ends when the child does; or at once, when the parent calls shutdown().",
        "服务器在连接打开时 fork，然后 close。客户端毫无察觉：仍是 ESTABLISHED，读不到结束。子进程结束时才结束；或者父进程调用 shutdown()，立即结束。",
    ),
    why: said(
        "fork() duplicates every descriptor, like dup() (fork(2)). A server that forks for each connection must close the connection in the \
         parent and the listener in the child; SOCK_CLOEXEC guards only against exec. The same happens with two processes as with two descriptors.",
        "fork() 像 dup() 一样复制所有描述符（fork(2)）。每连接一进程的服务器，父进程要关闭连接，子进程要关闭监听套接字；\
         SOCK_CLOEXEC 只在 exec 时起作用。两个进程和两个描述符是同一回事。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

/// Long enough for a FIN to cross a loopback many times over.
const NOTHING_COMES: Duration = Duration::from_millis(60);

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let (listener, _) = listen()?;

    stage.scene(said("close() in the parent only", "只有父进程 close()"));
    let (client, served) = connect(stage, &listener)?;
    let child = stage.call(Server, "fork()", || Child::fork(|| ()))?;
    stage.close(Server, served);
    stage.remark(Some(Server), said("the child still has it", "子进程还拿着它"));
    stage.until(NOTHING_COMES, |stage| stage.state(Client) != State::Established);
    stage.reaches(
        (
            format!("{} ms after the parent's close()", NOTHING_COMES.as_millis()),
            format!("父进程 close() 之后 {} 毫秒", NOTHING_COMES.as_millis()),
        ),
        &[(Client, State::Established), (Server, State::Established)],
    );
    child.end()?;
    stage.remark(Some(Server), said("the child exits", "子进程退出"));
    stage.reaches(
        said("the child has ended", "子进程结束了"),
        &[(Client, State::CloseWait), (Server, State::FinWait2)],
    );
    hears(stage, said("the client's read() gives", "客户端的 read() 返回"), Client, &client, "")?;
    stage.close(Client, client);

    stage.scene(said("shutdown() in the parent, the child still alive", "父进程 shutdown()，子进程还活着"));
    let (client, served) = connect(stage, &listener)?;
    let child = stage.call(Server, "fork()", || Child::fork(|| ()))?;
    stage.call(Server, "shutdown(SHUT_RDWR)", || socket::shutdown(&served, Shutdown::Both))?;
    stage.reaches(
        said("shutdown() in the parent, the child alive", "父进程 shutdown()，子进程活着"),
        &[(Client, State::CloseWait), (Server, State::FinWait2)],
    );
    hears(stage, said("the client's read() gives", "客户端的 read() 返回"), Client, &client, "")?;
    child.end()?;
    stage.close(Server, served);
    stage.close(Client, client);
    Ok(())
}
