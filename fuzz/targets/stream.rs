//! Peers, kernels and programs against a stream's judgement: the model of duolu-core's own tests.

#![no_main]

#[path = "../../crates/core/tests/models/random.rs"]
#[allow(dead_code, reason = "the other targets and the tests use it")]
mod random;
#[path = "../../crates/core/tests/models/stream.rs"]
mod stream;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(stream::play(random::Random::Bytes(bytes)), "it came to its end");
});
