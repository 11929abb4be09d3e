//! What is asked of every server: the protocol, and the blocks of results, one for each mix and payload.

use crate::failure::Failure;
use crate::units;
use crate::walls::grouped;
use serde::Serialize;

/// What loader and servers say to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Speak {
    /// What is sent comes back
    Echo,
    /// GET over HTTP/1.1 with keep-alive
    Http,
    /// memcached's text protocol; no model of ours speaks it
    Memcached,
}

impl Speak {
    /// The name on the command line, of `serve` and `load` as well.
    pub fn name(self) -> &'static str {
        match self {
            Speak::Echo => "echo",
            Speak::Http => "http",
            Speak::Memcached => "memcached",
        }
    }
}

/// What the connections of a rung do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mix {
    /// Every connection talks all the time.
    #[default]
    All,
    /// Some talk, the rest are held: what most servers are like.
    Idle,
    /// A connection for each request.
    Churn,
}

impl Mix {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Mix::All => "all",
            Mix::Idle => "idle",
            Mix::Churn => "churn",
        }
    }
}

/// A block of results: every contender up the whole ladder with one mix and one payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// What the connections do.
    pub mix: Mix,
    /// Bytes of a message; `None` where the protocol decides.
    pub payload: Option<u64>,
    /// How many talk in [`Mix::Idle`], where the user said.
    pub active: Option<u64>,
}

impl Block {
    /// How many of `connections` talk. Mostly idle is a tenth of them, at most 100: the same load on every higher
    /// rung, so that only the idle ones grow.
    pub fn active(&self, connections: u64) -> u64 {
        match self.mix {
            Mix::Idle => self.active.unwrap_or((connections / 10).min(100)).clamp(1, connections),
            Mix::All | Mix::Churn => connections,
        }
    }

    /// What it is, in words.
    pub fn title(&self, speak: &str) -> String {
        let bytes = self.payload.map_or(String::new(), |bytes| {
            format!(" of {} byte{}", grouped(bytes), if bytes == 1 { "" } else { "s" })
        });
        let messages = match (self.mix, self.active) {
            (Mix::Churn, _) => "a connection for each request".to_owned(),
            (Mix::Idle, Some(active)) => format!("{} connections active, the rest idle", grouped(active)),
            (Mix::Idle, None) => "a tenth active (at most 100 connections), the rest idle".to_owned(),
            (Mix::All, _) => "every connection active".to_owned(),
        };
        format!("{speak}{bytes}, {messages}")
    }
}

/// What the command line says about blocks.
pub struct Wanted<'a> {
    /// `--speak`.
    pub speak: Speak,
    /// `--mix`.
    pub mix: Option<&'a str>,
    /// `--active`.
    pub active: Option<u64>,
    /// `--churn`.
    pub churn: bool,
    /// `--payload`.
    pub payload: Option<&'a str>,
}

/// The blocks, in the order in which they run.
///
/// # Errors
/// A mix or payload that does not exist, or that does not go with the others.
pub fn blocks(wanted: &Wanted<'_>) -> Result<Vec<Block>, Failure> {
    let mixes = mixes(wanted)?;
    let payloads = payloads(wanted)?;
    let with = |mix: Mix| {
        let active = wanted.active.filter(|_| mix == Mix::Idle);
        payloads.iter().map(move |&payload| Block { mix, payload, active }).collect::<Vec<_>>()
    };
    Ok(mixes.into_iter().flat_map(with).collect())
}

fn mixes(wanted: &Wanted<'_>) -> Result<Vec<Mix>, Failure> {
    if wanted.active == Some(0) {
        return Err(Failure::usage("--active: at least one connection has to talk"));
    }
    let Some(list) = wanted.mix else {
        return Ok(vec![match (wanted.churn, wanted.active) {
            (true, _) => Mix::Churn,
            (false, Some(_)) => Mix::Idle,
            (false, None) => Mix::All,
        }]);
    };
    let mut found = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let known = [Mix::All, Mix::Idle, Mix::Churn].into_iter().find(|mix| mix.name() == name);
        let Some(mix) = known else {
            return Err(Failure::usage(format!(
                "--mix: there is no '{name}'; all (every connection active), idle (mostly idle), churn (a connection for each request)"
            )));
        };
        if !found.contains(&mix) {
            found.push(mix);
        }
    }
    if found.is_empty() {
        return Err(Failure::usage("--mix: none named; write --mix all,idle,churn"));
    }
    if wanted.active.is_some() && !found.contains(&Mix::Idle) {
        return Err(Failure::usage("--active belongs to the idle mix: write --mix idle, or leave --mix out"));
    }
    Ok(found)
}

fn payloads(wanted: &Wanted<'_>) -> Result<Vec<Option<u64>>, Failure> {
    let Some(list) = wanted.payload else {
        return Ok(vec![(wanted.speak != Speak::Http).then_some(64)]);
    };
    if wanted.speak == Speak::Http {
        return Err(Failure::usage("--payload: an answer over http has its own size; leave it out"));
    }
    let mut found = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let bytes = units::parse_size(text).map_err(|error| Failure::usage(format!("--payload: {error}")))?;
        if !(1..=1 << 20).contains(&bytes) {
            return Err(Failure::usage("--payload: from 1 byte to 1MiB"));
        }
        if !found.contains(&Some(bytes)) {
            found.push(Some(bytes));
        }
    }
    if found.is_empty() {
        return Err(Failure::usage("--payload: no size; write --payload 64,16KiB"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(mix: Option<&'a str>, payload: Option<&'a str>) -> Wanted<'a> {
        Wanted { speak: Speak::Echo, mix, active: None, churn: false, payload }
    }

    #[test]
    fn every_mix_meets_every_payload() {
        let all = blocks(&wanted(Some("all,idle,churn,all"), Some("64,16KiB"))).unwrap();
        let seen: Vec<_> = all.iter().map(|block| (block.mix.name(), block.payload.unwrap())).collect();
        let expected =
            [("all", 64), ("all", 16_384), ("idle", 64), ("idle", 16_384), ("churn", 64), ("churn", 16_384)];
        assert_eq!(seen, expected);
        assert_eq!(blocks(&wanted(None, None)).unwrap().len(), 1);
        let some = Wanted { active: Some(7), ..wanted(None, None) };
        assert_eq!(blocks(&some).unwrap()[0], Block { mix: Mix::Idle, payload: Some(64), active: Some(7) });
        let http = Wanted { speak: Speak::Http, churn: true, ..wanted(None, None) };
        assert_eq!(blocks(&http).unwrap()[0], Block { mix: Mix::Churn, payload: None, active: None });
    }

    #[test]
    fn mostly_idle_is_a_tenth_and_at_most_a_hundred() {
        let block = blocks(&wanted(Some("idle"), None)).unwrap()[0];
        assert_eq!([1, 9, 50, 1_000, 10_000].map(|rung| block.active(rung)), [1, 1, 5, 100, 100]);
        let block = Block { active: Some(500), ..block };
        assert_eq!([100, 10_000].map(|rung| block.active(rung)), [100, 500]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let sentence = |wanted: &Wanted<'_>| blocks(wanted).unwrap_err().message().to_owned();
        assert!(sentence(&wanted(Some("some"), None)).contains("there is no 'some'"));
        assert!(sentence(&wanted(None, Some("64,2MiB"))).contains("1MiB"));
        assert!(sentence(&wanted(None, Some(","))).contains("no size"));
        let busy = Wanted { active: Some(5), ..wanted(Some("all"), None) };
        assert!(sentence(&busy).contains("idle mix"));
        let http = Wanted { speak: Speak::Http, ..wanted(None, Some("64")) };
        assert!(sentence(&http).contains("own size"));
    }
}
