//! A callback behind epoll_data: a loop of thirty lines in which the 64 bits name a closure. And its danger: an event
//! that is told in the same batch, after what it names was freed and its place was given to another.
//!
//! C puts a pointer there; a place in a table shows the same without undefined behaviour: a stale one names whoever sits
//! there now. With a generation beside the place it names nobody.

use super::kit;
use crate::lab::claims::Verdict;
use crate::lab::experiment::{Lab, Needs, Trouble};
use crate::lab::said::said;
use crate::lab::stage::Stage;
use duolu_sys::calls::flags::EPOLLIN;
use duolu_sys::calls::{Epoll, Op};
use duolu_sys::socket;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

pub static LAB: Lab = Lab {
    name: "ptr",
    claims: &[47],
    title: said("a callback in epoll_data, and the stale pointer", "epoll_data 里的回调，以及悬空指针"),
    expected: said(
        "64 bits are enough to find a closure with its state, and to call it. But where one callback closes another connection of the same \
         batch, the other's event is told already: its 64 bits now name whoever got the place, and the wrong callback runs. With a \
         generation beside the place the event is known to be stale and dropped.",
        "64 位足以找到带状态的闭包并调用它。但如果一个回调关闭了同一批里的另一个连接，那个连接的事件已经取出来了：它的 64 位现在指向占了\
         这个位置的新来者，于是调用了错误的回调。位置旁边加一个版本号（generation），就能认出过期事件并丢弃。",
    ),
    why: said(
        "epoll(7), \"If using an event cache\": closing removes a descriptor from the interest list, not from the array you already hold. In C \
         the pointer dangles: use after free. nginx flips a bit of the pointer for each use, libev and duolu carry a generation in the data, libevent looks \
         up the number instead. `duolu why PID` shows what a server keeps there: /proc/PID/fdinfo tells its data.",
        "epoll(7) “使用事件缓存时”：关闭描述符会把它移出关注列表，但不会移出你手里已经取出的数组。C 里这个指针就悬空了：释放后使用。nginx \
         每次使用翻转指针的一个位，libev 和 duolu 在 data 里带版本号，libevent 则按编号查表。`duolu why PID` 能看到服务器在里面放了什么：\
         /proc/PID/fdinfo 会显示 data。",
    ),
    verdict: Verdict::Right,
    needs: Needs::Nothing,
    run,
};

fn run(stage: &mut Stage) -> Result<(), Trouble> {
    let facts = observe()?;
    let (token, raised) = (facts.token, facts.raised);
    stage.equal(
        (
            format!("data = {token:#x} names a closure; raised {raised} times, it counted"),
            format!("data = {token:#x} 指向一个闭包；触发 {raised} 次，它数到"),
        ),
        facts.counted,
        raised,
    );
    let en = |Batch { right, wrong, dropped, .. }: &Batch| {
        format!("{right} called for its own event, {wrong} for somebody else's, {dropped} dropped as stale")
    };
    let zh = |Batch { right, wrong, dropped, .. }: &Batch| {
        format!("为自己的事件调用 {right} 次，为别人的事件调用 {wrong} 次，作为过期丢弃 {dropped} 个")
    };
    stage.check(
        (
            format!(
                "two events, the first callback closes the second connection. Without generation: {}",
                en(&facts.bare)
            ),
            format!("两个事件，第一个回调关闭第二个连接。没有版本号：{}", zh(&facts.bare)),
        ),
        facts.bare == Batch { told: 2, right: 1, wrong: 1, dropped: 0 },
    );
    stage.check(
        (format!("with generation: {}", en(&facts.guarded)), format!("有版本号：{}", zh(&facts.guarded))),
        facts.guarded == Batch { told: 2, right: 1, wrong: 0, dropped: 1 },
    );
    Ok(())
}

/// What was seen.
#[derive(Debug)]
pub struct Facts {
    /// A closure with state of its own was found by its 64 bits and called so often; it was raised as often.
    pub raised: u64,
    /// What the closure counted.
    pub counted: u64,
    /// The 64 bits that named it.
    pub token: u64,
    /// Without generations.
    pub bare: Batch,
    /// With.
    pub guarded: Batch,
}

/// What one batch of two events came to, where the first callback closes the second's connection and opens another,
/// which gets the same place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Events told.
    pub told: usize,
    /// Callbacks called for an event of their own.
    pub right: usize,
    /// Callbacks called for an event of somebody else: in C, a call through freed memory.
    pub wrong: usize,
    /// Events recognised as stale.
    pub dropped: usize,
}

type Callback = Box<dyn FnMut(&mut Loop)>;

/// A place in the table. The generation counts how often it was given to somebody.
struct Place {
    generation: u32,
    event: Option<OwnedFd>,
    callback: Option<Callback>,
}

/// `{fd, arg, foo}` of the notes, and a table of them.
struct Loop {
    epoll: Epoll,
    places: Vec<Place>,
    checks_generation: bool,
    log: Batch,
    counted: u64,
}

/// The 64 bits: generation above, place below.
fn token(place: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | place as u64
}

impl Loop {
    fn new(checks_generation: bool) -> io::Result<Self> {
        let log = Batch { told: 0, right: 0, wrong: 0, dropped: 0 };
        Ok(Loop { epoll: Epoll::new()?, places: Vec::new(), checks_generation, log, counted: 0 })
    }

    /// Watches an eventfd with a callback; takes the first free place.
    fn add(&mut self, event: OwnedFd, callback: Callback) -> io::Result<usize> {
        let at = self.places.iter().position(|place| place.event.is_none()).unwrap_or(self.places.len());
        if at == self.places.len() {
            self.places.push(Place { generation: 0, event: None, callback: None });
        }
        let place = &mut self.places[at];
        place.generation += 1;
        self.epoll.control(Op::Add, event.as_raw_fd(), EPOLLIN, token(at, place.generation))?;
        (place.event, place.callback) = (Some(event), Some(callback));
        Ok(at)
    }

    /// Closes and frees: epoll forgets it, but what it has told already stays told.
    fn remove(&mut self, at: usize) {
        self.places[at].event = None;
        self.places[at].callback = None;
    }

    /// One wait, and the callbacks.
    fn turn(&mut self) -> io::Result<()> {
        let told = kit::told(&self.epoll)?;
        self.log.told += told.len();
        for data in told {
            let (at, generation) = ((data & 0xffff_ffff) as usize, (data >> 32) as u32);
            if self.checks_generation && self.places[at].generation != generation {
                self.log.dropped += 1;
                continue;
            }
            let own = self.places[at].generation == generation;
            let Some(mut callback) = self.places[at].callback.take() else { continue };
            self.log.right += usize::from(own);
            self.log.wrong += usize::from(!own);
            callback(self);
            let place = &mut self.places[at];
            if place.event.is_some() && place.callback.is_none() {
                place.callback = Some(callback);
            }
        }
        Ok(())
    }
}

/// The experiment.
fn observe() -> io::Result<Facts> {
    let mut counting = Loop::new(true)?;
    let raised = 3;
    let at = counting.add(socket::eventfd()?, Box::new(|own| own.counted += 1))?;
    for _ in 0..raised {
        if let Some(event) = &counting.places[at].event {
            kit::raise(event)?;
        }
        counting.turn()?;
        if let Some(event) = &counting.places[at].event {
            kit::take(event)?;
        }
    }
    let token = token(at, counting.places[at].generation);
    Ok(Facts { raised, counted: counting.counted, token, bare: batch(false)?, guarded: batch(true)? })
}

fn batch(checks_generation: bool) -> io::Result<Batch> {
    let mut own = Loop::new(checks_generation)?;
    let (first, second, newcomer) = (kit::raised_eventfd()?, kit::raised_eventfd()?, socket::eventfd()?);
    let mut newcomer = Some(newcomer);
    own.add(
        first,
        Box::new(move |own| {
            // "Kick the other user out": close the second; a third connects and gets its place.
            own.remove(1);
            if let Some(newcomer) = newcomer.take() {
                // Refused, nobody would sit there, and the facts below would say so.
                let _ = own.add(newcomer, Box::new(|_| {}));
            }
        }),
    )?;
    own.add(second, Box::new(|_| {}))?;
    own.turn()?;
    Ok(own.log)
}
