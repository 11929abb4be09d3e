//! The TCP state diagram (RFC 9293, figure 5) with numbers in it: how many sockets stand in each state, how many pass
//! along each edge, and which system call or segment moves them.
//!
//! Reading order: [`edge`] (the twenty edges and their words), [`step`] (what a change of state is on the diagram),
//! [`picture`] (the numbers to be drawn), [`plan`] and [`paint`] (terminal), [`places`], [`svg`] and [`page`] (files).

mod edge;
pub mod page;
pub mod paint;
mod picture;
mod places;
pub mod plan;
mod step;
pub mod svg;
pub mod words;

pub use edge::{Edge, Path};
pub use picture::{Flow, How, Picture, short};
pub use step::{Other, Step, classify};
