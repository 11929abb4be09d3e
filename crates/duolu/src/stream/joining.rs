//! How two sockets, or two streams, become a pair that is joined.

use super::Transport;
use super::drive::Parts;
use super::relay::{End, Ended, Joined, Lane, SIDES};
use super::splice::{SpliceOptions, Spliced};
use crate::context::Context;
use crate::error::Error;
use duolu_core::stream::{Relay, Side};
use duolu_core::{EventId, EventSpec, Interest, Timeout};
use std::rc::Rc;

pub(super) fn install<D: 'static, A: Transport, B: Transport>(
    ctx: &mut Context<D>,
    first: A,
    second: B,
    options: SpliceOptions,
    ended: Ended<D>,
) -> Result<EventId, Error> {
    if let Some(group) = &options.group {
        group.must_be_of(&ctx.blocks)?;
    }
    let (mut first, mut second) = (first, second);
    first.prepare()?;
    second.prepare()?;
    let (false, Some(one), false, Some(two)) =
        (A::LAYERED, first.descriptor(), B::LAYERED, second.descriptor())
    else {
        return Err(Error::Misuse(
            "only sockets as they are can be joined: without layers, and with a descriptor",
        ));
    };
    let mut relay = Relay::new();
    let priority = options.priority.unwrap_or(ctx.default_priority);
    let specs = [(Side::First, one), (Side::Second, two)].map(|(side, fd)| {
        let asked = relay.next_interest(side).map_or(Interest::NONE, |(_, wants)| wants);
        EventSpec { owned: true, priority, ..EventSpec::fd(fd, asked) }
    });
    let joined =
        Joined::new(ctx, relay, [Box::new(first), Box::new(second)], Default::default(), &options, ended);
    let end = |side| Box::new(End { joined: Rc::clone(&joined), side });
    let one = ctx.install(specs[0], Timeout::Keep, end(Side::First))?;
    let two = match ctx.install(specs[1], Timeout::Keep, end(Side::Second)) {
        Ok(two) => two,
        Err(error) => {
            ctx.remove(one);
            return Err(error);
        }
    };
    joined.begin(ctx, [one, two], &options);
    Ok(one)
}

/// Turns two streams into a pair of joined sockets: see [`Context::splice_streams`].
pub(super) fn join<D: 'static>(
    ctx: &mut Context<D>,
    ids: [EventId; 2],
    options: SpliceOptions,
    ended: Ended<D>,
) {
    if let Some(why) = obstacle(ctx, ids, &options) {
        return ended(ctx, Spliced::not_joined(why));
    }
    let [Some(mut one), Some(mut two)] = ids.map(|id| {
        let object = ctx.objects[id.index()].take();
        object.and_then(|object| object.into_parts())
    }) else {
        unreachable!("there is no obstacle")
    };
    let mut relay = Relay::new();
    let mut lanes: [Lane; 2] = Default::default();
    let mut unread = [0; 2];
    // What was to be sent to the one across, then what it has not seen yet.
    for (side, from, to) in [(Side::First, 0, 1), (Side::Second, 1, 0)] {
        let parts = [&mut one, &mut two];
        let lane = &mut lanes[side as usize].buffer;
        let mut buffers =
            [std::mem::take(parts[to].core.output_mut()), std::mem::take(parts[from].core.input_mut())];
        unread[side as usize] = buffers[1].len() as u64;
        let moved = buffers.iter_mut().all(|buffer| lane.append_buffer(buffer).is_ok());
        debug_assert!(moved, "neither is frozen, and no buffer is so long");
        relay.preload(side, lane.len(), !parts[from].core.is_readable());
        // By edges the kernel tells nothing again, and a splice may leave something: see `duolu_sys::splice`, trap (b).
        if !ctx.engine.watch_by_levels(ids[from]) {
            relay.preset_interest(side, parts[from].core.asked());
        }
    }
    let Parts { socket: first, rest: one, .. } = one;
    let Parts { socket: second, rest: two, .. } = two;
    let joined = Joined::new(ctx, relay, [first, second], lanes, &options, ended);
    for (side, id) in SIDES.into_iter().zip(ids) {
        ctx.objects[id.index()] = Some(Box::new(End { joined: Rc::clone(&joined), side }));
    }
    joined.begin(ctx, ids, &options);
    if let Some(progress) = &options.progress {
        SIDES.into_iter().filter(|side| unread[*side as usize] > 0).for_each(|side| {
            progress.tell(side, unread[side as usize]);
        });
    }
    drop((one, two)); // the handlers: what they do when they go finds everything in its place
}

/// Why these two cannot be joined.
fn obstacle<D: 'static>(
    ctx: &mut Context<D>,
    ids: [EventId; 2],
    options: &SpliceOptions,
) -> Option<&'static str> {
    if ids[0] == ids[1] {
        return Some("a stream cannot be joined to itself");
    }
    if options.group.as_ref().is_some_and(|group| !group.is_of(&ctx.blocks)) {
        return Some("the rate group is another loop's");
    }
    ids.into_iter().find_map(|id| {
        if !ctx.exists(id) {
            return Some("one of the two streams is not there any more");
        }
        match ctx.objects.get_mut(id.index()).and_then(Option::as_mut).and_then(|object| object.stream()) {
            Some(stream) => stream.obstacle(),
            None => Some("one of the two ids is not a stream's"),
        }
    })
}
