//! The result, for people and as JSON.

use super::args::{Mode, Output, Plan};
use super::conduct::Outcome;
use super::crowd::Account;
use super::dialogue::Speak;
use super::errors::Kind;
use super::tally::{Tally, max_us, quantile_us};
use super::verdict::Loader;
use crate::failure::Failure;
use crate::terminal::{self, paint, stdout_color};
use crate::walls::memory::gigabytes;
use crate::walls::{Wall, grouped};
use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde::Serialize;
use std::collections::BTreeMap;

/// `load --json`. Times are microseconds unless the name says otherwise; `null` where nothing was recorded.
#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    target: &'a str,
    speak: &'a str,
    mode: &'a str,
    connections: usize,
    active: usize,
    threads: usize,
    payload_bytes: usize,
    /// Connections the server still held at the end.
    established: usize,
    messages: u64,
    bytes: u64,
    errors: BTreeMap<String, u64>,
    first_error: Option<&'a str>,
    /// Replies a second inside the window.
    rate: f64,
    target_rate: Option<f64>,
    p50_us: Option<f64>,
    p90_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
    max_us: Option<f64>,
    /// Open loop: counted from when the request was sent, not from when it was due.
    uncorrected_p99_us: Option<f64>,
    connects: u64,
    connect_p50_us: Option<f64>,
    connect_p99_us: Option<f64>,
    connect_max_us: Option<f64>,
    connects_per_s: f64,
    reconnects: u64,
    unsent: u64,
    loader_cpu: f64,
    loader_limited: bool,
    send_lag_us: Option<f64>,
    duration_s: f64,
    /// When that was, for who watches from another process.
    window: Window,
    warmup_s: f64,
    interrupted: bool,
    wall: Option<&'a Wall>,
    /// Beyond the descriptor limit: what that cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    crowd: Option<&'a Account>,
    histogram: String,
    histogram_unit: &'a str,
}

/// The measured window on CLOCK_MONOTONIC, which all processes of a machine share. Nanoseconds.
#[derive(Serialize)]
struct Window {
    began_ns: u64,
    ended_ns: u64,
}

impl Window {
    fn of(outcome: &Outcome) -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let began_ns = now_ns.saturating_sub(outcome.from.elapsed().as_nanos() as u64);
        Window { began_ns, ended_ns: began_ns + outcome.measured.as_nanos() as u64 }
    }
}

/// One line of `--json-stream`.
#[derive(Serialize)]
struct Second {
    schema: u32,
    second: u64,
    established: u64,
    messages: u64,
    rate: u64,
    bytes: u64,
    errors: BTreeMap<String, u64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    max_us: Option<f64>,
}

fn by_name(tally: &Tally) -> BTreeMap<String, u64> {
    tally.errors.iter().map(|(kind, times)| (kind.to_string(), *times)).collect()
}

fn mode_name(plan: &Plan) -> &'static str {
    match plan.mode {
        Mode::Closed if plan.active == 0 => "hold",
        Mode::Closed => "closed",
        Mode::Open(_) => "open",
        Mode::Churn(_) => "churn",
    }
}

/// The histogram in HdrHistogram's V2 encoding (not compressed), base64.
fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a Vec takes all bytes, and the counts fit: they are 64 bits wide");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn per_second(count: u64, outcome: &Outcome) -> f64 {
    let seconds = outcome.measured.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Connections opened a second: in churn inside the window, else during the opening.
fn connects_per_second(plan: &Plan, outcome: &Outcome) -> f64 {
    match plan.mode {
        Mode::Churn(_) => per_second(outcome.tally.connects_in_window, outcome),
        _ => outcome.tally.connect.len() as f64 / outcome.opening.as_secs_f64().max(1e-6),
    }
}

/// Prints the result on stdout, as the plan says.
pub fn print(plan: &Plan, outcome: &Outcome, loader: Loader, wall: Option<&Wall>) -> Result<(), Failure> {
    let text = match plan.output {
        Output::Text => text(plan, outcome, loader, wall),
        Output::Json | Output::JsonStream => json(plan, outcome, loader, wall) + "\n",
    };
    terminal::print(&text)
}

fn json(plan: &Plan, outcome: &Outcome, loader: Loader, wall: Option<&Wall>) -> String {
    let tally = &outcome.tally;
    let json = Json {
        schema: 1,
        target: &plan.target.shown,
        speak: plan.speak.name(),
        mode: if outcome.crowd.is_some() { "sampled" } else { mode_name(plan) },
        connections: plan.connections,
        active: plan.active,
        threads: plan.threads,
        payload_bytes: plan.payload,
        established: outcome.held,
        messages: tally.messages,
        bytes: tally.bytes,
        errors: by_name(tally),
        first_error: tally.first_wrong.as_deref(),
        rate: per_second(tally.in_window, outcome),
        target_rate: target_rate(plan),
        p50_us: quantile_us(&tally.latency, 0.5),
        p90_us: quantile_us(&tally.latency, 0.9),
        p99_us: quantile_us(&tally.latency, 0.99),
        p999_us: quantile_us(&tally.latency, 0.999),
        max_us: max_us(&tally.latency),
        uncorrected_p99_us: quantile_us(&tally.service, 0.99),
        connects: tally.connect.len(),
        connect_p50_us: quantile_us(&tally.connect, 0.5),
        connect_p99_us: quantile_us(&tally.connect, 0.99),
        connect_max_us: max_us(&tally.connect),
        connects_per_s: connects_per_second(plan, outcome),
        reconnects: tally.reconnects,
        unsent: tally.unsent,
        loader_cpu: loader.cpu,
        loader_limited: loader.limited,
        send_lag_us: loader.send_lag_us,
        duration_s: outcome.measured.as_secs_f64(),
        window: Window::of(outcome),
        warmup_s: plan.warmup.as_secs_f64(),
        interrupted: outcome.interrupted,
        wall,
        crowd: outcome.crowd.as_ref(),
        histogram: encode(&tally.latency),
        histogram_unit: "ns",
    };
    serde_json::to_string(&json).expect("numbers, strings and maps with string keys")
}

fn target_rate(plan: &Plan) -> Option<f64> {
    match plan.mode {
        Mode::Open(rate) => Some(rate),
        Mode::Churn(rate) => rate,
        Mode::Closed => None,
    }
}

/// Prints a line of `--json-stream`. `false`: nobody reads it any more.
pub fn print_second(second: u64, tally: &Tally, held: u64) -> Result<bool, Failure> {
    let line = Second {
        schema: 1,
        second,
        established: held,
        messages: tally.messages,
        rate: tally.in_window,
        bytes: tally.bytes,
        errors: by_name(tally),
        p50_us: quantile_us(&tally.latency, 0.5),
        p99_us: quantile_us(&tally.latency, 0.99),
        max_us: max_us(&tally.latency),
    };
    let line = serde_json::to_string(&line).expect("numbers and maps with string keys");
    terminal::stream(&(line + "\n"))
}

fn text(plan: &Plan, outcome: &Outcome, loader: Loader, wall: Option<&Wall>) -> String {
    let color = stdout_color();
    let tally = &outcome.tally;
    let mut lines = vec![headline(plan, outcome)];
    if outcome.interrupted {
        lines.push(paint(color, "1;33", "INTERRUPTED: what was measured until then"));
    }
    let mut row = |title: &str, text: String| lines.push(format!("  {title:<10} {text}"));
    if plan.active > 0 {
        row("messages", messages(plan, outcome));
        row("latency", latencies(&tally.latency));
        if !tally.service.is_empty() {
            let p99 = quantile_us(&tally.service, 0.99).unwrap_or(0.0);
            row("", format!("from when a request was due; from when it was sent p99 would be {}", time(p99)));
        }
    }
    row("connect", connects(plan, outcome));
    if !plan.is_churn() {
        row(
            "held",
            format!("{} of {} at the end", grouped(outcome.held as u64), grouped(plan.connections as u64)),
        );
    }
    row("loader", loader_line(plan, loader));
    if let Some(account) = &outcome.crowd {
        crowd_rows(account, &mut row);
    }
    if tally.unsent > 0 {
        row("unsent", format!("{} requests were due and could not be sent in time", grouped(tally.unsent)));
    }
    if tally.errors.is_empty() {
        row("errors", "none".to_owned());
    }
    for (at, (kind, times)) in tally.errors.iter().enumerate() {
        let count = paint(color, "31", &format!("{:>10}", grouped(*times)));
        row(if at == 0 { "errors" } else { "" }, format!("{count}  {kind}"));
    }
    if let Some(first) = &tally.first_wrong {
        row("", format!("the first: {first}"));
    }
    if let Some(wall) = wall {
        row("wall", format!("{}: {}", paint(color, "1", &wall.name), wall.evidence));
        row("fix", wall.fix.clone());
    }
    lines.join("\n") + "\n"
}

fn headline(plan: &Plan, outcome: &Outcome) -> String {
    let mut parts = vec![format!("{} {}", plan.speak.name(), plan.target.shown)];
    parts.push(match plan.active {
        active if active == plan.connections => format!("{} connections", grouped(plan.connections as u64)),
        0 => format!("{} connections held", grouped(plan.connections as u64)),
        active => {
            format!("{} connections, {} active", grouped(plan.connections as u64), grouped(active as u64))
        }
    });
    if plan.payload > 0 && plan.active > 0 {
        parts.push(format!("{} B", grouped(plan.payload as u64)));
    }
    parts.push(match plan.mode {
        Mode::Closed if plan.active == 0 => "hold".to_owned(),
        Mode::Closed => "closed loop".to_owned(),
        Mode::Open(rate) => format!("open loop, {} a second", grouped(rate as u64)),
        Mode::Churn(Some(rate)) => format!("churn, {} connections a second", grouped(rate as u64)),
        Mode::Churn(None) => "churn".to_owned(),
    });
    parts.push(format!("{} thread{}", plan.threads, if plan.threads == 1 { "" } else { "s" }));
    parts.push(format!("{:.1} s", outcome.measured.as_secs_f64()));
    parts.join(" · ")
}

fn messages(plan: &Plan, outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let rate = per_second(tally.in_window, outcome);
    let mut text = format!("{}   {} a second", grouped(tally.messages), grouped(rate.round() as u64));
    if let Some(wanted) = target_rate(plan) {
        text += &format!(" of {} wanted", grouped(wanted as u64));
    }
    let bytes = if tally.messages > 0 { rate * tally.bytes as f64 / tally.messages as f64 } else { 0.0 };
    text + &format!("   {} received, every byte checked", throughput(bytes))
}

fn throughput(bytes_per_second: f64) -> String {
    match bytes_per_second {
        rate if rate >= 1e9 => format!("{:.2} GB/s", rate / 1e9),
        rate if rate >= 1e6 => format!("{:.2} MB/s", rate / 1e6),
        rate => format!("{:.1} kB/s", rate / 1e3),
    }
}

fn latencies(histogram: &Histogram<u64>) -> String {
    let Some(max) = max_us(histogram) else { return "nothing was measured".to_owned() };
    let at = |quantile: f64| time(quantile_us(histogram, quantile).unwrap_or(0.0));
    format!("p50 {}   p90 {}   p99 {}   p99.9 {}   max {}", at(0.5), at(0.9), at(0.99), at(0.999), time(max))
}

fn connects(plan: &Plan, outcome: &Outcome) -> String {
    let histogram = &outcome.tally.connect;
    let Some(max) = max_us(histogram) else { return "none".to_owned() };
    let at = |quantile: f64| time(quantile_us(histogram, quantile).unwrap_or(0.0));
    let again = match outcome.tally.reconnects {
        0 => String::new(),
        times => format!(", {} of them again", grouped(times)),
    };
    format!(
        "p50 {}   p99 {}   max {}   {} connects{again}, {} a second",
        at(0.5),
        at(0.99),
        time(max),
        grouped(histogram.len()),
        grouped(connects_per_second(plan, outcome).round() as u64)
    )
}

fn loader_line(plan: &Plan, loader: Loader) -> String {
    let mut text = format!(
        "{:.0} % of {} core{}",
        loader.cpu * 100.0,
        plan.threads,
        if plan.threads == 1 { "" } else { "s" }
    );
    if let Some(lag) = loader.send_lag_us {
        text += &format!(", sends {} late (median)", time(lag));
    }
    if loader.limited {
        text += "   THE LOADER WAS THE LIMIT: these numbers are not the server's";
    }
    text
}

fn crowd_rows(account: &Account, row: &mut impl FnMut(&str, String)) {
    let rings = format!(
        "{} of {} places each; one random connection after the other exchanges",
        account.rings,
        grouped(account.places_each.into())
    );
    row("rings", rings);
    if account.server_processes > 1 {
        row("server", format!("{} processes", account.server_processes));
    }
    let quantile = |us: Option<f64>| us.map_or("-".to_owned(), time);
    row(
        "climbing",
        format!(
            "{} random round trips meanwhile   p50 {}   p99 {}",
            grouped(account.climbing_samples),
            quantile(account.climbing_p50_us),
            quantile(account.climbing_p99_us)
        ),
    );
    let size = |bytes: Option<u64>| bytes.map_or("?".to_owned(), gigabytes);
    row(
        "memory",
        format!(
            "{} available before, {} while held, {} after {:.1} s",
            size(account.memory_before_bytes),
            size(account.memory_during_bytes),
            size(account.memory_after_bytes),
            account.back_s
        ),
    );
    row(
        "",
        format!(
            "{} of the kernel's for a connection (both ends); resident: server {}, loader {}",
            size(account.kernel_bytes_per_connection),
            size(account.server_rss_bytes),
            size(account.loader_rss_bytes)
        ),
    );
}

/// Microseconds in the unit that suits.
fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.1} us"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Why nothing listens, as a sentence.
pub fn refused(plan: &Plan) -> String {
    format!("connection refused: nobody listens on {}", plan.target.address)
}

/// Why nothing could be measured, as a sentence.
pub fn nothing_connected(plan: &Plan, outcome: &Outcome, wall: Option<&Wall>) -> String {
    let tally = &outcome.tally;
    if tally.errors_of(Kind::ConnectRefused) > 0 {
        return refused(plan);
    }
    if let Some(wall) = wall {
        return format!("nothing could be measured; {}: {}; fix: {}", wall.name, wall.evidence, wall.fix);
    }
    let why = tally.first_wrong.as_deref().unwrap_or("no connection came about");
    let hint = match plan.speak {
        Speak::Connect => String::new(),
        speak => format!(" (does {} speak {}?)", plan.target.address, speak.name()),
    };
    format!("nothing could be measured: no connection passed its first exchange; the first: {why}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;

    #[test]
    fn the_encoded_histogram_reads_back() {
        let mut histogram = super::super::tally::empty();
        for value in [1, 999, 123_456, 3_000_000_000] {
            histogram.saturating_record(value);
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(encode(&histogram)).expect("base64");
        let back: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).expect("HDR V2");
        assert_eq!(back, histogram);
    }

    #[test]
    fn times_are_written_in_the_unit_that_suits() {
        assert_eq!(time(8.12), "8.1 us");
        assert_eq!(time(8_123.0), "8.12 ms");
        assert_eq!(time(1_500_000.0), "1.50 s");
        assert_eq!(throughput(3_280_000.0), "3.28 MB/s");
    }
}
