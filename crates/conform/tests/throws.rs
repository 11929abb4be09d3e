//! A C++ program.

#[test]
fn what_callbacks_throw_passes_through() {
    duolu_conform::same("programs/throws.cc");
}
