//! The service `echo`: sends back what it gets (RFC 862).

use super::service::{Reply, Session, Then, Turn};

/// Nothing to remember.
#[derive(Default)]
pub struct Echo;

impl Session for Echo {
    fn handle(&mut self, _input: &[u8], _output: &mut Vec<u8>, _draining: bool) -> Turn {
        Turn { reply: Reply::Input, then: Then::Keep, messages: 1 }
    }

    fn is_idle(&self) -> bool {
        false // the peer may have sent already what has not arrived yet
    }
}
