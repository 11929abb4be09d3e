//! `duolu serve`.

use crate::failure::Failure;

/// A TCP server on any model: echo, http
#[derive(clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::cannot("not built yet"))
}
