//! epoll_create's argument, and what it gives: a descriptor like others.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::{Said, said};
use crate::lab::stage::Stage;
use duolu_sys::calls::flags::{EPOLLIN, FD_CLOEXEC, POLLIN};
use duolu_sys::calls::{self, Epoll, Fcntl, pollfd};
use duolu_sys::socket;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub static LAB: Lab = Lab {
    name: "epoll-create",
    claims: &[41, 43],
    title: said("epoll_create's size, and what it gives", "epoll_create 的 size，以及它返回什么"),
    expected: said(
        "Size 1 and size 1,000,000 make the same thing; only 0 and less are refused. What comes back is a descriptor like others: it has a \
         place in /proc, poll says when something in it is ready, and another epoll can hold it.",
        "size 为 1 和 1,000,000 得到同样的东西；只有小于等于 0 才被拒绝。返回的是一个普通描述符：/proc 里看得到，可以被 poll，也可以放进\
         另一个 epoll。",
    ),
    why: said(
        "\"Since Linux 2.6.8, the size argument is ignored, but must be greater than zero\" (epoll_create(2)): it was a hint for a hash \
         table; the red-black tree that came instead allocates a node for each ADD and needs no size. Today use \
         epoll_create1(EPOLL_CLOEXEC) (Linux 2.6.27): without it children that exec inherit the descriptor.",
        "“从 Linux 2.6.8 起 size 被忽略，但必须大于零”（epoll_create(2)）：它原是给哈希表的提示；后来换成红黑树，每次 ADD 分配一个节点，\
         不需要大小。现在应当用 epoll_create1(EPOLL_CLOEXEC)（Linux 2.6.27）：否则 exec 的子进程会继承这个描述符。",
    ),
    verdict: Verdict::Wrong,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    kit::descriptors(200)?;
    let facts = observe()?;
    for Size { size, answer, told } in &facts.sizes {
        let size = *size;
        let expected = if size > 0 { "OK" } else { "EINVAL" };
        stage.equal(Said::same(format!("epoll_create({size})")), answer.as_str(), expected);
        if let Some(told) = told {
            stage.equal(
                (
                    format!("{ADDED} descriptors added to it, all ready: told"),
                    format!("往里加 {ADDED} 个描述符，全部就绪：报告"),
                ),
                *told,
                ADDED,
            );
        }
    }
    stage.equal(
        said("what /proc/self/fd says it is", "/proc/self/fd 里它是"),
        facts.link.as_str(),
        "anon_inode:[eventpoll]",
    );
    let (before, after) = facts.polled;
    stage.check(
        (
            format!("poll of the epoll descriptor: {before}; with something ready inside: {after}"),
            format!("对 epoll 描述符调用 poll：{before}；里面有就绪的之后：{after}"),
        ),
        (before, after) == (0, 1),
    );
    stage.equal(said("an epoll inside another: told", "epoll 套 epoll：报告"), facts.nested, 1);
    let (old, new) = facts.closed_on_exec;
    let yes = |yes| if yes { ("yes", "是") } else { ("no", "否") };
    stage.check(
        (
            format!(
                "closed on exec: epoll_create {}, epoll_create1(EPOLL_CLOEXEC) {}",
                yes(old).0,
                yes(new).0
            ),
            format!("exec 时关闭：epoll_create {}，epoll_create1(EPOLL_CLOEXEC) {}", yes(old).1, yes(new).1),
        ),
        !old && new,
    );
    Ok(())
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// Each size tried.
    pub sizes: Vec<Size>,
    /// What /proc says the descriptor is.
    pub link: String,
    /// poll of the epoll descriptor: with nothing ready inside, and with something.
    pub polled: (usize, usize),
    /// An epoll inside another reported.
    pub nested: usize,
    /// Closed on exec: by epoll_create, by epoll_create1(EPOLL_CLOEXEC).
    pub closed_on_exec: (bool, bool),
}

/// One value of `size`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Size {
    /// The value.
    pub size: i32,
    /// What epoll_create answered.
    pub answer: String,
    /// How many descriptors it could be given and told of, of [`ADDED`].
    pub told: Option<usize>,
}

/// More than a table of size 1 would hold.
const ADDED: usize = 100;

/// The experiment.
fn observe() -> io::Result<Facts> {
    let events = (0..ADDED).map(|_| kit::raised_eventfd()).collect::<io::Result<Vec<OwnedFd>>>()?;
    let sizes =
        [-1, 0, 1, 1_000_000].into_iter().map(|size| try_size(size, &events)).collect::<io::Result<_>>()?;
    let (old, new) = (Epoll::of_size(1)?, Epoll::new()?);
    let link = std::fs::read_link(format!("/proc/self/fd/{}", new.as_fd().as_raw_fd()))?;
    Ok(Facts {
        sizes,
        link: link.to_string_lossy().into_owned(),
        polled: polled()?,
        nested: nested()?,
        closed_on_exec: (closed_on_exec(&old)?, closed_on_exec(&new)?),
    })
}

fn try_size(size: i32, events: &[OwnedFd]) -> io::Result<Size> {
    let made = Epoll::of_size(size);
    let answer = kit::answer(&made);
    let told = match made {
        Ok(epoll) => {
            for event in events {
                epoll.add(event, EPOLLIN)?;
            }
            Some(epoll.wait(&mut kit::room(2 * ADDED), 0)?)
        }
        Err(_) => None,
    };
    Ok(Size { size, answer, told })
}

fn polled() -> io::Result<(usize, usize)> {
    let (epoll, event) = (Epoll::new()?, socket::eventfd()?);
    epoll.add(&event, EPOLLIN)?;
    let poll = || calls::poll(&mut [pollfd { fd: epoll.as_fd().as_raw_fd(), events: POLLIN, revents: 0 }], 0);
    let before = poll()?;
    kit::raise(&event)?;
    Ok((before, poll()?))
}

fn nested() -> io::Result<usize> {
    let (outer, inner, event) = (Epoll::new()?, Epoll::new()?, kit::raised_eventfd()?);
    inner.add(&event, EPOLLIN)?;
    outer.add(&inner, EPOLLIN)?;
    Ok(kit::told(&outer)?.len())
}

fn closed_on_exec(epoll: &Epoll) -> io::Result<bool> {
    Ok(calls::fcntl(epoll, Fcntl::GetDescriptorFlags)? & FD_CLOEXEC != 0)
}
