//! duolu-sys

pub mod child;
