//! The backend's books of what the brain believes, to hold it to the contract.

use duolu_core::{Change, Errno, Features, RawFd, Ready, Report, Token, Trigger, Watch};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Belief {
    /// The last change was accepted.
    Watched(Token, Watch),
    /// Told as INVALID, or a modification was refused: the brain may add, modify or remove next.
    Unsure(Token),
}

/// Number to belief.
#[derive(Default, Debug)]
pub(super) struct Ledger(BTreeMap<RawFd, Belief>);

impl Ledger {
    pub fn len(&self) -> usize {
        self.current().count()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn watch(&self, fd: RawFd) -> Option<Watch> {
        match self.0.get(&fd) {
            Some(&Belief::Watched(_, watch)) => Some(watch),
            _ => None,
        }
    }

    pub fn current(&self) -> impl Iterator<Item = (Token, Watch)> + '_ {
        self.0.values().filter_map(|belief| match *belief {
            Belief::Watched(token, watch) => Some((token, watch)),
            Belief::Unsure(_) => None,
        })
    }

    /// Panics where the change breaks what `Change` and `Watch` promise.
    pub fn check(&self, change: &Change, features: &Features) {
        let belief = self.0.get(&change.token().fd());
        match *change {
            Change::Add { token, .. } => {
                assert!(
                    !matches!(belief, Some(Belief::Watched(..))),
                    "the brain adds {token:?}, but had it added already: {belief:?}"
                );
            }
            Change::Modify { token, .. } => {
                assert!(belief.is_some(), "the brain modifies {token:?}, which it never added (or removed)");
            }
            Change::Remove { token } => match belief {
                Some(&Belief::Watched(known, _)) => {
                    assert!(known == token, "the brain removes {token:?}, but last gave {known:?}");
                }
                Some(Belief::Unsure(_)) => {}
                None => panic!("the brain removes {token:?}, which it never added (or removed before)"),
            },
        }
        if let Change::Add { token, watch } | Change::Modify { token, watch } = *change {
            assert!(!watch.interest.is_empty(), "the brain asks for nothing on {token:?}");
            // OneShot and PEER_CLOSED may be asked of anyone: one that lacks them tells the one as Level, which
            // the brain disarms, and the other not at all.
            let edge_ok = features.edge || watch.trigger != Trigger::Edge;
            assert!(edge_ok, "{watch:?} on {token:?}, but the backend has only {features:?}");
            let alone_ok = features.exclusive || !watch.exclusive;
            assert!(alone_ok, "{watch:?} on {token:?}, but the backend has only {features:?}");
        }
    }

    /// Books the outcome.
    pub fn record(&mut self, change: &Change, result: Result<(), Errno>) {
        let fd = change.token().fd();
        match (*change, result) {
            (Change::Add { token, watch } | Change::Modify { token, watch }, Ok(())) => {
                self.0.insert(fd, Belief::Watched(token, watch));
            }
            (Change::Modify { token, .. }, Err(_)) => {
                self.0.insert(fd, Belief::Unsure(token));
            }
            (Change::Add { .. } | Change::Remove { .. }, _) => {
                self.0.remove(&fd);
            }
        }
    }

    /// Books a report; true where its token is not the current one.
    pub fn told(&mut self, report: &Report) -> bool {
        let fd = report.token.fd();
        match self.0.get(&fd) {
            Some(&Belief::Watched(token, _)) if token == report.token => {
                if report.ready.intersects(Ready::INVALID) {
                    self.0.insert(fd, Belief::Unsure(token));
                }
                false
            }
            _ => true,
        }
    }
}
