//! Where an experiment takes place: a network, a record of what was done, and what was measured.
//!
//! An experiment says what it does through [`Stage::call`], so that it is recorded with what it caused: the packets
//! that were seen after it and the states that it left both ends in. What it finds it tells [`Stage::equal`] and
//! [`Stage::check`].

use super::experiment::Fact;
use super::ladder::{Arrow, Kind, What, Who};
use super::packet::Segment;
use super::picture::{Picture, Table};
use super::said::Said;
use super::scene::Scene;
pub use super::scene::Seen;
pub use super::shown::{Shown, errno_name, text};
use super::states::{State, on_port_there, state};
use crate::lang::Lang;
use duolu_sys::capture::{Capture, Ways};
use duolu_sys::netns;
use duolu_sys::tcp_diag::Diag;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an experiment waits for something that must come: on the loopback it comes at once; this is for a machine
/// that is busy elsewhere.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Where an experiment takes place.
#[derive(Debug)]
pub struct Stage {
    /// `None`: the machine's own loopback, whose packets we do not see.
    capture: Option<Capture>,
    /// Asks about the server's sockets, where they are in another network than ours.
    server: Option<Diag>,
    facts: Vec<Fact>,
    pictures: Vec<Box<dyn Picture>>,
    scene: Option<Scene>,
}

impl Stage {
    /// A stage for one experiment, in a new network if `own` (then one must have been entered before).
    ///
    /// # Errors
    /// The network is refused.
    pub fn new(own: bool) -> io::Result<Self> {
        let capture = if own {
            netns::enter_next_network()?;
            Some(Capture::open(Ways::Arriving)?)
        } else {
            None
        };
        Ok(Stage { capture, server: None, facts: Vec::new(), pictures: Vec::new(), scene: None })
    }

    /// Whether the network is the experiment's own: it may be changed, and its packets are seen.
    pub fn has_own_network(&self) -> bool {
        self.capture.is_some()
    }

    /// What was measured and what it looked like.
    pub fn finish(mut self) -> (Vec<Fact>, Vec<Box<dyn Picture>>) {
        self.end_scene();
        (self.facts, self.pictures)
    }

    /// Says what was measured and what was expected: it holds if they are equal.
    pub fn equal<T: Display + PartialEq>(&mut self, what: impl Into<Said>, measured: T, expected: T) {
        self.same(what, Said::same(measured.to_string()), Said::same(expected.to_string()));
    }

    /// The same in words.
    pub fn same(&mut self, what: impl Into<Said>, measured: Said, expected: Said) {
        let holds = measured == expected;
        let instead_of = (!holds).then_some(expected);
        self.facts.push(Fact { what: what.into(), measured, instead_of, holds });
    }

    /// Says what was measured in words that carry the figures, and whether that is as expected.
    pub fn check(&mut self, what: impl Into<Said>, holds: bool) {
        let (what, measured) = (what.into(), Said::same(""));
        self.facts.push(Fact { what, measured, instead_of: None, holds });
    }

    /// Adds a picture.
    pub fn show(&mut self, picture: impl Picture + 'static) {
        self.end_scene();
        self.pictures.push(Box::new(picture));
    }

    /// Adds a table; the first row are the headings.
    pub fn table(&mut self, title: impl Into<Said>, rows: Vec<Vec<Said>>) {
        self.show(Table { title: title.into(), rows });
    }

    /// From now on the ladder shows what this capture sees, such as the packets of a cable, and asks there about the
    /// server's sockets.
    pub fn look_at(&mut self, capture: Capture, server: Diag) {
        self.capture = Some(capture);
        self.server = Some(server);
    }

    /// Forgets the ladder: others show the same.
    pub fn drop_scene(&mut self) {
        self.scene = None;
    }

    /// Begins a ladder: what follows is recorded in it.
    pub fn scene(&mut self, title: impl Into<Said>) {
        self.end_scene();
        self.forget_packets();
        self.scene = Some(Scene::new(title.into(), self.capture.is_some()));
    }

    /// Ends the ladder.
    pub fn end_scene(&mut self) {
        self.settle();
        if let Some(scene) = self.scene.take() {
            self.pictures.push(Box::new(scene.ladder));
        }
    }

    /// From now on the server's acknowledgements in the ladder tell its window.
    pub fn show_windows(&mut self) {
        if let Some(scene) = &mut self.scene {
            scene.windows = true;
        }
    }

    /// Calls, and records the call with its result, then the packets it caused and the states it left.
    pub fn call<T: Shown>(
        &mut self,
        who: Who,
        name: impl Into<String>,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.drain();
        let result = call();
        let (shown, failed) = match &result {
            Ok(value) => (value.shown(), false),
            Err(error) => (errno_name(error), true),
        };
        self.record(What::Call { who, name: name.into(), result: shown, failed });
        self.settle();
        result
    }

    /// Sends, records the call, and where packets are not seen the data that must have gone.
    pub fn send(&mut self, who: Who, socket: impl AsFd, data: &[u8]) -> io::Result<usize> {
        let name = match std::str::from_utf8(data) {
            Ok(text) if text.len() <= 16 => format!("write({text:?})"),
            _ => format!("write({} bytes)", data.len()),
        };
        let sent = self.call(who, name, || duolu_sys::socket::send(socket, data));
        if let (Ok(bytes), false) = (&sent, self.has_own_network()) {
            let label = Said::same(format!("{bytes} B"));
            self.record(What::Packet(Arrow { from: who, label, kind: Kind::Data, lost: false, times: 1 }));
        }
        sent
    }

    /// Closes a descriptor and records it.
    pub fn close(&mut self, who: Who, socket: impl Into<OwnedFd>) {
        let socket = socket.into();
        let name = format!("close(fd {})", socket.as_raw_fd());
        let _ = self.call(who, name, || {
            drop(socket);
            Ok(())
        });
    }

    /// What was seen so far of the segments of one end; nothing, where packets are not seen.
    pub fn seen(&mut self, who: Who) -> Seen {
        self.settle();
        self.scene.as_ref().map_or_else(Seen::default, |scene| scene.seen[who as usize])
    }

    /// Writes a remark into the ladder.
    pub fn remark(&mut self, who: Option<Who>, remark: impl Into<Said>) {
        self.settle();
        self.record(What::Note(who, remark.into()));
    }

    /// Which connection the ladder is about, by its two ends.
    pub fn watch(&mut self, client: SocketAddr, server: SocketAddr) {
        if let Some(scene) = &mut self.scene {
            scene.ends = Some([client, server]);
            scene.ladder.ports = [Some(client.port()), Some(server.port())];
        }
        self.settle();
    }

    /// From now on what arrives at `who` is dropped before its TCP, or not any more. Only says so: see [`super::tcp::kit`].
    pub fn set_deaf(&mut self, who: Who, deaf: bool) {
        self.drain();
        if let Some(scene) = &mut self.scene {
            scene.deaf[who as usize] = deaf;
        }
    }

    /// The state of one end of the watched connection.
    pub fn state(&mut self, who: Who) -> State {
        let Some(ends) = self.scene.as_ref().and_then(|scene| scene.ends) else { return State::Closed };
        let (local, remote) = (ends[who as usize], ends[who.other() as usize]);
        match (&mut self.server, who) {
            (Some(diag), Who::Server) => on_port_there(diag, local.port())
                .iter()
                .find(|socket| socket.local == local && socket.remote == remote)
                .map_or(State::Closed, |socket| socket.state),
            _ => state(local, remote),
        }
    }

    /// Waits until one end is in `wanted`, but no longer than [`PATIENCE`]; gives the state it is in then.
    pub fn wait_state(&mut self, who: Who, wanted: State) -> State {
        self.until(PATIENCE, |stage| stage.state(who) == wanted);
        self.settle();
        self.state(who)
    }

    /// Waits until the ends are in these states, and says whether they came to be.
    pub fn reaches(&mut self, when: impl Into<Said>, wanted: &[(Who, State)]) {
        for &(who, state) in wanted {
            self.wait_state(who, state);
        }
        let told = |lang: Lang, states: &[(Who, State)]| {
            let parts: Vec<String> =
                states.iter().map(|(who, state)| format!("{} {state}", who.said().pick(lang))).collect();
            lang.list(&parts)
        };
        let found: Vec<(Who, State)> = wanted.iter().map(|&(who, _)| (who, self.state(who))).collect();
        let holds = found == wanted;
        let both = |states: &[(Who, State)]| Said::from((told(Lang::En, states), told(Lang::Zh, states)));
        self.facts.push(Fact {
            what: when.into(),
            measured: both(&found),
            instead_of: (!holds).then(|| both(wanted)),
            holds,
        });
    }

    /// Waits until `done`, but no longer than `most`. Whether it is.
    pub fn until(&mut self, most: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = Instant::now() + most;
        loop {
            self.drain();
            if done(self) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets what the last call caused happen: on the loopback it is done when the call returns, unless the machine is
    /// busy. Then records the states, which belong below the packets that made them.
    pub fn settle(&mut self) {
        if self.scene.is_none() {
            return;
        }
        let mut quiet = 0;
        for _ in 0..40 {
            std::thread::sleep(Duration::from_micros(700));
            quiet = if self.drain() { 0 } else { quiet + 1 };
            if quiet < 2 {
                continue;
            }
            let known = self.scene.as_ref().is_some_and(|scene| scene.ends.is_some());
            let now = known.then(|| [Who::Client, Who::Server].map(|who| self.state(who)));
            if self.drain() {
                quiet = 0; // it went on meanwhile
                continue;
            }
            if let (Some(now), Some(scene)) = (now, &mut self.scene) {
                scene.enter(now);
            }
            return;
        }
    }

    /// Takes in the packets that have arrived. Whether there were any.
    fn drain(&mut self) -> bool {
        let (Some(capture), Some(scene)) = (&self.capture, &mut self.scene) else { return false };
        let mut buffer = [0; 256];
        let mut any = false;
        while let Ok(Some(length)) = capture.next(&mut buffer) {
            any = true;
            let seen = &buffer[..length.min(buffer.len())];
            if let Some(segment) = Segment::parse(seen) {
                scene.take(&segment);
            }
        }
        any
    }

    fn forget_packets(&mut self) {
        if let Some(capture) = &self.capture {
            while let Ok(Some(_)) = capture.next(&mut []) {}
        }
    }

    fn record(&mut self, what: What) {
        if let Some(scene) = &mut self.scene {
            scene.ladder.push(scene.began.elapsed(), what);
        }
    }
}
