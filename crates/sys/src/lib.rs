//! duolu-sys

pub mod child;
pub mod worker;
