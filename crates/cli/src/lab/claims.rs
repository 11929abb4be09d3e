//! The study notes, claim by claim, in their own words and their order; what became of each, and which other verb
//! shows it where no lab does.

use super::said::{Said, said};
use serde::Serialize;

/// What became of a claim of the notes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is so.
    Right,
    /// The idea is right, a word or a limit is not.
    Imprecise,
    /// It is not so.
    Wrong,
    /// The notes asked; this is the answer.
    Answered,
}

impl Verdict {
    /// All, as the scoreboard counts them.
    pub const ALL: [Verdict; 4] = [Verdict::Right, Verdict::Imprecise, Verdict::Wrong, Verdict::Answered];

    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::Imprecise => "imprecise",
            Verdict::Wrong => "wrong",
            Verdict::Answered => "answered",
        }
    }

    /// As people read it.
    pub const fn said(self) -> Said {
        match self {
            Verdict::Right => said("right", "正确"),
            Verdict::Imprecise => said("imprecise", "不够准确"),
            Verdict::Wrong => said("wrong", "不对"),
            Verdict::Answered => said("a question, answered", "问题，已解答"),
        }
    }

    /// One column wide.
    pub const fn mark(self) -> &'static str {
        match self {
            Verdict::Right => "✓",
            Verdict::Imprecise => "~",
            Verdict::Wrong => "✗",
            Verdict::Answered => "?",
        }
    }
}

/// A claim, a question or a scenario of the notes.
#[derive(Debug)]
pub struct Claim {
    /// Its number, from 1, in the order of the notes.
    pub number: u8,
    /// The notes' own words.
    pub words: &'static str,
    /// The same in English.
    pub english: &'static str,
    /// What became of it.
    pub verdict: Verdict,
    /// The other verb that shows it, beside or instead of a lab.
    pub verb: Option<&'static str>,
}

const fn claim(number: u8, verdict: Verdict, words: &'static str, english: &'static str) -> Claim {
    Claim { number, words, english, verdict, verb: None }
}

impl Claim {
    const fn also(mut self, verb: &'static str) -> Self {
        self.verb = Some(verb);
        self
    }

    /// The words for a reader of either language: the notes' own, with their meaning where they are not understood.
    pub const fn said(&self) -> Said {
        said(self.english, self.words)
    }
}

/// The claim with this number.
pub fn numbered(number: u8) -> &'static Claim {
    &CLAIMS[usize::from(number) - 1]
}

use Verdict::{Answered, Imprecise, Right, Wrong};

/// All of them.
#[rustfmt::skip] // a table
pub static CLAIMS: [Claim; 56] = [
    claim(1, Answered, "why duojingcheng 不能支持高并发", "why can many processes not carry high concurrency?").also("compare"),
    claim(2, Imprecise, "MTU 最大传输单元 协议限制  以太网 1500 IP 65535", "MTU: the largest unit, a limit of the protocol; Ethernet 1500, IP 65535"),
    claim(3, Imprecise, "mss 数据包出去协议后，剩下数据大小", "MSS: what is left for data once the protocol's headers are taken off"),
    claim(4, Imprecise, "WIN 滑动窗口 当前能接受数据上限值(byte)", "WIN: the sliding window, how many bytes can be taken now"),
    claim(5, Imprecise, "真正的高并发 select poll epoll", "real high concurrency: select, poll, epoll").also("compare"),
    claim(6, Imprecise, "TIME-WAIT 确保最后一个ack 能到达", "TIME-WAIT makes sure that the last ACK can arrive"),
    claim(7, Right, "关键就是那张TCP状态图，以及与程序之间关系", "the key is the TCP state diagram, and how programs relate to it").also("states"),
    claim(8, Right, "netstat -apn | grep  port_number", "find the sockets of a port").also("states"),
    claim(9, Right, "tcp        0      0 0.0.0.0:8888            0.0.0.0:*          LISTEN      18297/./server", "the server runs: LISTEN").also("states"),
    claim(10, Right, "可以看到此时客户端，服务器状态改变为ESTABLISHED", "the client connects: both ends become ESTABLISHED").also("states"),
    claim(11, Right, "客户端发起关闭(close+D)", "the client closes first: FIN_WAIT2 at the client, CLOSE_WAIT at the server").also("states"),
    claim(12, Right, "当你关闭服务器，以及客户端(主动发起关闭一方)此时处于TIME-WAIT等待2msl", "then the server closes too: the side that closed first waits in TIME-WAIT for 2 MSL").also("states"),
    claim(13, Wrong, "如果在此运行服务器，客户端将不能正常通信，此时客户端绑定的端口号还没有释放", "run the server again now and the client cannot talk to it: the client's port is not yet free"),
    claim(14, Wrong, "close() 能半关闭 但是有不足", "close() can half-close, but it is not enough"),
    claim(15, Right, "如果有多个文件描述符指向同一个socket (dup2函数)\n此时close()不能全部关闭", "if several descriptors point to one socket (dup2), close() does not close it all"),
    claim(16, Right, "通过调用shutdown()", "call shutdown() for that"),
    claim(17, Imprecise, "why:在等待期2msl 此时端口还没有解除绑定，但是可以复用", "during the 2 MSL the port is still bound, but it can be reused"),
    claim(18, Right, "在绑定之前设置", "set SO_REUSEADDR before bind"),
    claim(19, Answered, "但是我没有复现这样的错误：\n    端口的绑定还在，但是还可以从新开新的服务器？？？", "but I could not reproduce this error: the port is still bound, and yet a new server can be started???"),
    claim(20, Right, "通过内核来阻塞等待，连接请求，发送数据请求(read 阻塞)", "let the kernel do the waiting, for connections and for data"),
    claim(21, Right, "nfds:所监听的文件描述符，最大文件描述符+1", "nfds: the highest descriptor plus 1"),
    claim(22, Right, "参数2/3/4 所监听的文件描述符“可读”，“可写”，“异常”监听集合", "three sets: readable, writable, exceptional"),
    claim(23, Right, "select()  return the number of file descriptors contained in the three returned descriptor sets", "the timeout, and what select returns"),
    claim(24, Answered, "如何添加到文件描述符集合\n    如何根据返回值判断每一种集合的个数", "how to add to a set? how to tell from the return value how many are in each?"),
    claim(25, Right, "通过四个辅助函数：", "four helpers: FD_CLR, FD_ISSET, FD_SET, FD_ZERO"),
    claim(26, Right, "传入的bit map 可能与传出不一样", "what comes out is not what went in: ask FD_ISSET for each"),
    claim(27, Imprecise, "同时监听文件描述符上限1024", "at most 1024 descriptors at a time"),
    claim(28, Right, "稀疏时候效率底下 eg. fd{1,1023} 根据返回值判断时候for(1->1023)", "a sparse set such as {1, 1023} wastes a walk over all"),
    claim(29, Right, "监听集合与满足监听条件集合为同一个集合，需要提前保存原有集合", "the watched set is the answer's set: keep a copy"),
    claim(30, Right, "select 监听连接时候对应可读事件", "a new connection is a readable event of the listener"),
    claim(31, Right, "将返回事件，与监听事件分开，存在一个结构体里面", "poll keeps what is asked and what is told apart"),
    claim(32, Right, "突破了select()文件描述符的上限1024", "it goes beyond select's 1024"),
    claim(33, Answered, "搜索范围小？？？这个不太理解", "the range to search is smaller??? I do not quite understand"),
    claim(34, Right, "如果我监听了1000 fd ,返回3，我还是需要从100个里面便利，不知道是哪个文件描述符状态改变", "1000 watched, 3 ready: I still walk them all"),
    claim(35, Imprecise, "POLLIN 读\nPOLLOUT 写\nPOLLERR 错误", "POLLIN, POLLOUT, POLLERR"),
    claim(36, Answered, "到底什么是事件？？？？", "what is an event, after all????"),
    claim(37, Answered, "阻塞？？？\n就绪态？运行态？", "blocked??? ready? running?"),
    claim(38, Right, "网络的知识很多和操作系统是结合在一起的", "much of networking is bound up with the operating system"),
    claim(39, Right, "将timeout ==-1 永久阻塞", "timeout -1 blocks for ever"),
    claim(40, Imprecise, "pcb-进程控制快", "PCB, the process control block"),
    claim(41, Right, "返回值 epfd 也是一个文件描述符", "epoll_create returns a descriptor, too"),
    claim(42, Imprecise, "指向内核里面一个二叉树树根，该二叉树为平衡二叉树\n进一步，该二叉树为红黑树，插入删除效率高", "it points at the root of a tree in the kernel, a red-black tree: quick to insert into and delete from"),
    claim(43, Wrong, "也就可以理解了为什么需要传入一个size 用来常见树", "which is why it wants a size: to make the tree"),
    claim(44, Right, "int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);", "epoll_ctl registers a descriptor with its events and your data"),
    claim(45, Imprecise, "这个里面的fd与外面的fd一样", "the fd inside is the same as the fd outside"),
    claim(46, Right, "这函数实际对应select,阻塞", "epoll_wait is what select was: it blocks, and fills an array"),
    claim(47, Right, "泛型指针，可以传递任何类型对象", "a pointer to anything: {fd, arg, a function}; very powerful").also("why"),
    claim(48, Right, "epoll LT 水平触发(默认)", "ET, edge-triggered; LT, level-triggered, the default").also("why"),
    claim(49, Imprecise, "边沿触发目的：减少epoll_wait 调用，减少阻塞时间", "edge triggering is for fewer calls of epoll_wait and less blocking"),
    claim(50, Answered, "场景：客户端发送100b,我只读取了500b\n内存里面还有500b,此时epoll,触发？", "the client sends [1000] bytes, I read 500, 500 are left: does epoll report?"),
    claim(51, Right, "水平触发为默认，只要缓冲区有数据，就会触发\n边沿触发： EPOLLET 对方有新事件发生，才会触发", "level: as long as there is data; edge: only when something new comes"),
    claim(52, Answered, "边沿触发应用场景：？", "what is edge triggering used for?").also("compare"),
    claim(53, Imprecise, "设置非阻塞方法：\n- 1. fcntl\n- 2.open", "ways to set non-blocking: fcntl, open"),
    claim(54, Imprecise, "显然剩下的500b就还在缓存区，这样可能导致缓冲区数据越来越多\n如果我们通过水平触发的方式来读取，这样就会调用2次epoll_wait()\n有没有更好的办法？", "edge: the 500 bytes stay and pile up; level: two epoll_waits; is there no better way? while (read() > 0)"),
    claim(55, Wrong, "以上，边沿非阻塞效率最高，且能满足我们需求", "so edge-triggered and non-blocking is the most efficient, and does what we need"),
    claim(56, Right, "epoll_wait() 返回调用回调函数？", "epoll_wait returns, then the callback is called?"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_numbered_in_order() {
        for (at, claim) in CLAIMS.iter().enumerate() {
            assert_eq!(usize::from(claim.number), at + 1);
            assert!(std::ptr::eq(numbered(claim.number), claim));
        }
    }
}
