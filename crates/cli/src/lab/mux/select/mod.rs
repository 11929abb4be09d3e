//! select(2), argument by argument: nfds, sets that go in and come out, one number for three sets, a timeout that Linux
//! writes to, a listener, urgent data, an error. [`trials`] tries each.

mod trials;

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use trials::{Exceptional, Failed, Listener, Nfds, Sets, Timeout, Total};

pub static LAB: Lab = Lab {
    name: "select",
    claims: &[21, 22, 23, 24, 25, 26, 29, 30],
    title: said("select, argument by argument", "select 的每个参数"),
    expected: said(
        "nfds must be the highest number + 1. The sets come back changed: only what is ready stays. The return value counts the \
         bits of all three sets together, so it cannot tell how many are in each: FD_ISSET can. Linux leaves the rest of the time \
         in timeout. A new connection is a readable listener. Exceptional means urgent data, not errors. On an error the sets stay.",
        "nfds 必须是最大描述符 + 1。集合会被改写：只留下就绪的。返回值是三个集合的总位数，看不出每个集合有几个：要用 FD_ISSET。\
         Linux 把剩余时间写回 timeout。新连接就是监听套接字可读。“异常”指紧急数据，不是错误。出错时集合不变。",
    ),
    why: said(
        "All of it is in select(2): nfds, RETURN VALUE, and \"On Linux, select() modifies timeout to reflect the amount of time not \
         slept\" (POSIX allows both: set it anew before each call). The sets carry question and answer in the same bits, so keep a copy; \
         poll and epoll do not repeat that design. Exceptional is POLLPRI, above all TCP's urgent byte; an error makes a descriptor \
         readable. Between select and accept the connection may go to somebody else: make listeners non-blocking (accept(2), NOTES).",
        "都写在 select(2) 里：nfds、返回值，以及“Linux 上 select() 会把 timeout 改成没睡完的时间”（POSIX 两种都允许：每次调用前重设）。\
         问题和答案共用同一批位，所以要先留副本；poll 和 epoll 没有重复这个设计。异常即 POLLPRI，主要是 TCP 的紧急字节；错误会让描述符\
         变为可读。select 和 accept 之间，连接可能被别人取走：监听套接字要设成非阻塞（accept(2) NOTES）。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    kit::descriptors(128)?;
    let facts = trials::observe()?;
    let Nfds { fd, too_small, enough } = facts.nfds;
    stage.equal(
        (
            format!("fd {fd} is readable; select with nfds = {fd} returns"),
            format!("fd {fd} 可读；nfds = {fd} 时 select 返回"),
        ),
        too_small,
        0,
    );
    stage.equal((format!("with nfds = {fd} + 1"), format!("nfds = {fd} + 1 时")), enough, 1);
    let Sets { watched, came_out, found_without_copy, found_with_copy } = facts.sets;
    stage.check(
        (
            format!("{watched} go into the read set, {came_out} comes out: the ready one"),
            format!("读集合传入 {watched} 个，传出 {came_out} 个：就绪的那个"),
        ),
        (watched, came_out) == (2, 1),
    );
    stage.check(
        (
            format!("then both are ready: the set as it came out finds {found_without_copy}, a kept copy {found_with_copy}"),
            format!("之后两个都就绪：用传出的集合只找到 {found_without_copy} 个，用事先保存的副本找到 {found_with_copy} 个"),
        ),
        (found_without_copy, found_with_copy) == (1, 2),
    );
    let Total { descriptors, returned, readable, writable, exceptional } = facts.total;
    stage.check(
        (
            format!("{descriptors} descriptors, three sets: returned {returned} = {readable} readable + {writable} writable + {exceptional} exceptional, as FD_ISSET tells"),
            format!("{descriptors} 个描述符，三个集合：返回 {returned} = 可读 {readable} + 可写 {writable} + 异常 {exceptional}，逐个 FD_ISSET 才知道"),
        ),
        returned == readable + writable + exceptional && (readable, writable, exceptional) == (1, 2, 1),
    );
    tell_timeout(stage, &facts.timeout);
    let Listener { idle, after_connect, second_accept } = &facts.listener;
    stage.check(
        (
            format!("a listener in the read set: {idle}, after a client has connected {after_connect}"),
            format!("监听套接字放在读集合里：{idle}，有客户端连接之后 {after_connect}"),
        ),
        (*idle, *after_connect) == (0, 1),
    );
    stage.equal(
        said("that connection taken by somebody else, accept answers", "这个连接被别人取走之后，accept 得到"),
        second_accept.as_str(),
        "EAGAIN",
    );
    let Exceptional { urgent_byte, reset, reset_is_readable } = facts.exceptional;
    let yes = |yes| if yes { ("yes", "是") } else { ("no", "否") };
    stage.check(
        (
            format!(
                "in the third set: an urgent byte {}, a reset connection {} (it is readable: {})",
                yes(urgent_byte).0,
                yes(reset).0,
                yes(reset_is_readable).0
            ),
            format!(
                "在第三个集合里：紧急字节 {}，被重置的连接 {}（它可读：{}）",
                yes(urgent_byte).1,
                yes(reset).1,
                yes(reset_is_readable).1
            ),
        ),
        urgent_byte && !reset && reset_is_readable,
    );
    let Failed { answer, sets_unmodified } = facts.error;
    stage.equal(
        said("a closed descriptor in a set: select answers", "集合里有已关闭的描述符：select 得到"),
        answer.as_str(),
        "EBADF",
    );
    stage.check(said("and the sets are as they were", "集合保持原样"), sets_unmodified);
    Ok(())
}

fn tell_timeout(stage: &mut Stage, timeout: &Timeout) {
    let Timeout { given, left_after_event, left_after_timeout } = timeout;
    let (given_ms, left) = (given.as_millis(), left_after_event.as_millis());
    stage.check(
        (
            format!("timeout {given_ms} ms, an event on the way: {left} ms are left in it"),
            format!("timeout {given_ms} 毫秒，中途有事件：里面剩 {left} 毫秒"),
        ),
        left_after_event < given && !left_after_event.is_zero(),
    );
    stage.equal(
        said("after it ran out, milliseconds left", "超时之后，剩余毫秒"),
        left_after_timeout.as_millis(),
        0,
    );
}
