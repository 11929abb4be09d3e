//! What `duolu load` says: what it is out of itself, and what bounded the rate.

use super::Saying;

const MORE_THREADS: (&str, &str) =
    ("more threads (-t {more:id}) or more loaders", "增加压测线程（-t {more:id}）或压测进程");

/// See [`super`].
pub const SAYINGS: [Saying; 8] = [
    Saying {
        case: "loader_enfile",
        evidence: (
            "the loader ran out of descriptors at {open} connections, before its own limit of {limit}: the table of \
             open files of the whole machine is full (ENFILE)",
            "压测端在 {open} 个连接处用尽描述符，还没到自己的上限 {limit}：整台机器的打开文件表已满（ENFILE）",
        ),
        fix: ("sysctl -w fs.file-max=1000000", "sysctl -w fs.file-max=1000000"),
    },
    Saying {
        case: "file_table",
        evidence: (
            "the loader stopped at {held} connections: {used} files are open on the whole machine, fs.file-max is {most}, \
             and the last {left} are left alone",
            "压测端在 {held} 个连接处停下：整机已打开 {used} 个文件，fs.file-max 为 {most}，最后 {left} 个留着不用",
        ),
        fix: ("sysctl -w fs.file-max={enough:id}", "sysctl -w fs.file-max={enough:id}"),
    },
    Saying {
        case: "went_away",
        evidence: (
            "[the server, process {pid:id} ({process}), is gone]{unknown?the server went away}[, {after:.1} s into the \
             measured window]{opening?, while connections were opened}{outside?, outside the measured window}: \
             {refused?nobody listens any more on }{back?it ended every connection, though somebody listens again on \
             }{target}; {ended} of its connections {ended:was|were} reset or closed, {refusals} \
             {refusals:connect|connects} refused",
            "[服务器（进程 {pid:id}，{process}）已退出]{unknown?服务器消失了}[，在测量窗口的第 {after:.1} 秒]\
             {opening?，在建立连接期间}{outside?，在测量窗口之外}：{refused?再没有人监听 }\
             {back?它结束了全部连接，但又有人监听 }{target}；{ended} 个连接被重置或关闭，{refusals} 次连接被拒绝",
        ),
        fix: (
            "see its last words, if any; dmesg tells whether the kernel killed it",
            "看它最后的输出；dmesg 能说明是否被内核杀掉",
        ),
    },
    Saying {
        case: "loader_files",
        evidence: (
            "the loader ran out of descriptors at {open} connections: RLIMIT_NOFILE is {limit}",
            "压测端在 {open} 个连接处用尽描述符：RLIMIT_NOFILE 为 {limit}",
        ),
        fix: (
            "ulimit -n {enough:id}{privileged?   (as root, or raise the hard limit in limits.conf first)}",
            "ulimit -n {enough:id}{privileged?   （用 root 执行，或先在 limits.conf 中提高硬上限）}",
        ),
    },
    Saying {
        case: "ports",
        evidence: (
            "the loader ran out of local ports at {open} connections from {sources} source \
             {sources:address|addresses}[: net.ipv4.ip_local_port_range is {low:id}-{high:id}, {ports} ports for each]",
            "压测端从 {sources} 个源地址建立了 {open} 个连接后用尽本地端口[：net.ipv4.ip_local_port_range 为 \
             {low:id}-{high:id}，每个地址 {ports} 个端口]",
        ),
        fix: (
            "--source-addresses {loopback?127.0.0.2-127.0.0.20}{elsewhere?with more of this machine's addresses}, or \
             sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
            "--source-addresses {loopback?127.0.0.2-127.0.0.20}{elsewhere?加上本机更多的地址}，或 sysctl -w \
             net.ipv4.ip_local_port_range=\"1024 65535\"",
        ),
    },
    Saying {
        case: "loader_full",
        evidence: (
            "the loader used {share:%} of its {threads} {threads:thread|threads}: the server could do more",
            "压测端用了自己 {threads} 个线程的 {share:%}：服务器还能做得更多",
        ),
        fix: MORE_THREADS,
    },
    Saying {
        case: "loader_late",
        evidence: (
            "half of the requests left the loader {lag_us:ms} or more after they were due, the server answered in \
             {answer_us:ms}",
            "一半的请求比应发时刻晚了 {lag_us:ms} 以上才离开压测端，而服务器 {answer_us:ms} 就回答了",
        ),
        fix: MORE_THREADS,
    },
    Saying {
        case: "core_thread",
        evidence: (
            "thread {tid:id} of the server's process {pid:id} used {share:%} of a core during the window",
            "测量期间，服务器进程 {pid:id} 的线程 {tid:id} 用了一个核心的 {share:%}",
        ),
        fix: (
            "more workers on one port (SO_REUSEPORT), or less work a message",
            "用多个工作线程监听同一端口（SO_REUSEPORT），或减少每条消息的工作",
        ),
    },
];
