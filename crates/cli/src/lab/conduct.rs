//! Runs experiments: enters a network of its own where that is allowed, and sees to it that each ends.

use super::experiment::{Fact, Lab, Needs, Outcome, Trouble};
use super::said::said;
use super::stage::Stage;
use duolu_sys::netns;
use std::io;

/// Where experiments take place.
#[derive(Debug)]
pub enum Network {
    /// In a network of its own.
    Own,
    /// On this machine's loopback, because the user asked for it.
    Host,
    /// On this machine's loopback, because nothing else is allowed.
    Refused(io::Error),
}

impl Network {
    /// The best that is allowed. To be called before any thread is started.
    pub fn enter() -> Self {
        match netns::enter_new_network() {
            Ok(()) => Network::Own,
            Err(error) => Network::Refused(error),
        }
    }
}

/// An experiment that was tried.
#[derive(Debug)]
pub struct Ran {
    /// Which one.
    pub lab: &'static Lab,
    /// What came out, or what kept it from being done: never [`Trouble::Broken`].
    pub outcome: Result<Outcome, Trouble>,
}

impl Ran {
    /// Whether reality contradicts the page.
    pub fn failed(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|outcome| !outcome.held())
    }
}

/// Runs one experiment to its end.
pub fn conduct(lab: &'static Lab, network: &Network) -> Ran {
    Ran { lab, outcome: attempt(lab, network) }
}

fn attempt(lab: &'static Lab, network: &Network) -> Result<Outcome, Trouble> {
    if lab.needs == Needs::OwnNetwork {
        match network {
            Network::Own => {}
            Network::Host => return Err(Trouble::not_on_host()),
            Network::Refused(error) => return Err(Trouble::no_network(error)),
        }
    }
    let mut stage =
        Stage::new(matches!(network, Network::Own)).map_err(|error| Trouble::no_network(&error))?;
    let result = (lab.run)(&mut stage);
    let (mut facts, pictures) = stage.finish();
    match result {
        Ok(()) => {}
        Err(Trouble::Broken(error)) => facts.push(Fact {
            what: said("the experiment broke off", "实验中断"),
            measured: super::said::Said::same(error),
            instead_of: None,
            holds: false,
        }),
        Err(cannot) => return Err(cannot),
    }
    Ok(Outcome { lab, facts, pictures })
}
