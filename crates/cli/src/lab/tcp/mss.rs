//! `duolu lab mss`: what the SYN announces, and what a segment really carries.

use super::cable::Cable;
use super::kit::{wait_readable, wait_until};
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::ladder::Who::{Client, Server};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
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

/// A link at each end, timestamps or not, and what should come of it.
struct Case {
    mtu: (u32, u32),
    timestamps: bool,
    announced: (u16, u16),
    carries: u32,
}

const CASES: [Case; 4] = [
    Case { mtu: (1500, 1500), timestamps: true, announced: (1460, 1460), carries: 1448 },
    Case { mtu: (1500, 1500), timestamps: false, announced: (1460, 1460), carries: 1460 },
    Case { mtu: (9000, 9000), timestamps: true, announced: (8960, 8960), carries: 8948 },
    Case { mtu: (9000, 1500), timestamps: true, announced: (8960, 1460), carries: 1448 },
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
    let Case { mtu: (here, there), timestamps, announced, carries } = *case;
    cable.set_mtu(here, there)?;
    fs::write("/proc/sys/net/ipv4/tcp_timestamps", if timestamps { "1" } else { "0" })?;
    let with = if timestamps { said("with timestamps", "带时间戳") } else { said("without timestamps", "不带时间戳") };
    let what = |lang| format!("MTU {here} / {there}, {}", with.pick(lang));
    let what = Said::from((what(crate::lang::Lang::En), what(crate::lang::Lang::Zh)));
    stage.scene(what.clone());
    let (client, served) = cable.connect(stage)?;
    let message = vec![b'x'; MESSAGE];
    let sent = stage.send(Client, &client, &message)?;
    let mut got = 0;
    while got < sent {
        wait_readable(&served)?;
        got += socket::recv(&served, &mut vec![0; MESSAGE])?;
    }
    stage.remark(Some(Server), (format!("reads {got} bytes"), format!("读到 {got} 字节")));
    // The ladder ends here: what each end announced and how large its segments were is known.
    wait_until(|| tcp_info(&client).is_ok_and(|info| info.unacked == 0));
    let (ours, theirs) = (stage.seen(Client), stage.seen(Server));
    let mss = tcp_info(&client)?.snd_mss;
    let announces = format!("{} / {}", ours.mss.unwrap_or(0), theirs.mss.unwrap_or(0));
    let measured = format!("{announces}, {mss}, {}", ours.largest);
    stage.equal(
        Said::from((
            format!("{}: SYNs announce, tcp_info says, the largest segment carried", what.pick(crate::lang::Lang::En)),
            format!("{}：SYN 声明、tcp_info 显示、最大报文段携带", what.pick(crate::lang::Lang::Zh)),
        )),
        measured,
        format!("{} / {}, {carries}, {carries}", announced.0, announced.1),
    );
    let room = u32::min(here, there);
    stage.check(
        (
            format!("its IP packet was {} bytes: 20 + 20 + {} of options + {}", ours.packet, ours.options, ours.largest),
            format!("它所在的 IP 包 {} 字节：20 + 20 + 选项 {} + {}", ours.packet, ours.options, ours.largest),
        ),
        ours.packet == room,
    );
    stage.end_scene();
    let on = if timestamps { said("on", "有") } else { said("off", "无") };
    let cells = [format!("{here} / {there}"), announces, String::new(), mss.to_string(), ours.largest.to_string()];
    let mut row = cells.map(Said::same).to_vec();
    row[2] = on;
    Ok(row)
}
