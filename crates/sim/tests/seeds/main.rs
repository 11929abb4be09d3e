//! Random simulation: each seed is a random program on an engine over the simulated kernel, watched by a model
//! that knows which events may and must be told. `DUOLU_SIM_SEEDS=n` runs n seeds, from
//! `DUOLU_SIM_FIRST` or 0 on; `DUOLU_SIM_SEED=n` replays one with a trace of every step.

mod model;
mod program;

use duolu_sim::Personality;
use std::panic::{AssertUnwindSafe, catch_unwind};

const DEFAULT_SEEDS: u64 = 300;
/// How much of a failing seed's trace is printed.
const TRACE_TAIL: usize = 80;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Every imitation gets every fourth seed.
fn personality(seed: u64) -> Personality {
    Personality::ALL[(seed % 4) as usize]
}

/// Runs one seed; the trace where it fails.
fn run(seed: u64, trace: bool) -> Result<program::Summary, Vec<String>> {
    let mut program = program::Program::new(seed, personality(seed), trace);
    let outcome = catch_unwind(AssertUnwindSafe(|| program.run()));
    outcome.map_err(|panic| {
        let mut trace = program.take_trace();
        let text = panic.downcast_ref::<String>().cloned();
        trace.push(text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default());
        trace
    })
}

#[test]
fn seeds() {
    if let Some(seed) = number("DUOLU_SIM_SEED") {
        match run(seed, true) {
            Ok(summary) => println!("seed {seed} ({:?}) holds: {summary:?}", personality(seed)),
            Err(trace) => panic!("{}\nseed {seed} ({:?}) fails", trace.join("\n"), personality(seed)),
        }
        return;
    }
    let count = number("DUOLU_SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let first = number("DUOLU_SIM_FIRST").unwrap_or(0);
    let mut total = program::Summary::default();
    for seed in first..first + count {
        match run(seed, false) {
            Ok(summary) => total.add(&summary),
            Err(_) => {
                let trace = run(seed, true).err().unwrap_or_default();
                let tail = &trace[trace.len().saturating_sub(TRACE_TAIL)..];
                panic!(
                    "{}\nseed {seed} ({:?}) fails; replay: make sim SEED={seed}",
                    tail.join("\n"),
                    personality(seed)
                );
            }
        }
    }
    println!("{count} seeds hold: {total:?}");
    // A simulation that exercises nothing proves nothing.
    if count >= DEFAULT_SEEDS {
        total.assert_covered();
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..8 {
        let (mut a, mut b) = (
            program::Program::new(seed, personality(seed), true),
            program::Program::new(seed, personality(seed), true),
        );
        assert_eq!((a.run(), a.take_trace()), (b.run(), b.take_trace()));
    }
}
