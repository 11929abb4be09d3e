//! `duolu load`.

use crate::failure::Failure;

/// Thousands of connections, correct latency histograms
#[derive(clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::cannot("not built yet"))
}
