//! duolu-sim
