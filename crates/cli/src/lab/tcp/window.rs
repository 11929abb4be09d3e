//! `duolu lab window`: a reader that stops, a window that closes, a writer that has to wait.

use super::kit::{connect, listen, wait_readable, wait_until};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::said;
use crate::lab::stage::{PATIENCE, Stage};
use crate::lab::states::{TimerKind, socket};
use crate::walls::grouped;
use duolu_sys::tcp_diag::{TcpInfo, tcp_info};
use duolu_sys::{netns, socket as sys, veth};
use std::io;
use std::net::TcpStream;

pub static LAB: Lab = Lab {
    name: "window",
    claims: &[4],
    title: said("a reader that stops: the window closes, the writer waits", "读者停下：窗口关闭，写者等待"),
    expected: said(
        "As long as nobody reads, the window in each acknowledgement shrinks to 0. The writer gets EAGAIN (a blocking one would sleep), its TCP probes from time to time, and nothing is \
         lost: once the reader reads, the window opens and every byte arrives. At the very beginning less may be sent than the window allows.",
        "没人读，每个确认里的窗口就越来越小，直到 0。写者得到 EAGAIN（阻塞的写者会睡眠），它的 TCP 隔一会儿探测一次，什么都不会丢：\
         读者一读，窗口重新打开，每个字节都会到达。而连接刚开始时，能发的比窗口允许的还少。",
    ),
    why: said(
        "The window is what the receiver has room for, as the notes say; the header's 16 bits are shifted left by the scale that the SYN announced (RFC 7323). But what may \
         be under way is the smaller of it and cwnd, the sender's own guess of what the network bears (RFC 5681): it begins at 10 segments. A closed window \
         is probed by the persist timer, for the segment that opens it may be lost (RFC 9293, 3.8.6.1). tcp_info tells how long the window was to blame (rwnd_limited).",
        "窗口就是接收方还有多少空间，笔记的理解是对的；首部里的 16 位要按 SYN 中声明的比例左移（RFC 7323）。但在途数据的上限是它和 cwnd 两者中较小的一个，\
         cwnd 是发送方对网络承受力的估计（RFC 5681），从 10 个报文段开始。窗口关闭后由坚持定时器探测，因为重新打开窗口的报文可能丢失（RFC 9293 3.8.6.1）。\
         tcp_info 的 rwnd_limited 告诉你有多久是窗口在限制。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    if stage.has_own_network() {
        // As on an Ethernet, and no segment larger than that: cwnd counts segments.
        netns::set_mtu(netns::LOOPBACK, 1500)?;
        veth::offloads(netns::LOOPBACK, false)?;
    }
    stage.scene(said("The server does not read", "服务器不读"));
    stage.show_windows();
    let (listener, address) = listen()?;
    let (client, served) = connect(stage, &listener)?;
    tell_beginning(stage, &tcp_info(&client)?);

    let written = stage.call(Client, "write() to EAGAIN", || write_until_full(&client))?;
    let closed = stage.until(PATIENCE, |_| window(&client) == Some(0));
    stage.check(
        (
            format!(
                "after {} bytes the writer gets EAGAIN, and the window is {}",
                grouped(written as u64),
                told(&client)
            ),
            format!("写了 {} 字节之后写者得到 EAGAIN，窗口为 {}", grouped(written as u64), told(&client)),
        ),
        closed,
    );
    let local = client.local_addr()?;
    let timer = socket(local, address).and_then(|socket| socket.timer);
    let kind = timer.map(|timer| timer.kind);
    stage.check(
        said("the timer that runs is the persist timer", "正在运行的是坚持定时器"),
        kind == Some(TimerKind::ZeroWindow),
    );
    let sent = tcp_info(&client)?.segs_out;
    stage.until(PATIENCE, |_| tcp_info(&client).is_ok_and(|info| info.segs_out > sent));
    let info = tcp_info(&client)?;
    let probes = info.segs_out.zip(sent).map_or(0, |(now, before)| now - before);
    stage.check(
        (
            format!("probes sent while nothing else was allowed to go: {probes}"),
            format!("什么都不许发的时候，发出了 {probes} 个探测"),
        ),
        probes > 0,
    );
    if let (Some(limited), Some(busy)) = (info.rwnd_limited_us, info.busy_us) {
        stage.check(
            (
                format!(
                    "tcp_info: sending for {} ms, of which the peer's window held it back {} ms",
                    busy / 1000,
                    limited / 1000
                ),
                format!("tcp_info：发送共 {} 毫秒，其中 {} 毫秒受对方窗口限制", busy / 1000, limited / 1000),
            ),
            limited > 0 && limited <= busy,
        );
    }

    let read = stage.call(Server, "read() all of it", || read_exactly(&served, written))?;
    stage.equal(
        said("the reader reads at last, bytes", "读者终于读了，字节"),
        grouped(read as u64),
        grouped(written as u64),
    );
    let open = wait_until(|| window(&client).is_some_and(|window| window > 0));
    stage.check(
        (
            format!("and the window is open again: {}", told(&client)),
            format!("窗口又打开了：{}", told(&client)),
        ),
        open,
    );
    stage.close(Client, client);
    stage.close(Server, served);
    Ok(())
}

/// cwnd and the window, before anything was sent.
fn tell_beginning(stage: &mut Stage, info: &TcpInfo) {
    let (Some(window), Some(scale)) = (info.snd_wnd, info.snd_wscale) else { return };
    let first = u64::from(info.cwnd) * u64::from(info.snd_mss);
    let [window, first_said] = [u64::from(window), first].map(grouped);
    let (cwnd, mss) = (info.cwnd, info.snd_mss);
    stage.check(
        (
            format!("at first the window is {window} bytes (scale 2^{scale}); cwnd is {cwnd} segments of {mss} = {first_said}"),
            format!("刚开始窗口为 {window} 字节（比例 2^{scale}）；cwnd 为 {cwnd} 个 {mss} 字节的报文段 = {first_said}"),
        ),
        cwnd > 0,
    );
    if stage.has_own_network() {
        stage.check(
            said("so cwnd, not the window, is the smaller one then", "所以那时较小的是 cwnd，不是窗口"),
            info.snd_wnd.is_some_and(|window| first < u64::from(window)),
        );
    }
}

fn window(client: &TcpStream) -> Option<u32> {
    tcp_info(client).ok()?.snd_wnd
}

fn told(client: &TcpStream) -> String {
    window(client).map_or("?".to_owned(), |window| grouped(u64::from(window)))
}

/// Writes until nothing more is taken for a while: what is under way may make room once more.
fn write_until_full(client: &TcpStream) -> io::Result<usize> {
    let chunk = vec![b'x'; 64 * 1024];
    let mut written = 0;
    loop {
        let mut sent = 0;
        let room = wait_until_within(20, || match sys::send(client, &chunk) {
            Ok(count) => {
                sent = count;
                true
            }
            Err(_) => false,
        });
        if !room {
            return Ok(written);
        }
        written += sent;
    }
}

fn wait_until_within(ms: u32, mut done: impl FnMut() -> bool) -> bool {
    (0..ms).any(|_| {
        done() || {
            std::thread::sleep(std::time::Duration::from_millis(1));
            false
        }
    })
}

fn read_exactly(served: &TcpStream, count: usize) -> io::Result<usize> {
    let mut buffer = vec![0; 64 * 1024];
    let mut got = 0;
    while got < count {
        wait_readable(served)?;
        match sys::recv(served, &mut buffer)? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}
