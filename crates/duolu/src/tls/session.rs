//! One connection's TLS, as a layer between a stream's bytes and the wire's.
//!
//! It drives rustls's unbuffered connection: records are decrypted where they lie in the wire's chunks, and encrypted bytes
//! go into the wire's, so that an idle connection has no buffer of either kind. (The buffered one keeps 4 KiB for each
//! connection, and copies twice more.)
//!
//! Traps:
//! (a) rustls reads a record in one piece only, and decrypts it there. So nothing is shown to it before the whole record
//!     has come, and then the record is brought into one piece, which mostly it is.
//! (b) What belongs to an unfinished handshake message it must be shown again, as it has changed it, with the next record
//!     behind. That is kept here: the wire buffer is not at hand when something is to be sent meanwhile.
//! (c) In the middle of `decode` it may want to answer, and it must be let: a handshake goes on by both ways in turn. What
//!     it says waits here until `encode` is called.
//! (d) Its fatal alert comes with the next call after the error. One call more, and it would look for the rest of a
//!     handshake message in bytes that it is not shown any more, and panic: so it is asked no longer than it has to say.
//! (e) Built with debug assertions, rustls panics where a peer sends garbage after our close_notify, because it would send an
//!     alert then. Cargo.toml turns them off for it.

use super::explain;
use super::server::take_asked_for;
use duolu_core::buffer::{Buffer, BufferError, Pool};
use duolu_core::stream::{Layer, LayerError};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Side};

const HEADER: usize = 5;
/// The most that a record may hold of plain bytes, and of anything (RFC 8446, 5.1 and 5.2; TLS 1.2 allows 2048 over).
const MOST_PLAIN: usize = 16 * 1024;
const MOST_SEALED: usize = MOST_PLAIN + 2048;
/// What a record may be longer than its plain bytes: header, nonce, content type, tag.
const OVERHEAD: usize = HEADER + 8 + 1 + 16;
/// A handshake message is at most 64 KiB (rustls refuses longer ones), and this with all that its records add.
const MOST_PENDING: usize = 128 * 1024;
/// Shorter pieces of what is to be sent are joined, rather than sent as a record each.
const SHORT: usize = 2 * 1024;

enum Connection {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// TLS on one connection: a layer for [`crate::stream::Layered`], made by [`super::Server::session`] or
/// [`super::Client::session`].
pub struct Tls {
    connection: Connection,
    /// Whom the client asked for.
    name: Option<Box<str>>,
    /// An unfinished handshake message's records: (b).
    pending: Vec<u8>,
    /// Decrypted, and more than there was room for: from `given` on it is still to be given.
    decrypted: Vec<u8>,
    given: usize,
    /// What TLS itself has to say: (c).
    outgoing: Vec<u8>,
    failed: Option<Box<LayerError>>,
    /// Whole records were left in the wire, for want of room.
    left: bool,
    ended: bool,
    finished: bool,
    allow_truncation: bool,
}

impl Tls {
    pub(super) fn client(
        connection: UnbufferedClientConnection,
        server: &str,
        allow_truncation: bool,
    ) -> Self {
        let mut tls = Tls::new(Connection::Client(Box::new(connection)), allow_truncation);
        tls.name = Some(server.into());
        // The hello is ready; whatever this says is said again when it is used.
        let mut nowhere = Buffer::new();
        let _ = tls.digest(
            &mut [],
            &mut Sink { plain: &mut nowhere, pool: &mut Pool::new(0, 0), room: 0, over: &mut Vec::new() },
        );
        tls
    }

    pub(super) fn server(connection: UnbufferedServerConnection, allow_truncation: bool) -> Self {
        Tls::new(Connection::Server(Box::new(connection)), allow_truncation)
    }

    fn new(connection: Connection, allow_truncation: bool) -> Self {
        Tls {
            connection,
            name: None,
            pending: Vec::new(),
            decrypted: Vec::new(),
            given: 0,
            outgoing: Vec::new(),
            failed: None,
            left: false,
            ended: false,
            finished: false,
            allow_truncation,
        }
    }

    pub(super) fn common(&self) -> &CommonState {
        match &self.connection {
            Connection::Client(client) => client,
            Connection::Server(server) => server,
        }
    }

    pub(super) fn side(&self) -> Side {
        match self.connection {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Has rustls look at records, which it changes, and says how many bytes of them it is done with.
    fn digest(&mut self, records: &mut [u8], sink: &mut Sink<'_>) -> Result<usize, Fault> {
        let mut done = 0;
        loop {
            let rest = &mut records[done..];
            let (discard, outcome) = match &mut self.connection {
                Connection::Client(client) => {
                    step(client.process_tls_records(rest), sink, &mut self.outgoing)
                }
                Connection::Server(server) => {
                    step(server.process_tls_records(rest), sink, &mut self.outgoing)
                }
            };
            done += discard;
            match outcome? {
                Step::Again => {}
                Step::Ended => self.ended = true,
                Step::Idle => break,
            }
        }
        if self.name.is_none() {
            self.name = take_asked_for();
        }
        Ok(done)
    }

    /// Shows rustls the record that the first `len` bytes of the wire are.
    fn take_record(&mut self, wire: &mut Buffer, len: usize, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if self.pending.is_empty() {
            let done = self.digest(wire.pull_up_mut(len, sink.pool)?, sink)?;
            self.pending.extend_from_slice(&wire.front()[done..len]); // (b)
            wire.drain_into(len, sink.pool)?;
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        let before = pending.len();
        if before + len > MOST_PENDING {
            return Err(LayerError::protocol("the peer's handshake message is too long").into());
        }
        pending.resize(before + len, 0);
        wire.remove(&mut pending[before..])?;
        let done = self.digest(&mut pending, sink)?;
        if done < pending.len() {
            pending.drain(..done);
            self.pending = pending;
        }
        Ok(())
    }

    /// The end of it, and why.
    fn fail(&mut self, fault: impl Into<Fault>) -> LayerError {
        let error = match fault.into() {
            Fault::Layer(error) => error,
            Fault::Tls(error) => {
                self.say_the_last();
                LayerError::protocol(explain::error(&error, self.side(), self.name()))
            }
        };
        self.failed = Some(Box::new(error.clone()));
        error
    }

    /// (d)
    fn say_the_last(&mut self) {
        let mut nowhere = Buffer::new();
        let mut sink =
            Sink { plain: &mut nowhere, pool: &mut Pool::new(0, 0), room: 0, over: &mut Vec::new() };
        while self.common().wants_write() {
            let (_, outcome) = match &mut self.connection {
                Connection::Client(client) => {
                    step(client.process_tls_records(&mut []), &mut sink, &mut self.outgoing)
                }
                Connection::Server(server) => {
                    step(server.process_tls_records(&mut []), &mut sink, &mut self.outgoing)
                }
            };
            if !matches!(outcome, Ok(Step::Again)) {
                return;
            }
        }
    }

    /// How long the record at the front of the wire is, if all of it is there. What cannot be TLS is an error.
    fn whole_record(&mut self, wire: &Buffer, ended: bool) -> Result<Option<usize>, LayerError> {
        let mut header = [0; HEADER];
        let got = wire.copy_out(0, &mut header)?;
        if got > 0 && !explain::begins_record(&header[..got]) && self.common().is_handshaking() {
            // Told from the first bytes on, if it is known what it is instead.
            let mut first = [0; 16];
            let got = wire.copy_out(0, &mut first)?;
            if let Some(text) = explain::not_tls(&first[..got], self.side(), ended || got == first.len()) {
                return Err(self.fail(LayerError::protocol(text)));
            }
            return Ok(None);
        }
        if got < HEADER {
            return Ok(None);
        }
        let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if len > MOST_SEALED || !explain::begins_record(&header) {
            return Ok(Some(HEADER)); // rustls says what is wrong with it
        }
        Ok((wire.len() >= HEADER + len).then_some(HEADER + len))
    }

    /// Gives what was decrypted earlier, as far as there is room.
    fn give(&mut self, plain: &mut Buffer, room: &mut usize) -> Result<(), LayerError> {
        let rest = &self.decrypted[self.given..];
        let now = rest.len().min(*room);
        plain.append(&rest[..now])?;
        (self.given, *room) = (self.given + now, *room - now);
        if self.given == self.decrypted.len() {
            (self.decrypted, self.given) = (Vec::new(), 0);
        }
        Ok(())
    }

    fn holds_decrypted(&self) -> bool {
        self.given < self.decrypted.len()
    }
}

impl Layer for Tls {
    fn decode(
        &mut self,
        wire: &mut Buffer,
        plain: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
        ended: bool,
    ) -> Result<(), LayerError> {
        let mut room = limit;
        if self.holds_decrypted() {
            self.give(plain, &mut room)?;
        }
        while !self.ended && !self.holds_decrypted() {
            if let Some(error) = &self.failed {
                return Err((**error).clone());
            }
            let Some(len) = self.whole_record(wire, ended)? else {
                self.left = false;
                return if ended { self.wire_ended(wire) } else { Ok(()) };
            };
            if room == 0 && self.is_established() {
                self.left = true;
                return Ok(());
            }
            let mut decrypted = Vec::new();
            let mut sink = Sink { plain: &mut *plain, pool: &mut *pool, room, over: &mut decrypted };
            let taken = self.take_record(wire, len, &mut sink);
            room = sink.room;
            self.decrypted = decrypted;
            if let Err(fault) = taken {
                self.fail(fault);
            }
        }
        if self.ended {
            wire.drain(usize::MAX)?; // nothing after close_notify means anything
            self.left = false;
        }
        Ok(())
    }

    fn encode(
        &mut self,
        plain: &mut Buffer,
        wire: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
        finish: bool,
    ) -> Result<(), LayerError> {
        wire.append_vec(std::mem::take(&mut self.outgoing))?;
        if self.failed.is_some() || self.finished || !self.is_established() {
            return Ok(());
        }
        let mut room = limit;
        while room > 0 && !plain.is_empty() {
            let most = room.min(plain.len()).min(MOST_PLAIN);
            if plain.front().len() < most.min(SHORT) {
                plain.pull_up_mut(most, pool)?; // short pieces, or a file
            }
            let piece = plain.front().len().min(most);
            self.seal(Some(&plain.front()[..piece]), wire, pool).map_err(|fault| self.fail(fault))?;
            plain.drain_into(piece, pool)?;
            room -= piece;
        }
        if finish && plain.is_empty() {
            self.finished = true;
            self.seal(None, wire, pool).map_err(|fault| self.fail(fault))?;
        }
        Ok(())
    }

    fn is_established(&self) -> bool {
        !self.common().is_handshaking()
    }

    fn holds_plain(&self) -> bool {
        self.holds_decrypted() || self.left
    }

    fn has_to_send(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn has_ended(&self) -> bool {
        self.ended && !self.holds_decrypted()
    }
}

impl Tls {
    /// Nothing more comes, and what there is is no whole record.
    fn wire_ended(&mut self, wire: &Buffer) -> Result<(), LayerError> {
        if self.allow_truncation && self.is_established() && wire.is_empty() {
            self.ended = true;
            return Ok(());
        }
        let text = explain::truncated(self.side(), self.is_established());
        Err(self.fail(LayerError::protocol(text)))
    }

    /// One record of `plain` behind what is in the wire; `None`: the end.
    fn seal(&mut self, plain: Option<&[u8]>, wire: &mut Buffer, pool: &mut Pool) -> Result<(), Fault> {
        let mut room = plain.map_or(0, <[u8]>::len) + OVERHEAD;
        loop {
            let into = wire.spare_pooled(room, pool)?;
            let outcome = match &mut self.connection {
                Connection::Client(client) => {
                    write(client.process_tls_records(&mut self.pending), plain, into, &mut self.outgoing)
                }
                Connection::Server(server) => {
                    write(server.process_tls_records(&mut self.pending), plain, into, &mut self.outgoing)
                }
            };
            match outcome? {
                Written::Bytes(bytes) => return Ok(wire.commit(bytes)?),
                Written::Needs(bytes) => room = bytes,
                // What it has to say itself comes first.
                Written::Nothing => wire.append_vec(std::mem::take(&mut self.outgoing))?,
            }
        }
    }
}

/// Where decrypted bytes go: as many as there is room for to the program, the others are kept.
struct Sink<'a> {
    plain: &'a mut Buffer,
    pool: &'a mut Pool,
    room: usize,
    over: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), BufferError> {
        let (now, later) = bytes.split_at(bytes.len().min(self.room));
        self.plain.append_pooled(now, self.pool)?;
        self.room -= now.len();
        self.over.extend_from_slice(later);
        Ok(())
    }
}

/// What can end a session.
enum Fault {
    Tls(rustls::Error),
    Layer(LayerError),
}

impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        Fault::Tls(error)
    }
}

impl From<LayerError> for Fault {
    fn from(error: LayerError) -> Self {
        Fault::Layer(error)
    }
}

impl From<BufferError> for Fault {
    fn from(error: BufferError) -> Self {
        Fault::Layer(error.into())
    }
}

/// How a look at rustls ended.
enum Step {
    Again,
    /// It waits for the peer, or for something to send.
    Idle,
    Ended,
}

/// What rustls has to say when it is shown records: how many bytes of them it is done with, and how it goes on.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    sink: &mut Sink<'_>,
    outgoing: &mut Vec<u8>,
) -> (usize, Result<Step, Fault>) {
    let mut discard = status.discard;
    let outcome = (|| {
        Ok(match status.state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    sink.take(record.payload)?;
                }
                Step::Again
            }
            ConnectionState::EncodeTlsData(mut data) => {
                say(&mut data, outgoing)?;
                Step::Again
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done(); // (c)
                Step::Again
            }
            ConnectionState::PeerClosed => Step::Ended,
            _ => Step::Idle,
        })
    })();
    (discard, outcome)
}

/// A message of TLS's own to the end of `outgoing`.
fn say<D>(data: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let before = outgoing.len();
    loop {
        match data.encode(&mut outgoing[before..]) {
            Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(()),
            Err(EncodeError::InsufficientSize(needs)) => outgoing.resize(before + needs.required_size, 0),
        }
    }
}

/// How an attempt to seal a record ended.
enum Written {
    Bytes(usize),
    Needs(usize),
    Nothing,
}

/// Has rustls seal `plain`, or its own end, if nothing of its own comes first.
fn write<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: Option<&[u8]>,
    into: &mut [u8],
    outgoing: &mut Vec<u8>,
) -> Result<Written, rustls::Error> {
    match status.state? {
        ConnectionState::WriteTraffic(mut traffic) => {
            let written = match plain {
                Some(plain) => traffic.encrypt(plain, into),
                None => traffic.queue_close_notify(into),
            };
            match written {
                Ok(bytes) => Ok(Written::Bytes(bytes)),
                Err(EncryptError::InsufficientSize(needs)) => Ok(Written::Needs(needs.required_size)),
                Err(EncryptError::EncryptExhausted) => Err(rustls::Error::EncryptError),
            }
        }
        ConnectionState::EncodeTlsData(mut data) => say(&mut data, outgoing).map(|()| Written::Nothing),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Written::Nothing)
        }
        _ => Err(rustls::Error::HandshakeNotComplete),
    }
}
