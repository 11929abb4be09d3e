//! `duolu compare`.

use crate::failure::Failure;

/// Every model on this machine, side by side up a ladder of connections
#[derive(clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: Args) -> Result<(), Failure> {
    Err(Failure::cannot("not built yet"))
}
