//! Operations on buffers, beside vectors that must stay equal: the model of duolu-core's own tests.

#![no_main]

#[path = "../../crates/core/tests/models/buffer.rs"]
mod buffer;
#[path = "../../crates/core/tests/models/random.rs"]
#[allow(dead_code, reason = "the other targets and the tests use it")]
mod random;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| buffer::play(random::Random::Bytes(bytes), 2000));
