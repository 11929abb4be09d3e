//! Two sessions and the wire between them, without sockets.

use duolu::buffer::{Buffer, Pool};
use duolu::stream::{Layer, LayerError};
use duolu::tls::Tls;

/// One end: its session, what came to it and was not yet taken, and what it would send.
pub struct End {
    pub tls: Tls,
    pub arrived: Buffer,
    pub leaving: Buffer,
    /// What was decrypted.
    pub input: Vec<u8>,
    /// What is still to be encrypted.
    pub output: Buffer,
    pub finishing: bool,
    pub wire_ended: bool,
    pub error: Option<LayerError>,
    pub pool: Pool,
}

impl End {
    pub fn new(tls: Tls) -> Self {
        let (arrived, leaving, output) = (Buffer::new(), Buffer::new(), Buffer::new());
        let (finishing, wire_ended) = (false, false);
        End {
            tls,
            arrived,
            leaving,
            input: Vec::new(),
            output,
            finishing,
            wire_ended,
            error: None,
            pool: Pool::new(32 * 1024, 4),
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.output.append(bytes).expect("memory");
    }

    /// Encrypts and decrypts what there is, at most `limit` bytes at a time; whether anything came of it.
    pub fn work(&mut self, limit: usize) -> bool {
        let before = (self.arrived.len(), self.leaving.len(), self.input.len(), self.output.len());
        let mut plain = Buffer::new();
        if self.error.is_none() {
            let outcome =
                self.tls.decode(&mut self.arrived, &mut plain, &mut self.pool, limit, self.wire_ended);
            assert!(plain.len() <= limit, "{} of {limit}", plain.len());
            self.input.extend(plain.remove_vec(plain.len()).expect("it is there"));
            self.error = outcome.err();
        }
        if self.error.is_none() || self.tls.has_to_send() {
            let left = self.output.len();
            let outcome =
                self.tls.encode(&mut self.output, &mut self.leaving, &mut self.pool, limit, self.finishing);
            assert!(left - self.output.len() <= limit);
            assert!(!self.tls.has_to_send());
            self.error = self.error.take().or(outcome.err());
        }
        before != (self.arrived.len(), self.leaving.len(), self.input.len(), self.output.len())
    }

    pub fn alert_of(&self) -> String {
        self.error.as_ref().map(|error| error.text().to_owned()).unwrap_or_default()
    }
}

/// Moves up to `bytes` from one end to the other.
pub fn carry(from: &mut End, to: &mut End, bytes: usize) -> bool {
    to.arrived.take_from(&mut from.leaving, bytes).expect("memory") > 0
}

pub struct Line {
    pub client: End,
    pub server: End,
}

impl Line {
    pub fn new(client: Tls, server: Tls) -> Self {
        Line { client: End::new(client), server: End::new(server) }
    }

    /// Carries at most `grain` bytes at once either way, and works on at most `limit`, until nothing happens any more.
    pub fn run(&mut self, grain: usize, limit: usize) {
        for _ in 0..10_000_000 {
            let mut moved = self.client.work(limit);
            moved |= carry(&mut self.client, &mut self.server, grain);
            moved |= self.server.work(limit);
            moved |= carry(&mut self.server, &mut self.client, grain);
            if !moved {
                for end in [&self.client, &self.server] {
                    end.arrived.verify();
                    end.leaving.verify();
                }
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub fn connected(client: Tls, server: Tls) -> Self {
        let mut line = Line::new(client, server);
        line.run(usize::MAX, usize::MAX);
        assert_eq!((&line.client.error, &line.server.error), (&None, &None));
        assert!(line.client.tls.is_established() && line.server.tls.is_established());
        line
    }
}

pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}
