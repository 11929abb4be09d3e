//! A result from a file: whole, cut short, or something else altogether. What can be kept is kept; what cannot is
//! told with the place where it went wrong.

use crate::failure::Failure;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Results are some hundred kilobytes; more than this is another file by mistake.
const MOST_BYTES: u64 = 256 << 20;

/// A result that could be read, at least in part.
#[derive(Debug)]
pub struct Input {
    /// The result; of a cut file, what stood before the cut.
    pub value: Value,
    /// The sentence about the cut.
    pub cut: Option<String>,
}

/// Reads a result file, or the result.json of a folder.
///
/// # Errors
/// Usage (2): the file is no result. Cannot (3): it cannot be read, or is cut so early that nothing is left.
pub fn read(path: &Path) -> Result<Input, Failure> {
    let inside = path.join("result.json");
    let path = if path.is_dir() { inside.as_path() } else { path };
    let refused = |error| Failure::cannot(format!("cannot read {}: {error}", path.display()));
    let size = fs::metadata(path).map_err(refused)?.len();
    if size > MOST_BYTES {
        return Err(Failure::usage(format!(
            "{} has {} MiB: that is no result of duolu compare",
            path.display(),
            size >> 20
        )));
    }
    let bytes = fs::read(path).map_err(refused)?;
    parse(&bytes).map_err(|problem| {
        let message = format!("{}: {}", path.display(), problem.message);
        if problem.cut { Failure::cannot(message) } else { Failure::usage(message) }
    })
}

/// Why a text is no result.
#[derive(Debug)]
pub struct Problem {
    message: String,
    /// Whether it was one, and is cut.
    cut: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Problem {
    fn other(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), cut: false }
    }
}

/// Reads the text of a result.
pub fn parse(bytes: &[u8]) -> Result<Input, Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes); // a mark that some editors put in front
    // A cut may fall into a letter of several bytes: what stands before it is text all the same.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => {
            return Err(Problem::other(format!(
                "this is no text (byte {} is no UTF-8)",
                error.valid_up_to()
            )));
        }
    };
    if text.trim().is_empty() {
        return Err(Problem::other("the file is empty; make a result with: duolu compare --quick -o DIR"));
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) => match stream(text) {
            Some(read) if value.get("event").is_some() => read,
            _ => check(value).map(|value| Input { value, cut: None }),
        },
        Err(error) => stream(text).unwrap_or_else(|| salvage(text, &error)),
    }
}

/// Whether a JSON value is a result of a schema that is known.
pub fn check(value: Value) -> Result<Value, Problem> {
    let Some(object) = value.as_object() else { return Err(not_a_result(&value)) };
    match object.get("schema") {
        Some(schema) if schema.as_u64() == Some(1) => {}
        Some(schema) => {
            return Err(Problem::other(format!(
                "this result has schema {schema}, this duolu ({}) reads schema 1: use the version that made it, or measure again",
                env!("CARGO_PKG_VERSION")
            )));
        }
        None => return Err(not_a_result(&value)),
    }
    if !object.get("results").is_some_and(Value::is_array) {
        return Err(not_a_result(&value));
    }
    Ok(value)
}

fn not_a_result(value: &Value) -> Problem {
    let has = |field: &str| value.get(field).is_some();
    let kind = match value {
        Value::Object(_) if has("histogram") => "a result of duolu load, not of duolu compare",
        Value::Object(_) => "JSON, but no result of duolu compare: it has no \"schema\" with \"results\"",
        _ => "JSON, but no result of duolu compare: it is no object",
    };
    Problem::other(format!("this is {kind}"))
}

/// `--json-stream`: a line for the machine, one for each cell, one for the end.
fn stream(text: &str) -> Option<Result<Input, Problem>> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
    let (_, first) = lines.next()?;
    let first: Value = serde_json::from_str(first).ok()?;
    if first.get("event")?.as_str()? != "machine" {
        return None;
    }
    let machine = first.get("machine").cloned().unwrap_or(Value::Null);
    let (mut cells, mut end, mut broken) = (Vec::new(), None, None);
    for (at, line) in lines {
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event["event"] == "cell" => cells.push(event),
            Ok(event) if event["event"] == "end" => end = Some(event),
            Ok(_) => {}
            Err(error) => broken = broken.or(Some(format!("line {} is no JSON ({error})", at + 1))),
        }
    }
    let flag = |field: &str| end.as_ref().and_then(|end| end[field].as_bool());
    let count = cells.len();
    let value = json!({
        "schema": first["schema"], "machine": machine, "results": cells,
        "complete": flag("complete").unwrap_or(false), "interrupted": flag("interrupted").unwrap_or(false),
    });
    let cut = broken.or_else(|| end.is_none().then(|| "its last line is missing".to_owned()));
    if count == 0 && cut.is_some() {
        return Some(Err(Problem {
            message: "the stream is cut short before its first cell: measure again".to_owned(),
            cut: true,
        }));
    }
    let cut = cut.map(|what| format!("the stream is cut short: {what}; kept: {count} cells"));
    Some(check(value).map(|value| Input { value, cut }))
}

/// Keeps what stands before the place where a result is cut.
fn salvage(text: &str, error: &serde_json::Error) -> Result<Input, Problem> {
    if !error.is_eof() {
        return Err(Problem::other(format!("this is no JSON: {error}")));
    }
    let place = format!("line {}, byte {}", error.line(), text.len());
    let lost = |kept: &str| Problem {
        message: format!("the result is cut short ({place}){kept}: nothing can be kept; measure again"),
        cut: true,
    };
    let mended = mend(text).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(mut mended) = mended else { return Err(lost("")) };
    if mended.get("schema").is_none() && mended.get("results").is_none() {
        return Err(lost(""));
    }
    if let Some(fields) = mended.as_object_mut() {
        // Another program may have written it behind the cells: what is there is read as what this version writes.
        fields.entry("schema").or_insert(json!(1));
    }
    let value = check(mended).map_err(|problem| match problem.message.contains("schema ") {
        true => problem,
        false => lost(" before its first cell"),
    })?;
    let count = value["results"].as_array().map_or(0, Vec::len);
    if count == 0 {
        return Err(lost(" before its first cell"));
    }
    let cut = format!("the result is cut short ({place}); kept: {count} whole cells");
    Ok(Input { value, cut: Some(cut) })
}

/// The text up to its last whole member of the result or whole cell, with what was open closed. A cell of which
/// only some fields are left is dropped: its wall may be among the lost ones.
fn mend(text: &str) -> Option<String> {
    let mut open: Vec<char> = Vec::new();
    let mut whole: Option<(usize, String)> = None;
    let (mut in_string, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        if in_string {
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        // A comma proves that what stands before it is whole; so does the end of a cell.
        let mut mark = |at: usize, open: &[char]| {
            if matches!(open, ['{'] | ['{', '[']) {
                let close = |open: &char| if *open == '{' { '}' } else { ']' };
                whole = Some((at, open.iter().rev().map(close).collect()));
            }
        };
        match letter {
            '"' => in_string = true,
            ',' => mark(at, &open),
            '{' | '[' => open.push(letter),
            '}' | ']' => {
                open.pop();
                mark(at + 1, &open);
            }
            _ => {}
        }
    }
    whole.map(|(at, close)| text[..at].to_owned() + &close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> String {
        serde_json::to_string_pretty(&json!({
            "schema": 1, "machine": {"kernel": "6.1"},
            "results": [
                {"model": "fork", "connections": 100, "established": 100, "wall": null},
                {"model": "poll", "connections": 100, "established": 8, "wall": {"name": "多路 \"}],", "fix": "x"}},
            ],
            "shows": ["a", "b"],
        }))
        .expect("JSON")
    }

    #[test]
    fn wherever_a_result_is_cut_only_whole_cells_are_kept() {
        let whole = result();
        let mut kept = [0; 3];
        for end in 0..whole.trim_end().len() {
            match parse(&whole.as_bytes()[..end]) {
                Ok(input) => {
                    assert!(input.cut.is_some(), "cut at {end}");
                    let cells = input.value["results"].as_array().expect("cells").clone();
                    assert!(cells.iter().all(|cell| cell.get("wall").is_some()), "cut at {end}: {cells:?}");
                    kept[cells.len()] += 1;
                }
                Err(problem) => assert!(!problem.message.is_empty()),
            }
        }
        assert!(kept[0] == 0 && kept[1] > 0 && kept[2] > 0, "{kept:?}");
        assert!(parse(whole.as_bytes()).is_ok_and(|input| input.cut.is_none()));
    }

    #[test]
    fn what_is_no_result_is_named() {
        let said = |text: &str| parse(text.as_bytes()).expect_err(text).message;
        assert!(said("").contains("empty"));
        assert!(said(" \n").contains("empty"));
        assert!(said("hello").contains("no JSON"));
        assert!(said("[1]").contains("no object"));
        assert!(said("{\"a\":1}").contains("no \"schema\""));
        assert!(said("{\"schema\":2,\"results\":[]}").contains("schema 2"));
        assert!(said("{\"schema\":1,\"histogram\":\"\"}").contains("duolu load"));
        assert!(said("{\"schema\":1,\"results\":[").contains("cut short"));
        assert!(parse(b"{\"schema\":1,\"results\":[]}\xff").expect_err("bytes").message.contains("UTF-8"));
    }

    #[test]
    fn a_stream_is_read_with_and_without_its_end() {
        let machine = r#"{"event":"machine","schema":1,"machine":{"kernel":"6.1"}}"#;
        let cell = r#"{"event":"cell","schema":1,"model":"fork","connections":100,"established":100}"#;
        let end = r#"{"event":"end","schema":1,"complete":true,"interrupted":false,"shows":[]}"#;
        let whole = parse(format!("{machine}\n{cell}\n{end}\n").as_bytes()).expect("a stream");
        assert!(
            whole.cut.is_none() && whole.value["results"].as_array().is_some_and(|cells| cells.len() == 1)
        );
        let cut = parse(format!("{machine}\n{cell}\n{}", &cell[..30]).as_bytes()).expect("a part of it");
        assert!(cut.cut.is_some_and(|cut| cut.contains("1 cells")));
    }
}
