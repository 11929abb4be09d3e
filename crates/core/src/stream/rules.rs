//! What only some streams have: watermarks, timeouts, limits. In a box of its own, so that the others need not
//! carry it.

use super::event::Direction;
use super::group::Member;
use super::lazy_timer::LazyTimer;
use super::limit::Bucket;
use crate::time::Instant;

/// What the output may hold before reading rests, unless it is said otherwise: so that a peer that sends and never
/// takes the replies cannot fill the memory.
pub(super) const OUTPUT_HIGH: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Rules {
    pub(super) input_low: usize,
    pub(super) input_high: usize,
    pub(super) output_low: usize,
    pub(super) output_high: usize,
    pub(super) read: Way,
    pub(super) write: Way,
    /// The rate that it shares with others.
    pub(super) member: Option<Member>,
    /// How long a close waits for the peer without moving a byte.
    pub(super) linger_ns: u64,
    /// From when on; set by the first `settle` of a stream that closes.
    pub(super) linger_from: Option<Instant>,
    pub(super) timer: LazyTimer,
}

/// The rules of one direction.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) timeout_ns: Option<u64>,
    /// Since when nothing has moved, as long as the direction waits for something. `None`: it does not.
    pub(super) idle_since: Option<Instant>,
    pub(super) bucket: Option<Bucket>,
    /// The bucket ran empty.
    pub(super) dry: bool,
    /// What one call moves at most.
    pub(super) most: usize,
}

impl Rules {
    pub(super) const NONE: Rules = Rules {
        input_low: 0,
        input_high: usize::MAX,
        output_low: 0,
        output_high: OUTPUT_HIGH,
        read: Way::NONE,
        write: Way::NONE,
        member: None,
        linger_ns: 0,
        linger_from: None,
        timer: LazyTimer::UNSET,
    };

    pub(super) fn linger_end(&self) -> Option<Instant> {
        self.linger_from.map(|from| from.saturating_add_nanos(self.linger_ns))
    }

    /// `bytes`, or what the group lets go of it: asked last, because with 0 the stream queues.
    pub(super) fn shared(&mut self, direction: Direction, bytes: usize, now: Instant) -> usize {
        match &mut self.member {
            Some(member) if bytes > 0 => {
                bytes.min(usize::try_from(member.allowed(direction, now)).unwrap_or(usize::MAX))
            }
            _ => bytes,
        }
    }

    pub(super) fn moved(&mut self, direction: Direction, bytes: usize, now: Instant) {
        let way = match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        };
        way.moved(bytes, now);
        if let Some(member) = &mut self.member {
            member.moved(direction, bytes as u64);
        }
    }

    /// More is there to be moved: where it must queue for that it does so before it is woken in vain.
    pub(super) fn foresee(&mut self, direction: Direction, now: Instant) {
        if let Some(member) = &mut self.member {
            member.foresee(direction, now);
        }
    }

    /// Whether the group keeps it still.
    pub(super) fn queues(&self, direction: Direction) -> bool {
        self.member.as_ref().is_some_and(|member| member.rests(direction))
    }
}

impl Way {
    const NONE: Way = Way { timeout_ns: None, idle_since: None, bucket: None, dry: false, most: usize::MAX };

    /// Counts from now on, or goes on counting, or does not count.
    pub(super) fn count(&mut self, waits: bool, now: Instant) {
        self.idle_since = if waits { self.idle_since.or(Some(now)) } else { None };
    }

    fn moved(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = &mut self.idle_since {
            *since = now;
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(bytes as u64);
        }
    }

    /// When the timeout runs out, as things are.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.idle_since?.saturating_add_nanos(self.timeout_ns?))
    }

    /// Whether the rate limit keeps it still; asked again at [`Bucket::ready_at`].
    pub(super) fn is_dry(&mut self, now: Instant) -> bool {
        if let Some(bucket) = &mut self.bucket {
            let available = bucket.available(now);
            self.dry = if self.dry { now < bucket.ready_at() } else { available == 0 };
        }
        self.dry
    }

    /// What may move at once.
    pub(super) fn allowed(&mut self, now: Instant) -> usize {
        let available = self.bucket.as_mut().map_or(u64::MAX, |bucket| bucket.available(now));
        self.most.min(usize::try_from(available).unwrap_or(usize::MAX))
    }

    pub(super) fn ready_at(&self) -> Option<Instant> {
        self.bucket.as_ref().filter(|_| self.dry).map(Bucket::ready_at)
    }
}
