//! What the page says about works, models, figures and walls, in both languages.

use super::figures::whole;
use super::run::{Figure, Work};
use crate::lang::Lang;
use crate::walls::names;
use serde_json::Value;

/// What is known about a wall: its name in Chinese, what it means, and what helps. Results carry the fix in English;
/// the Chinese one is here.
pub struct Known {
    name: &'static str,
    zh: &'static str,
    means: (&'static str, &'static str),
    helps_zh: &'static str,
}

const WALLS: [Known; 18] = [
    Known {
        name: names::SERVER_DESCRIPTORS,
        zh: "服务器描述符用尽",
        means: (
            "Every connection is a descriptor of the server's process, and RLIMIT_NOFILE says how many it may have. When \
             they are used up accept() fails with EMFILE, and new connections wait in the queue until they time out.",
            "每个连接占用服务器进程的一个文件描述符，上限由 RLIMIT_NOFILE 决定。用尽后 accept() 返回 EMFILE，新连接停在队列里直到超时。",
        ),
        helps_zh: "启动服务器之前执行 ulimit -n 65536；systemd 用 LimitNOFILE=；已在运行的进程用 prlimit。",
    },
    Known {
        name: names::LOADER_DESCRIPTORS,
        zh: "压测端描述符用尽",
        means: (
            "The loader, not the server, ran out of descriptors: the server was not stopped, and could hold more.",
            "用尽描述符的是压测端，不是服务器：服务器没有被挡住，还能承载更多连接。",
        ),
        helps_zh: "压测之前提高 ulimit -n，或用多个压测进程。",
    },
    Known {
        name: names::FD_SETSIZE,
        zh: "FD_SETSIZE（select 的 1024）",
        means: (
            "select(2) takes a fixed set of 1024 descriptors. A descriptor with a higher number cannot be watched at all, \
             however many the process may open.",
            "select(2) 的集合固定为 1024 个描述符；编号更大的描述符根本无法监视，与进程能打开多少个无关。",
        ),
        helps_zh: "改用 poll、epoll 或 io_uring。",
    },
    Known {
        name: names::PORTS,
        zh: "本地端口用尽",
        means: (
            "A connection is told apart by its two addresses and two ports. From one source address to one destination \
             there are only as many connections as local ports.",
            "连接由两端的地址和端口区分。同一源地址到同一目的地址，本地端口有多少，连接就最多有多少。",
        ),
        helps_zh: "使用更多源地址，或扩大 net.ipv4.ip_local_port_range；绑定地址时用 IP_BIND_ADDRESS_NO_PORT。",
    },
    Known {
        name: names::ACCEPT_QUEUE,
        zh: "接受队列已满",
        means: (
            "The handshakes were done, but the server did not fetch the connections with accept() fast enough, or not at \
             all: they waited in the listen queue or were dropped in front of it.",
            "握手已完成，但服务器没有及时（或根本没有）用 accept() 取走连接：它们停在监听队列里，或在队列前被丢弃。",
        ),
        helps_zh: "更快地 accept 或增加工作线程；加长队列：listen() 的 backlog 和 net.core.somaxconn。",
    },
    Known {
        name: names::PROCESSES,
        zh: "进程数用尽",
        means: (
            "A process for each connection, and fork() found none left: the machine, the user or the control group allows \
             no more.",
            "每个连接一个进程，而 fork() 已经得不到新的进程：机器、用户或 cgroup 的上限到了。",
        ),
        helps_zh: "事件循环用一个线程承载全部连接；或提高证据中指出的上限。",
    },
    Known {
        name: names::THREADS,
        zh: "线程数用尽",
        means: (
            "A thread for each connection, and clone() found none left: threads count as tasks of the machine, the user \
             and the control group.",
            "每个连接一个线程，而 clone() 已经得不到新的线程：线程同样计入机器、用户和 cgroup 的任务数。",
        ),
        helps_zh: "事件循环用一个线程承载全部连接；或提高证据中指出的上限。",
    },
    Known {
        name: names::MEMORY,
        zh: "内存不足",
        means: (
            "The machine has no memory left for more connections: each costs the server some, and the kernel some for its \
             socket at both ends.",
            "机器没有内存容纳更多连接：每个连接既占用服务器的内存，也占用内核两端套接字的内存。",
        ),
        helps_zh: "减少每个连接的字节数（见“每连接内存”），或增加内存。",
    },
    Known {
        name: names::FILE_TABLE,
        zh: "整机打开文件数用尽",
        means: (
            "Every socket, pipe and file of all processes together counts, and fs.file-max says how many there may be; a \
             connection within one machine is two of them. Root is exempt.",
            "所有进程的套接字、管道和文件合计有一个上限 fs.file-max；同一台机器上的一个连接占两个。root 不受限制。",
        ),
        helps_zh: "提高 fs.file-max（sysctl -w fs.file-max=5000000）。",
    },
    Known {
        name: names::CORE,
        zh: "一个核心已满",
        means: (
            "The server used all of its processor. The connections stood, but no more messages a second are to be had \
             from this core.",
            "服务器用满了它的处理器。连接都在，但这个核心每秒处理不了更多消息。",
        ),
        helps_zh: "用 --workers 增加循环（每个占一个核心），或减少每条消息的工作。",
    },
    Known {
        name: names::LOADER,
        zh: "压测端成为瓶颈",
        means: (
            "The loader used all it had: the server could do more than was measured. Compare CPU per message instead.",
            "压测端已经用尽自己的能力：服务器能做的比测到的更多。请改为比较每条消息的 CPU。",
        ),
        helps_zh: "这个速率只是下限：给压测端更多核心，或用 --active 减少活跃连接。",
    },
    Known {
        name: "more connections than processes",
        zh: "连接多于进程",
        means: (
            "Each process serves one connection to its end. As many connections as processes are served, all others wait, \
             however long.",
            "每个进程从头到尾只服务一个连接。有多少进程就服务多少连接，其余的一直等待。",
        ),
        helps_zh: "使用短连接（每个请求后关闭）、更多进程，或事件循环。",
    },
    Known {
        name: "the server ended",
        zh: "服务器已退出",
        means: (
            "The server's process ended while it was under load; what it wrote last is in the evidence.",
            "服务器进程在压测中退出；它最后的输出在证据里。",
        ),
        helps_zh: "看它最后的输出；dmesg 能说明是否被内核杀掉。",
    },
    Known {
        name: "the loader ended",
        zh: "压测端已退出",
        means: (
            "The loader ended without a result, so nothing is known about the server here.",
            "压测端没有给出结果就退出了，因此这里对服务器一无所知。",
        ),
        helps_zh: "看它最后的输出。",
    },
    Known {
        name: "not explained",
        zh: "原因不明",
        means: (
            "Nothing that can be read on the machine explains the stop: no limit was reached. The numbers that were read \
             are in the evidence.",
            "机器上能读到的数据都不能解释它：没有任何上限达到。读到的数字在证据里。",
        ),
        helps_zh: "在这个连接数及其以下再测一次；如果仍然如此，请把这一行报告给我们。",
    },
    Known {
        name: "the server's own limit",
        zh: "服务器自己的上限",
        means: (
            "The server is configured to hold no more connections, though the system would let it.",
            "服务器的配置不允许更多连接；系统本身还允许。",
        ),
        helps_zh: "调高服务器自己的配置，例如 nginx 的 worker_connections、memcached 的 -c。",
    },
    Known {
        name: "no answer in time",
        zh: "时限内没有回答",
        means: (
            "The connections were held, but no message came back within the measured time.",
            "连接都保持住了，但在测量的时间内没有一条消息返回。",
        ),
        helps_zh: "用 -d 延长测量时间，或减少连接数。",
    },
    Known {
        name: "machine too busy",
        zh: "机器太忙",
        means: (
            "Other programs used up the processors, so what ended here was the machine's time, not the server.",
            "处理器被其他程序占满：到头的是机器的时间，不是服务器。",
        ),
        helps_zh: "在安静的机器上再测一次。",
    },
];

fn known(name: &str) -> Option<&'static Known> {
    WALLS.iter().find(|wall| wall.name == name)
}

/// A wall's name for people.
pub fn wall(lang: Lang, name: &str) -> &str {
    known(name).map_or(name, |wall| lang.pick(wall.name, wall.zh))
}

/// What a wall means, if it is known.
pub fn wall_means(lang: Lang, name: &str) -> Option<&'static str> {
    known(name).map(|wall| lang.pick(wall.means.0, wall.means.1))
}

/// What helps against a wall, where the result's own words are in another language.
pub fn wall_helps(lang: Lang, name: &str) -> Option<&'static str> {
    known(name).filter(|_| lang == Lang::Zh).map(|wall| wall.helps_zh)
}

/// Why the machine was called noisy before the run. The sentence is English; the numbers behind it stand beside it.
pub fn noise(lang: Lang, machine: &Value) -> Option<String> {
    let noisy = machine.get("noisy").and_then(Value::as_str)?;
    let busy = machine.get("busy_before").and_then(Value::as_f64).filter(|_| lang == Lang::Zh);
    let Some(busy) = busy else { return Some(noisy.to_owned()) };
    let load = machine.get("load_before").and_then(Value::as_f64);
    let load = load.map_or(String::new(), |load| format!("（平均负载 {load:.1}）"));
    Some(format!("开始之前，其他程序占用了 {busy:.1} 个核心{load}"))
}

/// Why the kernel did not let processes be pinned: the C library's words, with its number.
pub fn refusal(lang: Lang, said: &str) -> String {
    let known = match (lang, said) {
        (Lang::En, _) => None,
        (_, said) if said.contains("os error 1)") => Some("没有权限"),
        (_, said) if said.contains("os error 22)") => Some("没有这个处理器"),
        (_, said) if said.contains("os error 38)") => Some("系统调用被禁止"),
        _ => None,
    };
    known.map_or_else(|| said.to_owned(), |known| format!("{known}（{said}）"))
}

/// How a figure was taken, in a language. The Chinese is of the English of this version: another one's stays as it is.
pub fn method<'a>(lang: Lang, figure: &str, how: &'a str) -> (Lang, &'a str) {
    let known = METHODS_ZH.iter().find(|(name, _)| *name == figure).filter(|_| lang == Lang::Zh);
    match known {
        Some((_, zh)) if crate::compare::methods().get(figure).is_some_and(|now| now == how) => (lang, zh),
        _ => (Lang::En, how),
    }
}

const METHODS_ZH: [(&str, &str); 5] = [
    (
        "server_cpu_us_per_msg",
        "在压测端的测量时间之内取两个时刻，服务器进程及其全部后代（活着的和已回收的）的用户态与内核态时间（调度器的 CPU 时钟）之差，\
         除以压测端的消息速率。内核在中断里替别人做的工作不算在内",
    ),
    (
        "server_bytes_per_conn",
        "测量期间，服务器进程及其全部后代的匿名内存和共享内存（smaps_rollup 的 Pss_Anon + Pss_Shmem；超过 64 个线程时用 RssAnon + \
         RssShmem）加上页表（VmPTE），减去第一个连接之前的数值，除以连接数。子进程超过 96 个时均匀抽样。内核的套接字和内核栈不算在内",
    ),
    (
        "kernel_bytes_per_conn",
        "测量期间 Slab、KernelStack（/proc/meminfo）和 TCP 缓冲区（/proc/net/sockstat 的 mem）的增长，除以连接数：内核的部分，包含两端，\
         因为两端都在本机。从 500 个连接起才有：更少时，机器上其他活动的影响更大",
    ),
    (
        "machine_bytes_per_conn",
        "测量期间 MemAvailable 的下降，除以连接数：两端、内核的套接字和栈，以及同时运行的其他一切",
    ),
    (
        "repeats",
        "每个参与者先走完整个阶梯，然后每个再来一遍（ABAB），每次都是新的服务器进程；每个数据取各次的中位数，离散程度为（最高 − 最低）÷ 中位数",
    ),
];

/// What the connections did.
pub fn work(lang: Lang, work: &Work) -> String {
    let service = work.service.as_deref().unwrap_or("echo");
    let bytes = work.payload.map_or(String::new(), |bytes| match lang {
        Lang::En => format!(" of {} byte{}", whole(bytes), if bytes == 1 { "" } else { "s" }),
        Lang::Zh => format!("，每条消息 {} 字节", whole(bytes)),
    });
    let mix = mix(lang, &work.mix);
    format!("{service}{bytes}{}{mix}", lang.pick(", ", "，"))
}

/// A mix in a few words.
pub fn mix(lang: Lang, mix: &str) -> &str {
    match mix {
        "all" => lang.pick("every connection active", "所有连接都活跃"),
        "idle" => lang.pick("mostly idle, some active", "多数空闲，少数活跃"),
        "churn" => lang.pick("a new connection for each request", "每个请求新建一个连接"),
        other => other,
    }
}

/// The name of a figure.
pub fn figure(lang: Lang, figure: Figure) -> &'static str {
    match figure {
        Figure::Rate => lang.pick("messages per second", "每秒消息数"),
        Figure::P50 => lang.pick("median latency", "延迟中位数"),
        Figure::P99 => lang.pick("p99 latency", "p99 延迟"),
        Figure::P999 => lang.pick("p99.9 latency", "p99.9 延迟"),
        Figure::Cpu => lang.pick("CPU per message", "每条消息的 CPU"),
        Figure::Memory => lang.pick("memory per connection", "每连接内存"),
    }
}

/// What a model does, for the names that are ours.
pub fn model(lang: Lang, name: &str) -> Option<&'static str> {
    Some(match name {
        "fork" => lang.pick("a process for each connection", "每个连接一个进程"),
        "prefork" => {
            lang.pick("a fixed number of processes, one connection each", "固定数量的进程，每个服务一个连接")
        }
        "thread" => lang.pick("a thread for each connection", "每个连接一个线程"),
        "select" => lang.pick("one loop on select(2)", "单循环，select(2)"),
        "poll" => lang.pick("one loop on poll(2)", "单循环，poll(2)"),
        "epoll-lt" => lang.pick("one loop on epoll, level-triggered", "单循环，epoll 水平触发"),
        "epoll-et" => lang.pick("one loop on epoll, edge-triggered", "单循环，epoll 边缘触发"),
        "epoll-oneshot" => lang.pick("one loop on epoll, one-shot", "单循环，epoll 一次性触发"),
        "io_uring-poll" => lang.pick("one loop on io_uring, readiness", "单循环，io_uring 就绪通知"),
        "io_uring" => lang.pick("one loop on io_uring, completions", "单循环，io_uring 完成通知"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in the sources, so that a new wall without words is found here and not by a reader.
    fn names_in_the_sources() -> Vec<&'static str> {
        let sources = [include_str!("../walls/mod.rs"), include_str!("../compare/diagnose.rs")];
        let lines = sources.into_iter().flat_map(str::lines);
        lines.filter_map(|line| line.trim().strip_prefix("pub const ")?.split('"').nth(1)).collect()
    }

    #[test]
    fn every_method_has_words_in_both_languages() {
        for (figure, how) in crate::compare::methods() {
            assert_eq!(method(Lang::Zh, &figure, &how).0, Lang::Zh, "{figure}");
            assert_eq!(method(Lang::Zh, &figure, "measured otherwise"), (Lang::En, "measured otherwise"));
        }
    }

    #[test]
    fn noise_and_refusals_are_said_in_chinese_too() {
        let machine = serde_json::json!({"noisy": "others kept 1.3 cores busy", "busy_before": 1.3, "load_before": 2.0});
        assert_eq!(noise(Lang::En, &machine).unwrap(), "others kept 1.3 cores busy");
        assert_eq!(noise(Lang::Zh, &machine).unwrap(), "开始之前，其他程序占用了 1.3 个核心（平均负载 2.0）");
        assert_eq!(noise(Lang::Zh, &serde_json::json!({})), None);
        let said = "Operation not permitted (os error 1)";
        assert_eq!(refusal(Lang::Zh, said), format!("没有权限（{said}）"));
        assert_eq!(refusal(Lang::En, said), said);
    }

    #[test]
    fn every_wall_of_the_command_has_words_in_both_languages() {
        assert!(names_in_the_sources().len() >= 14);
        for name in names_in_the_sources() {
            assert_ne!(wall(Lang::Zh, name), name, "{name} has no Chinese name");
            for lang in Lang::BOTH {
                assert!(wall_means(lang, name).is_some_and(|text| text.len() > 20), "{name}");
            }
            assert!(wall_helps(Lang::Zh, name).is_some(), "{name}");
        }
        assert_eq!(wall(Lang::Zh, "<b>new</b>"), "<b>new</b>", "an unknown wall keeps its name");
    }
}
