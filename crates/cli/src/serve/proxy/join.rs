//! Where nothing looks at the bytes the two streams of a link are joined (splice(2)) as soon as both stand, and its handlers
//! are gone. What they did is done here or by the library: half-closes and resets go through, what is idle is closed, and
//! the counters go on as the bytes come.
//!
//! The join comes about when the callbacks of the pass have returned. Until then neither side is read, so that nothing has
//! happened that a joined pair could not go on from. Where it does not come about (`DUOLU_STREAMS=completions`: io_uring
//! moves the bytes) the link opens as it does where something looks.

use super::link::{Link, Phase, Side};
use super::{Hall, Plan};
use duolu::{Context, Direction, SpliceEnd, SpliceOptions, Spliced, Stream};
use rustix::process::{Resource, getrlimit};
use std::rc::Rc;

/// What a pipe holds: with a smaller `--buffer` more would wait than was allowed.
const PIPE_BYTES: usize = 64 * 1024;
/// So many pipes of each loop may hold what waits for slow readers; beyond it is copied. 16 MiB of kernel memory.
pub const MOST_PIPES: usize = 256;
/// And one for so many descriptors of the process: a pipe takes two, so that a crowd of slow readers takes a sixteenth of
/// them, and leaves the rest to those who come.
const DESCRIPTORS_A_PIPE: u64 = 32;

/// [`MOST_PIPES`], or fewer where descriptors are few. Each of so many threads has its own.
pub fn pipes_of_each(threads: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = descriptors / DESCRIPTORS_A_PIPE / threads.max(1) as u64;
    usize::try_from(most).map_or(MOST_PIPES, |most| most.min(MOST_PIPES))
}

impl Plan {
    /// Whether nothing looks at the bytes of a connection once it stands: no TLS, and no rate, which is kept by reading less.
    pub fn looks_away(&self) -> bool {
        let looks = self.tls.with_clients() || self.tls.with_upstreams();
        let counts = self.rate.is_some() || self.rate_total.is_some();
        !looks && !counts && self.buffer >= PIPE_BYTES
    }
}

/// The upstream stands and has its greeting; both streams are joined soon. From the upstream's callback.
pub fn begin(link: &Rc<Link>, ctx: &mut Context<Hall>, upstream: &mut Stream<'_>) {
    let client = link.stream(Side::Client).filter(|client| ctx.exists(*client));
    let Some(client) = client else { return upstream.reset() }; // it went meanwhile
    link.phase.set(Phase::Joining);
    upstream.suspend(Direction::Read);
    let (counted, joined) = (Rc::clone(link), Rc::clone(link));
    let options = SpliceOptions::new().idle_timeout(ctx.data().plan.idle).on_progress(move |side, bytes| {
        counted.count(if side == duolu::Side::First { Side::Client } else { Side::Upstream }, bytes);
    });
    ctx.splice_streams(client, upstream.id(), options, move |ctx, report| ended(&joined, ctx, report));
}

fn ended(link: &Rc<Link>, ctx: &mut Context<Hall>, report: Spliced) {
    match report.end {
        SpliceEnd::NotJoined(_) if link.phase.get() == Phase::Joining => {
            if let Some(upstream) = link.stream(Side::Upstream) {
                ctx.with_stream(upstream, |ctx, upstream| link.pass_on(ctx, upstream));
            }
        }
        SpliceEnd::Idle => link.count_idle(),
        // One side broke meanwhile, which was told to its handler; or it is over in good order, or was told to both sides.
        SpliceEnd::NotJoined(_) | SpliceEnd::Finished | SpliceEnd::Failed(..) => {}
    }
}
