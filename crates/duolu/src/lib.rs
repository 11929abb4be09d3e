//! duolu-duolu
