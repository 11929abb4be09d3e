//! `duolu report`: the page that people send to each other, made from a result.
//!
//! Reading order: `input` reads a file, whole or cut; `run` is a result as the page sees it; `page` puts together
//! what `views` draws (with `chart`, `scale`, `labels`, `look`) and what `sections`, `balance`, `provenance`, `findings`,
//! `changes` (with `against`) say; `crowd` is the page of a climb to a million; `words` holds both languages' names, `figures` and `markup` the last step to text.

pub mod against;
mod balance;
mod changes;
mod chart;
mod crowd;
mod figures;
mod findings;
pub mod input;
pub mod labels;
mod look;
pub mod markup;
mod page;
mod provenance;
pub mod run;
pub mod scale;
mod sections;
mod views;
mod words;

use crate::failure::Failure;
pub use crate::lang::Lang;
use crate::terminal;
use crowd::Climb;
use page::Page;
use run::Run;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Make report.html from a result: one file, both languages, no network
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu report result.json                        report.html beside it\n  duolu report new.json --against old.json -o changes.html"
)]
pub struct Args {
    /// What duolu compare or make million wrote: result.json, its folder, or the lines of --json-stream
    #[arg(value_name = "RESULT")]
    result: PathBuf,
    /// Where to write [default: report.html beside the result]; - is stdout
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Of a climb (make million) also write the figures as a table for spreadsheets; - is stdout
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// An older result: what changed, and whether it is more than the spread
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
    /// The language in which the page opens [default: the reader's]; both are in it
    #[arg(long, value_enum)]
    lang: Option<Lang>,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb.
///
/// # Errors
/// The file is no result (2); it cannot be read, or the page not be written (3). Of a result that is cut short what
/// is whole is written, and it ends with 3 all the same.
pub fn run(args: Args) -> Result<(), Failure> {
    let new = input::read(&args.result)?;
    let old = args.against.as_deref().map(input::read).transpose()?;
    let out = place(&args);
    let (html, csv) = made(&args, &new, old.as_ref())?;
    if let (Some(csv), Some(path)) = (csv, &args.csv) {
        put(&csv, path)?;
    }
    put(&html, &out)?;
    let to_stdout = out.as_os_str() == "-";
    if !args.quiet && !to_stdout {
        terminal::tell(&format!("duolu: wrote {}", out.display()));
    }
    let cuts = [(&args.result, Some(&new)), (args.against.as_ref().unwrap_or(&args.result), old.as_ref())];
    for (path, input) in cuts {
        if let Some(cut) = input.and_then(|input| input.cut.as_ref()) {
            let where_to = if to_stdout { "stdout".to_owned() } else { out.display().to_string() };
            return Err(Failure::cannot(format!(
                "{}: {cut}; the part is in {where_to}, marked as such",
                path.display()
            )));
        }
    }
    Ok(())
}

/// The page, and the table for spreadsheets where that is wanted.
fn made(
    args: &Args,
    new: &input::Input,
    old: Option<&input::Input>,
) -> Result<(String, Option<String>), Failure> {
    if let Some(climb) = Climb::read(&new.value, new.cut.is_some()) {
        if old.is_some() {
            return Err(Failure::usage(
                "--against lays results of duolu compare over each other; this is a climb",
            ));
        }
        return Ok((crowd::render(&climb, args.lang), args.csv.is_some().then(|| climb.csv())));
    }
    if old.is_some_and(|old| Climb::read(&old.value, false).is_some()) {
        return Err(Failure::usage("--against: that is a climb, and no result of duolu compare"));
    }
    let read = |input: &input::Input| Run::read(&input.value, input.cut.is_some());
    let (run, before) = (read(new), old.map(read));
    let html = Page { run: &run, old: before.as_ref(), lang: args.lang }.render();
    if args.csv.is_some() {
        return Err(Failure::usage(
            "--csv is for a climb; duolu compare -o DIR writes its result.csv itself",
        ));
    }
    Ok((html, None))
}

/// Writes the page of a result, as compare's `-o DIR` does. With an older result it shows what changed.
///
/// # Errors
/// The value is no result of schema 1 (2), or the file cannot be written (3).
pub fn write(
    result: &serde_json::Value,
    against: Option<&serde_json::Value>,
    path: &Path,
) -> Result<(), Failure> {
    let read = |value: &serde_json::Value| {
        let checked = input::check(value.clone()).map_err(|problem| Failure::usage(problem.to_string()))?;
        Ok(Run::read(&checked, false))
    };
    let (run, old) = (read(result)?, against.map(read).transpose()?);
    put(&Page { run: &run, old: old.as_ref(), lang: None }.render(), path)
}

/// The page of a result laid over an older one: both are known to be results.
#[cfg(test)]
pub fn page(result: &serde_json::Value, old: &serde_json::Value) -> String {
    Page { run: &Run::of(result), old: Some(&Run::of(old)), lang: None }.render()
}

fn place(args: &Args) -> PathBuf {
    match &args.out {
        Some(out) if out.is_dir() => out.join("report.html"),
        Some(out) => out.clone(),
        None if args.result.is_dir() => args.result.join("report.html"),
        None => args.result.with_file_name("report.html"),
    }
}

/// Writes the page beside its place and moves it there: who has the old page open never sees half a new one. `-` is
/// stdout.
///
/// # Errors
/// The file cannot be written (3).
pub fn put(html: &str, path: &Path) -> Result<(), Failure> {
    let refused = |error| Failure::cannot(format!("cannot write {}: {error}", path.display()));
    if path.as_os_str() == "-" {
        return match std::io::stdout().lock().write_all(html.as_bytes()) {
            // A reader that went away (`| head`) is no fault of ours.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(refused(error)),
            _ => Ok(()),
        };
    }
    // A device or a pipe (/dev/stdout) cannot be replaced, only written to.
    if path.exists() && !path.is_file() {
        return fs::write(path, html).map_err(refused);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = fs::write(&part, html).and_then(|()| fs::rename(&part, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        refused(error)
    })
}
