//! The service `discard`: throws away what it gets (RFC 863).

use super::service::{Reply, Session, Then, Turn};

/// Nothing to remember.
#[derive(Default)]
pub struct Discard;

impl Session for Discard {
    fn handle(&mut self, _input: &[u8], _output: &mut Vec<u8>, _draining: bool) -> Turn {
        Turn { reply: Reply::Output, then: Then::Keep, messages: 1 }
    }

    fn is_idle(&self) -> bool {
        false // a close while the peer sends is an error to it
    }
}
