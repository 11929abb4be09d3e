//! duolu-sys
