//! Where results go: JSON on stdout, one object a line while it runs, files in a folder.

use super::result::{Cell, Report};
use crate::failure::Failure;
use crate::terminal;
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// One line of `--json-stream`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    /// The first line.
    Machine {
        /// 1.
        schema: u32,
        /// The machine.
        machine: &'a crate::machine::Machine,
    },
    /// A cell, as soon as it is measured.
    Cell {
        /// 1.
        schema: u32,
        /// Its figures.
        #[serde(flatten)]
        cell: &'a Cell,
    },
    /// The last line.
    End {
        /// 1.
        schema: u32,
        /// Whether everything planned was measured.
        complete: bool,
        /// Whether the user ended it.
        interrupted: bool,
        /// What it shows.
        shows: &'a [String],
    },
}

/// Prints one object as one line. `false`: nobody reads it any more.
///
/// # Errors
/// It cannot be written, as on a full disk. That ends the run no sooner: files and judgement are still owed.
pub fn print_line(event: &Event<'_>) -> Result<bool, Failure> {
    terminal::stream(&(to_json(serde_json::to_string(event))? + "\n"))
}

fn to_json<T>(made: serde_json::Result<T>) -> Result<T, Failure> {
    made.map_err(|error| Failure::cannot(format!("cannot write the result as JSON: {error}")))
}

/// The report as JSON, for people to read as well.
pub fn json(report: &Report) -> Result<String, Failure> {
    Ok(to_json(serde_json::to_string_pretty(report))? + "\n")
}

/// Makes the folder, so that a run of minutes does not end at a folder that cannot be written.
pub fn make_folder(folder: &Path) -> Result<(), Failure> {
    let refused = |error| Failure::cannot(format!("-o: cannot write into {}: {error}", folder.display()));
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::usage(format!("-o: {} is a file; name a folder", folder.display())));
    }
    fs::create_dir_all(folder).map_err(refused)?;
    let probe = folder.join(".duolu-probe");
    fs::write(&probe, "").map_err(refused)?;
    fs::remove_file(&probe).map_err(refused)
}

/// Writes everything that belongs into the folder; the report shows what changed against an older result.
pub fn write_files(folder: &Path, report: &Report, old: Option<&Value>) -> Result<(), Failure> {
    write_data(folder, report)?;
    let new = to_json(serde_json::to_value(report))?;
    crate::report::write(&new, old, &folder.join("report.html"))
}

/// Writes result.json and result.csv, each as a whole or not at all: who reads while we write, or after we were
/// killed, finds the last whole one.
pub fn write_data(folder: &Path, report: &Report) -> Result<(), Failure> {
    for (name, text) in [("result.json", json(report)?), ("result.csv", csv(report))] {
        let (path, part) = (folder.join(name), folder.join(format!(".{name}.part")));
        fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(|error| {
            let _ = fs::remove_file(&part); // a part of it is of no use
            Failure::cannot(format!("-o: cannot write {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

/// The cells as a table for spreadsheets (RFC 4180): a field that is not known is empty.
pub fn csv(report: &Report) -> String {
    let mut text = "model,connections,established,rate,p50_us,p99_us,p999_us,server_cpu_us_per_msg,\
                    server_bytes_per_conn,errors,wall,loader_cpu,repeats,spread,limited_by,mix,payload_bytes,active,\
                    p90_us,max_us,kernel_bytes_per_conn,others_cpu,sampled\r\n"
        .to_owned();
    for cell in &report.results {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.3}"));
        let count = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
        let fields = [
            quoted(&cell.model),
            cell.connections.to_string(),
            cell.established.to_string(),
            number(cell.rate),
            number(cell.p50_us),
            number(cell.p99_us),
            number(cell.p999_us),
            number(cell.server_cpu_us_per_msg),
            number(cell.server_bytes_per_conn),
            cell.errors.to_string(),
            quoted(cell.wall.as_ref().map_or("", |wall| &wall.name)),
            number(cell.loader_cpu),
            cell.repeats.to_string(),
            number(cell.spread),
            quoted(cell.limited_by.as_ref().map_or("", |limit| &limit.name)),
            cell.mix.name().to_owned(),
            count(cell.payload_bytes),
            count(cell.active),
            number(cell.p90_us),
            number(cell.max_us),
            number(cell.kernel_bytes_per_conn),
            number(cell.others_cpu),
            cell.sampled.to_string(),
        ];
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples;

    #[test]
    fn every_line_of_the_csv_has_every_column() {
        let text = csv(&samples::report());
        let columns = text.lines().next().unwrap().split(',').count();
        assert_eq!(text.lines().count(), 8);
        assert!(text.lines().all(|line| line.split(',').count() == columns), "{text}");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    #[test]
    fn the_contracts_fields_are_there_and_unknown_is_null() {
        let value: serde_json::Value = serde_json::from_str(&json(&samples::report()).unwrap()).unwrap();
        assert_eq!(value["schema"], 1);
        let cell = value["results"][0].as_object().unwrap();
        for field in [
            "model",
            "connections",
            "established",
            "rate",
            "p50_us",
            "p99_us",
            "p999_us",
            "server_cpu_us_per_msg",
            "server_bytes_per_conn",
            "errors",
            "wall",
            "loader_cpu",
            "repeats",
            "spread",
            "mix",
            "payload_bytes",
            "histogram",
        ] {
            assert!(cell.contains_key(field), "{field}");
        }
        assert!(cell["wall"].is_null());
        let wall = value["results"][3]["wall"].as_object().unwrap();
        assert!(["name", "evidence", "fix"].iter().all(|field| wall[*field].is_string()));
    }
}
