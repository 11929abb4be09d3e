//! The runner of the comparison; being written.
fn main() {}
