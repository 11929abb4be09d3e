//! A result as the page reads it. It is read from JSON, not from compare's own types: results of older and newer
//! versions, of other tools and cut ones are to be shown as well, so that every field may be missing.

use crate::lang::Lang;
use crate::walls::facts::Facts;
use serde_json::{Map, Value};

/// A figure of a cell, by its name in the JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// Messages answered per second.
    Rate,
    /// Half of the answers came within.
    P50,
    /// 99 of 100 answers.
    P99,
    /// 999 of 1000 answers.
    P999,
    /// The server's CPU time for a message.
    Cpu,
    /// The server's memory for a connection.
    Memory,
}

impl Figure {
    /// The field.
    pub const fn field(self) -> &'static str {
        match self {
            Figure::Rate => "rate",
            Figure::P50 => "p50_us",
            Figure::P99 => "p99_us",
            Figure::P999 => "p999_us",
            Figure::Cpu => "server_cpu_us_per_msg",
            Figure::Memory => "server_bytes_per_conn",
        }
    }

    /// Whether more of it is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Figure::Rate)
    }

    /// How it is written.
    pub const fn form(self) -> fn(f64) -> String {
        match self {
            Figure::Rate => super::figures::rate,
            Figure::Memory => super::figures::bytes,
            _ => super::figures::time,
        }
    }
}

/// A wall as the result tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wall {
    /// Its stable name.
    pub name: String,
    /// What was read.
    pub evidence: String,
    /// What moves it.
    pub fix: String,
    /// Which sentences those are, so that they can be said in the other language.
    case: String,
    facts: Facts,
}

impl Wall {
    /// An object with a name, or the name alone.
    pub fn read(value: &Value) -> Option<Wall> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = value.as_str().map_or_else(|| text("name"), str::to_owned);
        let facts = value.get("facts").map(Facts::of).unwrap_or_default();
        let wall = Wall { name, evidence: text("evidence"), fix: text("fix"), case: text("case"), facts };
        (!wall.name.is_empty()).then_some(wall)
    }

    /// Evidence and fix in a language. `None`: only in English, as the result has them: it is an older one, or another
    /// version's, or these words are nobody else's.
    pub fn say(&self, lang: Lang) -> Option<(String, String)> {
        match lang {
            Lang::En => Some((self.evidence.clone(), self.fix.clone())),
            Lang::Zh => crate::walls::say(lang, &self.case, &self.facts),
        }
    }
}

/// What the connections did: one ladder for each.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Work {
    /// `all`, `idle` or `churn`, or what the result calls it.
    pub mix: String,
    /// The service.
    pub service: Option<String>,
    /// Bytes of a message.
    pub payload: Option<u64>,
}

/// One model at one rung.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The model, or the name of the user's own server.
    pub model: String,
    /// The connections asked for.
    pub connections: u64,
    /// The connections that stood.
    pub established: u64,
    /// Everything that went wrong.
    pub errors: u64,
    /// What ended the line here.
    pub wall: Option<Wall>,
    /// What bounded the rate.
    pub limited_by: Option<Wall>,
    /// What its connections did.
    pub work: Work,
    fields: Map<String, Value>,
}

impl Cell {
    fn read(value: &Value, asked: &Value) -> Option<Cell> {
        let fields = value.as_object()?.clone();
        let connections = fields.get("connections").and_then(count)?;
        let model =
            fields.get("model").and_then(Value::as_str).filter(|name| !name.trim().is_empty())?.to_owned();
        let number = |field: &str| fields.get(field).and_then(count).unwrap_or(0);
        Some(Cell {
            model,
            connections,
            established: number("established"),
            errors: number("errors"),
            wall: fields.get("wall").and_then(Wall::read),
            limited_by: fields.get("limited_by").and_then(Wall::read),
            work: Work::read(value, asked),
            fields,
        })
    }

    /// A figure that is there and makes sense.
    pub fn figure(&self, figure: Figure) -> Option<f64> {
        self.number(figure.field()).filter(|value| *value >= 0.0)
    }

    /// Any other number.
    pub fn number(&self, field: &str) -> Option<f64> {
        self.fields.get(field)?.as_f64().filter(|value| value.is_finite())
    }

    /// Any other field.
    pub fn field(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// How often it was measured.
    pub fn repeats(&self) -> u64 {
        self.fields.get("repeats").and_then(count).unwrap_or(1)
    }

    /// (highest - lowest) / median of a figure over the repeats, where there was more than one.
    pub fn spread(&self, figure: Figure) -> Option<f64> {
        let field = figure.field();
        let own = self.fields.get("spreads").and_then(|spreads| spreads.get(field)).and_then(Value::as_f64);
        let own = own.or_else(|| (figure == Figure::Rate).then(|| self.number("spread")).flatten());
        own.filter(|spread| *spread >= 0.0 && self.repeats() > 1)
    }

    /// The lowest and highest value of a figure over the repeats: from the runs themselves where they are there.
    pub fn range(&self, figure: Figure) -> Option<(f64, f64)> {
        let spread = self.spread(figure)?;
        let runs = self.fields.get("runs").and_then(Value::as_array).into_iter().flatten();
        let values: Vec<f64> =
            runs.filter_map(|run| run.get(figure.field())?.as_f64()).filter(|v| *v > 0.0).collect();
        if values.len() > 1 {
            return Some((
                values.iter().copied().fold(f64::MAX, f64::min),
                values.into_iter().fold(0.0, f64::max),
            ));
        }
        let value = self.figure(figure)?;
        Some((value * (1.0 - spread / 2.0).max(0.05), value * (1.0 + spread / 2.0)))
    }

    /// Whether the loader was the limit: the rate is a lower bound.
    pub fn loader_limited(&self) -> bool {
        self.fields.get("loader_limited").and_then(Value::as_bool).unwrap_or(false)
            || self.limited_by.as_ref().is_some_and(|limit| limit.name == crate::walls::names::LOADER)
    }

    /// Whether one connection at a time exchanged, chosen at random: its latencies compare only with their like.
    pub fn sampled(&self) -> bool {
        self.fields.get("sampled").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The latency distribution: (share of answers, microseconds), rising. From a list of percentiles, or a whole
    /// histogram, or else the percentiles that every result has.
    pub fn percentiles(&self) -> Vec<(f64, f64)> {
        let mut curve = self.listed_percentiles();
        if curve.is_empty() {
            curve = self.fields.get("histogram").and_then(Value::as_str).map(decode).unwrap_or_default();
        }
        if curve.is_empty() {
            let named = [
                ("p50_us", 0.5),
                ("p90_us", 0.9),
                ("p99_us", 0.99),
                ("p999_us", 0.999),
                ("p9999_us", 0.9999),
            ];
            curve = named.iter().filter_map(|(field, share)| Some((*share, self.number(field)?))).collect();
        }
        curve.retain(|(share, us)| (0.0..1.0).contains(share) && *us > 0.0);
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        curve
    }

    /// `[[0.5, 120.0], ...]` or `[{"q": 0.5, "us": 120.0}, ...]`; shares above 1 are per cent.
    fn listed_percentiles(&self) -> Vec<(f64, f64)> {
        let list = self.fields.get("percentiles").and_then(Value::as_array);
        let pair = |entry: &Value| match entry {
            Value::Array(pair) => Some((pair.first()?.as_f64()?, pair.get(1)?.as_f64()?)),
            entry => Some((entry.get("q")?.as_f64()?, entry.get("us")?.as_f64()?)),
        };
        let mut curve: Vec<(f64, f64)> = list.into_iter().flatten().filter_map(pair).collect();
        if curve.iter().any(|(share, _)| *share > 1.0) {
            curve.iter_mut().for_each(|(share, _)| *share /= 100.0);
        }
        curve
    }

    /// The connections that each worker had.
    pub fn accepted(&self) -> Vec<u64> {
        let list = self.fields.get("worker_connections").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(count).collect()
    }
}

/// The curve of an HDR histogram in its V2 encoding, base64, of nanoseconds as the loader writes it.
fn decode(text: &str) -> Vec<(f64, f64)> {
    use base64::Engine;
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) else { return Vec::new() };
    let decoded =
        hdrhistogram::serialization::Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice());
    let Ok(histogram) = decoded else { return Vec::new() };
    if histogram.is_empty() {
        return Vec::new();
    }
    let mut curve = Vec::new();
    // Four points for each halving of what is left, as far as there are answers that can tell.
    for step in 0..64 {
        let left = 0.5_f64.powf(f64::from(step) / 4.0);
        if left * (histogram.len() as f64) < 1.0 {
            break;
        }
        curve.push((1.0 - left, histogram.value_at_quantile(1.0 - left) as f64 / 1e3));
    }
    curve
}

impl Work {
    fn read(cell: &Value, asked: &Value) -> Work {
        let find =
            |field: &str| cell.get(field).or_else(|| asked.get(field)).filter(|value| !value.is_null());
        let active = find("active").and_then(count);
        let churn = find("churn").and_then(Value::as_bool).unwrap_or(false);
        let mix = find("mix").and_then(Value::as_str).map(str::to_owned);
        let mix = mix.unwrap_or_else(|| match (churn, active) {
            (true, _) => "churn".to_owned(),
            (false, Some(_)) => "idle".to_owned(),
            (false, None) => "all".to_owned(),
        });
        let service = find("service").and_then(Value::as_str).map(str::to_owned);
        Work { mix, service, payload: find("payload_bytes").and_then(count) }
    }
}

/// A whole result.
#[derive(Clone, Debug)]
pub struct Run {
    /// The cells, in the order of the file.
    pub cells: Vec<Cell>,
    /// Cells that could not be read, because they lack their model or their connections.
    pub unreadable: usize,
    /// Whether everything that was planned was measured.
    pub complete: bool,
    /// Whether the user ended it.
    pub interrupted: bool,
    /// Whether the file was cut short.
    pub cut: bool,
    /// The machine.
    pub machine: Value,
    /// What was asked for.
    pub asked: Value,
    /// Models that could not run, and why.
    pub unavailable: Vec<(String, String)>,
    /// How the figures were taken.
    pub methods: Vec<(String, String)>,
}

impl Run {
    /// A result that is at hand, whole.
    pub fn of(result: &impl serde::Serialize) -> Run {
        Run::read(&serde_json::to_value(result).unwrap_or_default(), false)
    }

    /// Reads a result. `cut` says whether the file ended too early.
    pub fn read(value: &Value, cut: bool) -> Run {
        let part = |field: &str| value.get(field).cloned().unwrap_or(Value::Null);
        let asked = part("asked");
        let results = value.get("results").and_then(Value::as_array);
        let all: Vec<Option<Cell>> =
            results.into_iter().flatten().map(|cell| Cell::read(cell, &asked)).collect();
        let unreadable = all.iter().filter(|cell| cell.is_none()).count();
        Run {
            cells: all.into_iter().flatten().collect(),
            unreadable,
            complete: value.get("complete").and_then(Value::as_bool).unwrap_or(!cut) && !cut,
            interrupted: value.get("interrupted").and_then(Value::as_bool).unwrap_or(false),
            cut,
            machine: part("machine"),
            asked,
            unavailable: pairs(value.get("unavailable")),
            methods: pairs(value.get("methods")),
        }
    }

    /// The kinds of work, in the order of the file.
    pub fn works(&self) -> Vec<&Work> {
        let mut works: Vec<&Work> = Vec::new();
        for cell in &self.cells {
            if !works.contains(&&cell.work) {
                works.push(&cell.work);
            }
        }
        works
    }

    /// The models' names, in the order of the file.
    pub fn models(&self) -> Vec<&str> {
        let mut models: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !models.contains(&cell.model.as_str()) {
                models.push(&cell.model);
            }
        }
        models
    }

    /// The rungs that were climbed with some work, rising.
    pub fn rungs(&self, work: &Work) -> Vec<u64> {
        let mut rungs: Vec<u64> =
            self.cells.iter().filter(|cell| cell.work == *work).map(|cell| cell.connections).collect();
        rungs.sort_unstable();
        rungs.dedup();
        rungs
    }

    /// A model's cells with some work, by rung.
    pub fn line(&self, work: &Work, model: &str) -> Vec<&Cell> {
        let mut line: Vec<&Cell> =
            self.cells.iter().filter(|cell| cell.work == *work && cell.model == model).collect();
        line.sort_by_key(|cell| cell.connections);
        line
    }

    /// How much of the processors others took (`field`) at most, in cells where it was at least so many cores; and in
    /// how many cells it was.
    pub fn disturbed(&self, field: &str, least: f64) -> Option<(f64, usize)> {
        let used: Vec<f64> =
            self.cells.iter().filter_map(|cell| cell.number(field)).filter(|used| *used >= least).collect();
        let most = used.iter().copied().fold(0.0, f64::max);
        (!used.is_empty()).then_some((most, used.len()))
    }

    /// Whether server and loader had to share a processor.
    pub fn shared(&self) -> bool {
        self.machine.pointer("/placement/shared").and_then(Value::as_bool).unwrap_or(false)
    }
}

fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries
        .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

/// A count, also where another program wrote it as `1000.0`.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|n| (0.0..1e15).contains(n)).map(|n| n as u64))
}
