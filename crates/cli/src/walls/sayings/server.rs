//! What the server's side is out of: descriptors, tasks, places in its queue, memory.

use super::Saying;

const RAISE_FILES: (&str, &str) =
    ("start the server after: ulimit -n 65536", "启动服务器之前执行：ulimit -n 65536");
const ONE_LOOP: (&str, &str) = (
    "an event loop holds them all in one thread; or raise the limit that is named",
    "事件循环用一个线程承载全部连接；或提高这里指出的上限",
);
const LONGER_QUEUE: (&str, &str) = (
    "accept faster or in more workers; longer queue: listen() backlog and sysctl -w net.core.somaxconn=4096",
    "更快地 accept，或增加工作线程；加长队列：listen() 的 backlog 和 sysctl -w net.core.somaxconn=4096",
);
const LESS_MEMORY: (&str, &str) = (
    "fewer bytes a connection (see bytes/conn), or more memory",
    "减少每个连接的字节数（见“每连接内存”），或增加内存",
);
const WAITING: (&str, &str) = (
    "{waiting} {waiting:connection waits|connections wait} in the listen queue of {target}[ (backlog {backlog})] and \
     {waiting:is|are} not accepted[; process {pid:id} ({process}) has descriptors left][ ({used} of {limit})]\
     {hidden?; its process belongs to another user}",
    "{waiting} 个连接停在 {target} 的监听队列里[（backlog {backlog}）]，没有被 accept[；进程 {pid:id}（{process}）还有\
     空闲描述符][（{limit} 个中用了 {used} 个）]{hidden?；该进程属于其他用户}",
);

/// See [`super`].
pub const SAYINGS: [Saying; 14] = [
    Saying {
        case: "open_files",
        evidence: (
            "the server, process {pid:id} ({process}), has {used} of {limit} descriptors open (RLIMIT_NOFILE) and \
             {waiting} {waiting:connection waits|connections wait} in its listen queue",
            "服务器（进程 {pid:id}，{process}）已打开 {used} 个描述符，上限是 {limit}（RLIMIT_NOFILE），另有 {waiting} 个\
             连接在监听队列里等待",
        ),
        fix: (
            "start the server after: ulimit -n 65536   (running: prlimit --pid {pid:id} --nofile=65536)",
            "启动服务器之前执行：ulimit -n 65536   （已在运行：prlimit --pid {pid:id} --nofile=65536）",
        ),
    },
    Saying {
        case: "open_files_seen",
        evidence: (
            "the server, process {pid:id}, had {used} of {limit} descriptors open (RLIMIT_NOFILE) of the {needed} it \
             would need",
            "服务器（进程 {pid:id}）打开了 {used} 个描述符，上限是 {limit}（RLIMIT_NOFILE），而它需要 {needed} 个",
        ),
        fix: RAISE_FILES,
    },
    Saying {
        case: "ring_places",
        evidence: (
            "the server, process {pid:id} ({process}), has {used} of {places} places of its ring's file table taken\
             [ (RLIMIT_NOFILE is {limit})] and {waiting} {waiting:connection waits|connections wait} in its listen queue",
            "服务器（进程 {pid:id}，{process}）的 io_uring 文件表有 {places} 个位置，已用 {used} 个[（RLIMIT_NOFILE 为 \
             {limit}）]，另有 {waiting} 个连接在监听队列里等待",
        ),
        fix: (
            "start the server after: ulimit -n 65536   (a larger file table for the ring)",
            "启动服务器之前执行：ulimit -n 65536   （io_uring 的文件表随之变大）",
        ),
    },
    Saying {
        case: "tasks_used_up",
        evidence: (
            "{used} processes and threads exist, {source:word} allows {limit}; the server has {processes} \
             {processes:process|processes} with {threads} {threads:thread|threads}",
            "已有 {used} 个进程和线程，{source:word} 允许 {limit} 个；服务器有 {processes} 个进程，共 {threads} 个线程",
        ),
        fix: ONE_LOOP,
    },
    Saying {
        case: "tasks_refused",
        evidence: (
            "the server had {held} {what:word} of the {asked} it needs[; {source:word} allows {limit}, {used} exist]\
             [; the server said: {said}]",
            "服务器需要 {asked} 个{what:word}，只得到 {held} 个[；{source:word} 允许 {limit} 个，已有 {used} 个]\
             [；服务器说：{said}]",
        ),
        fix: ONE_LOOP,
    },
    Saying {
        case: "queue_waits",
        evidence: WAITING,
        fix: (
            "see what the server waits for: its own limit of connections (memcached -c, worker_connections), or a \
             worker that is busy with one connection at a time",
            "看服务器在等什么：它自己的连接数上限（memcached 的 -c，nginx 的 worker_connections），或一次只服务一个连接的\
             工作进程",
        ),
    },
    Saying { case: "queue_full", evidence: WAITING, fix: LONGER_QUEUE },
    Saying {
        case: "queue_overflows",
        evidence: (
            "the kernel dropped {overflows} {overflows:handshake|handshakes} at full listen queues (ListenOverflows)\
             [; the backlog of {target} is {backlog}]",
            "监听队列已满，内核丢弃了 {overflows} 次握手（ListenOverflows）[；{target} 的 backlog 为 {backlog}]",
        ),
        fix: LONGER_QUEUE,
    },
    Saying {
        case: "memory_machine",
        evidence: (
            "MemAvailable is {available:MiB} of {total:MiB}",
            "可用内存（MemAvailable）{available:MiB}，共 {total:MiB}",
        ),
        fix: LESS_MEMORY,
    },
    Saying {
        case: "memory_group",
        evidence: (
            "the memory cgroup of the server, process {pid:id} ({process}), uses {used:MiB} of the {limit:MiB} it may",
            "服务器（进程 {pid:id}，{process}）所在的内存 cgroup 用了 {used:MiB}，上限是 {limit:MiB}",
        ),
        fix: (
            "fewer bytes a connection (see bytes/conn), or raise memory.max of its cgroup (systemd: MemoryMax=)",
            "减少每个连接的字节数（见“每连接内存”），或提高该 cgroup 的 memory.max（systemd：MemoryMax=）",
        ),
    },
    Saying {
        case: "memory_killed",
        evidence: (
            "the kernel killed {kills} {kills:process|processes} because memory was used up (oom_kill)[; the memory \
             cgroup of the server may use {limit:MiB}][; {held} of {asked} connections held]",
            "内存用尽，内核杀掉了 {kills} 个进程（oom_kill）[；服务器所在的内存 cgroup 上限是 {limit:MiB}]\
             [；{asked} 个连接中保持了 {held} 个]",
        ),
        fix: (
            "fewer bytes a connection (see bytes/conn), or more memory: of the machine, or memory.max of its cgroup",
            "减少每个连接的字节数（见“每连接内存”），或增加内存：机器的内存，或该 cgroup 的 memory.max",
        ),
    },
    Saying {
        case: "address_space",
        evidence: (
            "the server, process {pid:id} ({process}), uses {used:MiB} of the {limit:MiB} of address space it may \
             (RLIMIT_AS)[; the server said: {said}]",
            "服务器（进程 {pid:id}，{process}）的地址空间用了 {used:MiB}，上限是 {limit:MiB}（RLIMIT_AS）\
             [；服务器说：{said}]",
        ),
        fix: (
            "start the server after: ulimit -v unlimited; or fewer bytes a connection (threads: smaller stacks)",
            "启动服务器之前执行：ulimit -v unlimited；或减少每个连接的字节数（线程：更小的栈）",
        ),
    },
    Saying {
        case: "memory_refused",
        evidence: (
            "the server, process {pid:id}, ended because it got no more memory[; it may have {limit:MiB} of address \
             space (RLIMIT_AS)]; it said: {said}",
            "服务器（进程 {pid:id}）得不到更多内存而退出[；它的地址空间上限是 {limit:MiB}（RLIMIT_AS）]；它说：{said}",
        ),
        fix: (
            "more memory for it (ulimit -v, memory.max, the machine's), or fewer bytes a connection (threads: smaller \
             stacks)",
            "给它更多内存（ulimit -v、memory.max、机器的内存），或减少每个连接的字节数（线程：更小的栈）",
        ),
    },
    Saying {
        case: "memory_floor",
        evidence: (
            "{who:word} stopped at {held} connections: {available:GB} of memory are available, and {floor:GB} are left alone",
            "{who:word}在 {held} 个连接处停下：可用内存还有 {available:GB}，其中 {floor:GB} 留着不用",
        ),
        fix: (
            "more memory (a connection takes 5 to 10 KiB of the kernel's, both ends); {setting}=SIZE leaves less alone",
            "增加内存（一个连接两端共占内核 5 到 10 KiB）；用 {setting}=SIZE 可以少留一些",
        ),
    },
];
