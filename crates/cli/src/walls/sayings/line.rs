//! What `duolu compare` says: what ends a line, or bounds the rate of one.

use super::Saying;

const MORE_LOADER: (&str, &str) = (
    "the rate is a lower bound: more cores for the loader, or fewer active connections (--active)",
    "这个速率只是下限：给压测端更多核心，或减少活跃连接（--active）",
);
const LAST_WORDS: (&str, &str) = ("see its last words", "看它最后的输出");
const CORE_FULL: (&str, &str) = (
    "the server used {server:.2} of {cores:cores}[, the kernel's network work beside it {softirq:.2} more,] while the \
     loader used {loader:.2} of a core",
    "服务器用了 {cores:cores}中的 {server:.2}[，内核另为它的网络用了 {softirq:.2}]，压测端用了一个核心的 {loader:.2}",
);

/// See [`super`].
pub const SAYINGS: [Saying; 19] = [
    Saying {
        case: "loader_limited",
        evidence: (
            "the loader used {loader:.2} of a core, the server {server:.2} of {cores:cores}",
            "压测端用了一个核心的 {loader:.2}，服务器用了 {cores:cores}中的 {server:.2}",
        ),
        fix: MORE_LOADER,
    },
    Saying {
        case: "loader_says",
        evidence: (
            "the loader says so; the server's CPU use could not be read (another user's process)",
            "压测端自己这样说；读不到服务器的 CPU 用量（属于其他用户的进程）",
        ),
        fix: MORE_LOADER,
    },
    Saying {
        case: "core_shared",
        evidence: (
            "server and loader share {cores:cores}: the server used {server:.2} of it, the loader {loader:.2}",
            "服务器与压测端共用 {cores:cores}：服务器用了 {server:.2}，压测端用了 {loader:.2}",
        ),
        fix: (
            "give them a core each: run on two or more processors (without taskset or a cpuset of one)",
            "给它们各自的核心：在两个或更多处理器上运行（不要用 taskset 或 cpuset 限制到一个）",
        ),
    },
    Saying {
        case: "core_full",
        evidence: CORE_FULL,
        fix: (
            "more loops: --workers 2 (each takes a core), or less work for each message",
            "增加循环：--workers 2（每个占一个核心），或减少每条消息的工作",
        ),
    },
    Saying {
        case: "core_full_blocking",
        evidence: CORE_FULL,
        fix: (
            "more cores for the server, or a model that spends less on each message (compare CPU/msg)",
            "给服务器更多核心，或换一个每条消息开销更小的模型（比较“CPU/消息”）",
        ),
    },
    Saying {
        case: "core_full_own",
        evidence: CORE_FULL,
        fix: (
            "more workers of the server, if it has such a setting, or less work for each message",
            "增加服务器的工作线程（如果它有这个设置），或减少每条消息的工作",
        ),
    },
    Saying {
        case: "prefork",
        evidence: (
            "{processes} {processes:process serves|processes serve} one connection each, {asked} connections were asked \
             for: {waiting} {waiting:waits|wait} until one ends",
            "{processes} 个进程各服务一个连接，而要求的是 {asked} 个连接：{waiting} 个只能等到有连接结束",
        ),
        fix: (
            "short connections (close after each request), more processes, or an event loop",
            "使用短连接（每个请求后关闭）、更多进程，或事件循环",
        ),
    },
    Saying {
        case: "own_limit_said",
        evidence: (
            "{established} of {asked} connections held; the server said: {said}",
            "{asked} 个连接中保持了 {established} 个；服务器说：{said}",
        ),
        fix: (
            "raise what it names in the server's own configuration",
            "在服务器自己的配置里调高它指出的那一项",
        ),
    },
    Saying {
        case: "own_limit_quiet",
        evidence: (
            "{established} of {asked} connections held; the processes that accept never had more than {open} \
             descriptors open together, though each may have [{limit}]{unlimited?any number}: they refuse or close the \
             rest by themselves",
            "{asked} 个连接中保持了 {established} 个；负责 accept 的进程一共最多只打开了 {open} 个描述符，而每个进程可以有 \
             [{limit}]{unlimited?任意多} 个：其余的是它们自己拒绝或关闭的",
        ),
        fix: (
            "raise the server's own number of connections (nginx: worker_connections; memcached: -c)",
            "调高服务器自己的连接数（nginx：worker_connections；memcached：-c）",
        ),
    },
    Saying {
        case: "server_ended_code",
        evidence: (
            "the server, process {pid:id}, ended with code {code:id}[; its last words: {said}]",
            "服务器（进程 {pid:id}）已退出，退出码 {code:id}[；它最后的输出：{said}]",
        ),
        fix: ("see its last words, if any", "看它最后的输出（如果有）"),
    },
    Saying {
        case: "server_ended_signal",
        evidence: (
            "the server, process {pid:id}, was ended by signal {signal:id}[; its last words: {said}]",
            "服务器（进程 {pid:id}）被信号 {signal:id} 终止[；它最后的输出：{said}]",
        ),
        fix: ("see its last words, if any", "看它最后的输出（如果有）"),
    },
    Saying {
        case: "server_killed",
        evidence: (
            "the server, process {pid:id}, was killed (SIGKILL; the kernel does that when memory is used up)[; its last \
             words: {said}]",
            "服务器（进程 {pid:id}）被强行杀掉（SIGKILL；内存用尽时内核会这样做）[；它最后的输出：{said}]",
        ),
        fix: (
            "see its last words, if any; dmesg tells whether the kernel killed it",
            "看它最后的输出（如果有）；dmesg 能说明是否被内核杀掉",
        ),
    },
    Saying {
        case: "server_gone",
        evidence: ("the server, process {pid:id}, is gone", "服务器（进程 {pid:id}）已经不在了"),
        fix: (
            "see its log; dmesg tells whether the kernel killed it",
            "看它的日志；dmesg 能说明是否被内核杀掉",
        ),
    },
    Saying {
        case: "loader_ended_code",
        evidence: (
            "the loader ended with code {code:id} without a result[; its last words: {said}]",
            "压测端没有给出结果就退出了，退出码 {code:id}[；它最后的输出：{said}]",
        ),
        fix: LAST_WORDS,
    },
    Saying {
        case: "loader_ended_signal",
        evidence: (
            "the loader was ended by signal {signal:id} without a result[; its last words: {said}]",
            "压测端没有给出结果就被信号 {signal:id} 终止[；它最后的输出：{said}]",
        ),
        fix: (
            "see its last words; dmesg tells whether the kernel killed it (signal 9) because memory was used up",
            "看它最后的输出；dmesg 能说明是否因内存用尽被内核杀掉（信号 9）",
        ),
    },
    Saying {
        case: "loader_silent",
        evidence: (
            "the loader did not end and gave no result[; its last words: {said}]",
            "压测端没有结束，也没有给出结果[；它最后的输出：{said}]",
        ),
        fix: LAST_WORDS,
    },
    Saying {
        case: "machine_busy",
        evidence: (
            "other programs used {others:.1} of {cores:cores} meanwhile; {established} of {asked} connections held, \
             {errors} {errors:error|errors}, and no limit was reached",
            "其他程序同时用了 {cores:cores}中的 {others:.1}；{asked} 个连接中保持了 {established} 个，{errors} 个错误，\
             没有任何上限达到",
        ),
        fix: (
            "run it again when the machine is quiet: this says nothing about the server",
            "等机器安静时再测：这里说明不了服务器的任何问题",
        ),
    },
    Saying {
        case: "unexplained",
        evidence: (
            "{established} of {asked} connections held, {errors} {errors:error|errors} ({kinds:errors}); the server had \
             {descriptors} of [{limit}]{unlimited?any number of} descriptors, {processes} {processes:process|processes}, \
             {threads} {threads:thread|threads}[ and used {cpu:.2} of a core]: none of these is a limit{late?; the loader \
             took too long and was stopped}[; the loader said: {said}]",
            "{asked} 个连接中保持了 {established} 个，{errors} 个错误（{kinds:errors}）；服务器打开了 {descriptors} 个\
             描述符（上限 [{limit}]{unlimited?不限}），有 {processes} 个进程、{threads} 个线程[，用了一个核心的 {cpu:.2}]：\
             都没有到上限{late?；压测端用时太长，已被停止}[；压测端说：{said}]",
        ),
        fix: (
            "run it again with --connections at and below this number; report it with this line if it stays",
            "在这个连接数及其以下再测一次（--connections）；如果仍然如此，请把这一行报告给我们",
        ),
    },
    Saying {
        case: "no_answer",
        evidence: (
            "{established} connections stood and each had been answered once, but a round of all of them took longer than \
             the window of {window:.1} s[; {tasks} threads or processes shared {cores:cores}][; other programs used \
             {others:.1} cores meanwhile]",
            "{established} 个连接都已建立，各自得到过一次回答，但所有连接轮一遍超过了 {window:.1} 秒的测量时间\
             [；{tasks} 个线程或进程共用 {cores:cores}][；其他程序同时用了 {others:.1} 个核心]",
        ),
        fix: (
            "a longer window (-d 10s), a quiet machine, or fewer connections",
            "延长测量时间（-d 10s），换一台安静的机器，或减少连接数",
        ),
    },
];
