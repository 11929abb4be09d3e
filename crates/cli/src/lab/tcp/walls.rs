//! `duolu lab walls`: why servers stop at numbers like 1,017.

use super::kit::{ANY, connect_many, wait_until};
use crate::lab::child::Child;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use crate::lab::states::{State, on_port};
use crate::walls::grouped;
use duolu_sys::process::{Limit, descriptor_limit, raise_descriptor_limit, set_descriptor_limit};
use duolu_sys::socket::{self, ListenOptions};
use duolu_sys::sync::atomic::{AtomicU64, Ordering::SeqCst};
use duolu_sys::worker::shared_words;
use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

pub static LAB: Lab = Lab {
    name: "walls",
    claims: &[1],
    title: said("why a server stops a little below 1024", "服务器为什么停在略小于 1024 的数"),
    expected: said(
        "A server with a limit of 1024 descriptors accepts 1024 less what it has open already, then accept() fails with EMFILE. The clients beyond it notice nothing: \
         connect() succeeds, the kernel has done the handshake, and nobody answers. With a higher limit the same server goes on.",
        "描述符上限为 1024 的服务器，能接受 1024 减去已打开的数目，然后 accept() 返回 EMFILE。再来的客户端毫无察觉：connect() 成功，内核已完成握手，\
         但没有人回答。提高上限，同一个服务器继续接受。",
    ),
    why: said(
        "Every connection is a descriptor, and RLIMIT_NOFILE is one more than the highest number allowed (getrlimit(2)); 1024 is the usual soft limit, whatever the model: process, thread or epoll. \
         So the number seen is 1024 less standard input, output, error, the listener, an epoll and what else is open. The backlog hides it from clients. ulimit -n, LimitNOFILE= or setrlimit up to the hard limit.",
        "每个连接占一个描述符，RLIMIT_NOFILE 比允许的最大编号大一（getrlimit(2)）；常见的软上限是 1024，与模型无关：进程、线程、epoll 都一样。\
         所以看到的数字是 1024 减去标准输入、输出、错误、监听套接字、epoll 以及其他已打开的描述符。监听队列让客户端看不出来。用 ulimit -n、LimitNOFILE= 或 setrlimit 提高到硬上限为止。",
    ),
    verdict: Verdict::Answered,
    needs: Needs::Nothing,
    run,
};

/// The usual soft limit.
const USUAL: u64 = 1024;
/// Connections beyond the wall.
const MORE: usize = 40;

/// What the server's process and this one tell each other.
struct Board(&'static [AtomicU64]);

impl Board {
    fn new() -> io::Result<Self> {
        shared_words(5).map(Board)
    }
    fn get(&self, at: usize) -> u64 {
        self.0[at].load(SeqCst)
    }
    fn set(&self, at: usize, value: u64) {
        self.0[at].store(value, SeqCst);
    }
}

/// The server's descriptors before the first accept.
const OPEN: usize = 0;
/// Connections accepted so far.
const ACCEPTED: usize = 1;
/// The errno of accept at the wall.
const ERRNO: usize = 2;
/// Set by us: raise the limit and go on.
const GO_ON: usize = 3;

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let before = descriptor_limit()?;
    let result = at_the_wall(stage);
    set_descriptor_limit(before)?;
    result
}

fn at_the_wall(stage: &mut Stage) -> Result<(), Trouble> {
    let ours = raise_descriptor_limit()?.soft;
    // Ours have to hold a client for each, beside the server's copy of them in the queue.
    let limit = USUAL.min(ours / 4);
    if limit < 64 {
        return Err(Trouble::Cannot {
            missing: (
                format!("a limit of more than {ours} descriptors"),
                format!("多于 {ours} 个描述符的上限"),
            )
                .into(),
            unlock: said("as root: ulimit -Hn 4096", "以 root 执行 ulimit -Hn 4096"),
        });
    }
    let listener = socket::listen(ANY, &ListenOptions::default())?;
    let address = listener.local_addr()?;
    let board = Board::new()?;
    let child = Child::fork(|| serve(&listener, &board, limit))?;
    drop(listener);

    let clients = connect_many(address, limit as usize + MORE)?;
    wait_until(|| board.get(ERRNO) != 0);
    let (open, accepted) = (board.get(OPEN), board.get(ACCEPTED));
    stage.equal(
        (
            format!("limit {limit}, {open} descriptors open before; connections accepted"),
            format!("上限 {limit}，此前已打开 {open} 个描述符；接受的连接"),
        ),
        accepted,
        limit - open,
    );
    let errno = io::Error::from_raw_os_error(i32::try_from(board.get(ERRNO)).unwrap_or(0));
    stage.equal(
        said("then accept() gives", "然后 accept() 返回"),
        crate::lab::stage::errno_name(&errno),
        "EMFILE".to_owned(),
    );

    let total = clients.len() as u64;
    let waiting = on_port(address.port())
        .iter()
        .find(|socket| socket.state == State::Listen)
        .map_or(0, |socket| u64::from(socket.recv_q));
    stage.equal(
        (
            format!("all {} clients are connected; in the listen queue wait", grouped(total)),
            format!("{} 个客户端全部连接成功；在监听队列里等待的", grouped(total)),
        ),
        waiting,
        total - accepted,
    );
    let answered = answers(&clients);
    stage.equal(said("clients that got an answer", "得到回答的客户端"), answered as u64, accepted);

    board.set(GO_ON, ours);
    wait_until(|| board.get(ACCEPTED) == total);
    stage.equal(
        (
            format!("the same server, its limit raised to {}; connections accepted", grouped(ours)),
            format!("同一个服务器，上限提高到 {}；接受的连接", grouped(ours)),
        ),
        board.get(ACCEPTED),
        total,
    );
    drop(child); // it never ends by itself
    Ok(())
}

/// Clients that have their byte. Answers are there when accept is over.
fn answers(clients: &[TcpStream]) -> usize {
    let mut count = 0;
    for client in clients {
        count += usize::from(socket::recv(client, &mut [0]).is_ok_and(|bytes| bytes == 1));
    }
    count
}

/// The server: greets each connection with a byte and keeps it.
fn serve(listener: &TcpListener, board: &Board, limit: u64) {
    let hard = descriptor_limit().map_or(limit, |limit| limit.hard);
    let _ = set_descriptor_limit(Limit { soft: limit, hard });
    board.set(OPEN, own_descriptors());
    let mut held = Vec::with_capacity(2048);
    loop {
        match socket::accept(listener) {
            Ok(stream) => {
                let _ = socket::send(&stream, b"!");
                held.push(stream);
                board.set(ACCEPTED, held.len() as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause(),
            Err(error) => {
                board.set(ERRNO, u64::from(error.raw_os_error().unwrap_or(0).unsigned_abs()));
                while board.get(GO_ON) == 0 {
                    pause();
                }
                if set_descriptor_limit(Limit { soft: board.get(GO_ON), hard }).is_err() {
                    return;
                }
            }
        }
    }
}

fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// The entries of /proc/self/fd, less the one that reading it takes.
fn own_descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}
