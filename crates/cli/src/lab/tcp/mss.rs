//! `duolu lab mss`: what the SYN announces, and what a segment really carries.

use super::cable::Cable;
use super::kit::{wait_readable, wait_until};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::{Said, said};
use crate::lab::stage::{Seen, Stage};
use crate::lang::Lang;
use duolu_sys::socket;
use duolu_sys::tcp_diag::tcp_info;
use std::fs;

pub static LAB: Lab = Lab {
    name: "mss",
    claims: &[3],
    title: said("what the SYN announces, and what a segment carries", "SYN 里声明的，和报文段真正携带的"),
    expected: said(
        "Each end announces its link's MTU less 40 (the IP and TCP headers without options): 1460 on Ethernet's 1500, 8960 on 9000. With timestamps, \
         12 bytes of options, a segment carries 12 less: 1448, 8948. And a sender keeps to what the other end announced.",
        "每一端声明自己链路的 MTU 减 40（不含选项的 IP 首部和 TCP 首部）：以太网 1500 时为 1460，9000 时为 8960。\
         带时间戳（12 字节选项）时，报文段少装 12 字节：1448、8948。发送方遵守对方声明的值。",
    ),
    why: said(
        "The MSS is an option of the SYN, announced by the receiver of data: the largest payload that it wants, with fixed headers of 20 + 20 bytes taken off (RFC 9293, 3.7.1; RFC 6691). \
         Options come on top, so the sender subtracts them: Eff.snd.MSS. It is no property of the data's sender, and not exactly what is left once the headers are off. Without the option \
         536 is assumed (1220 for IPv6).",
        "MSS 是 SYN 里的一个选项，由数据的接收方声明：它想要的最大载荷，只扣除固定的 20 + 20 字节首部（RFC 9293 3.7.1；RFC 6691）。\
         选项另算，由发送方再减去：Eff.snd.MSS。所以它不是发送方的属性，也不正好等于去掉首部之后剩下的大小。没有这个选项时按 536（IPv6 为 1220）。",
    ),
    verdict: Verdict::Imprecise,
    needs: Needs::OwnNetwork,
    run,
};

/// More than two segments of either kind.
const MESSAGE: usize = 20_000;

/// A link at each end, timestamps or not, what should come of it, and whether its ladder is worth a look.
struct Case {
    mtu: (u32, u32),
    timestamps: bool,
    announced: (u16, u16),
    carries: u32,
    drawn: bool,
}

const CASES: [Case; 4] = [
    Case { mtu: (1500, 1500), timestamps: true, announced: (1460, 1460), carries: 1448, drawn: true },
    Case { mtu: (1500, 1500), timestamps: false, announced: (1460, 1460), carries: 1460, drawn: false },
    Case { mtu: (9000, 9000), timestamps: true, announced: (8960, 8960), carries: 8948, drawn: false },
    Case { mtu: (9000, 1500), timestamps: true, announced: (8960, 1460), carries: 1448, drawn: true },
];

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let cable = Cable::lay(stage)?;
    let mut table = vec![vec![
        said("MTU client / server", "MTU 客户端 / 服务器"),
        said("SYN's MSS", "SYN 的 MSS"),
        said("timestamps", "时间戳"),
        said("tcp_info mss", "tcp_info mss"),
        said("largest segment", "最大报文段"),
    ]];
    for case in &CASES {
        table.push(try_case(stage, &cable, case)?);
    }
    stage.table(said("the client sends 20,000 bytes", "客户端发送 20,000 字节"), table);
    Ok(())
}

fn try_case(stage: &mut Stage, cable: &Cable, case: &Case) -> Result<Vec<Said>, Trouble> {
    let Case { mtu: (here, there), timestamps, announced, carries, drawn } = *case;
    cable.set_mtu(here, there)?;
    fs::write("/proc/sys/net/ipv4/tcp_timestamps", if timestamps { "1" } else { "0" })?;
    let with = if timestamps {
        said("with timestamps", "带时间戳")
    } else {
        said("without timestamps", "不带时间戳")
    };
    let what = Said::of(|lang| format!("MTU {here} / {there}{}{}", lang.pick(", ", "，"), with.pick(lang)));
    stage.scene(what.clone());
    let (client, served) = cable.connect(stage)?;
    let sent = stage.send(Client, &client, &[b'x'; MESSAGE])?;
    let mut got = 0;
    while got < sent {
        wait_readable(&served)?;
        got += socket::recv(&served, &mut [0; MESSAGE])?;
    }
    stage.remark(Some(Server), (format!("reads {got} bytes"), format!("读到 {got} 字节")));
    wait_until(|| tcp_info(&client).is_ok_and(|info| info.unacked == 0));
    let (ours, theirs) = (stage.seen(Client), stage.seen(Server));
    let mss = tcp_info(&client)?.snd_mss;
    let announces = (ours.mss.unwrap_or(0), theirs.mss.unwrap_or(0));
    stage.same(what, told(announces, mss, ours.largest), told(announced, carries, carries));
    let Seen { packet, options, largest, .. } = ours;
    stage.equal(
        (
            format!("the IP packet of that segment, 20 + 20 + {options} of options + {largest}, bytes"),
            format!("那个报文段的 IP 包，20 + 20 + 选项 {options} + {largest}，字节"),
        ),
        packet,
        here.min(there),
    );
    if drawn {
        stage.end_scene();
    } else {
        stage.drop_scene();
    }
    let [mtu, announces] =
        [(here, there), (announces.0.into(), announces.1.into())].map(|(a, b)| format!("{a} / {b}"));
    let on = if timestamps { said("on", "有") } else { said("off", "无") };
    let [mss, largest] = [mss, largest].map(|bytes| Said::same(bytes.to_string()));
    Ok(vec![Said::same(mtu), Said::same(announces), on, mss, largest])
}

/// What was announced, what the sender's TCP says, what a segment carried.
fn told((client, server): (u16, u16), mss: u32, largest: u32) -> Said {
    Said::of(|lang| match lang {
        Lang::En => format!("SYNs {client} / {server}, tcp_info mss {mss}, largest segment {largest}"),
        Lang::Zh => format!("SYN {client} / {server}，tcp_info mss {mss}，最大报文段 {largest}"),
    })
}
