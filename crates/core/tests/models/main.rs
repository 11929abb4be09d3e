//! Random plays against simple models. A failure prints its seed. More of them, by hand:
//!
//! ```text
//! DUOLU_BUFFER_OPS=100000000 DUOLU_STREAM_SEEDS=100000 cargo test --release -p duolu-core --test models
//! ```

mod buffer;
mod random;
mod stream;

use random::Random;
use std::panic::catch_unwind;

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(number) => number.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => otherwise,
    }
}

#[test]
fn a_buffer_is_a_vector_that_is_cheap_at_both_ends() {
    const EACH: u64 = 20_000;
    let operations = setting("DUOLU_BUFFER_OPS", 60_000);
    for seed in 0..operations.div_ceil(EACH) {
        let outcome = catch_unwind(|| buffer::play(Random::Seed(seed), EACH.min(operations - seed * EACH)));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_stream_keeps_its_promises() {
    for seed in 0..setting("DUOLU_STREAM_SEEDS", 300) {
        let outcome = catch_unwind(|| stream::play(Random::Seed(seed)));
        assert!(
            matches!(outcome, Ok(true)),
            "seed {seed}: {outcome:?}: it panicked, or did not come to its end"
        );
    }
}
