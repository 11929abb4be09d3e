//! `duolu lab [NAME]`: the claims of the study notes as experiments on real sockets.
//!
//! Reading order: `claims` are the notes, `experiment` says what a lab is, `catalog` lists them; `stage` is where one takes
//! place (in a network of its own where that is allowed, so that `packet` and `ladder` show what went over it), `tcp` and
//! `mux` hold the labs; `conduct` runs them, `tell`, `scoreboard`, `json` and `files` say what came out.

mod catalog;
mod child;
mod claims;
mod conduct;
mod experiment;
mod files;
mod json;
mod ladder;
mod ladder_svg;
mod ladder_text;
mod mux;
mod packet;
pub mod picture;
pub mod said;
mod scene;
mod scoreboard;
mod shown;
mod stage;
mod states;
mod svg;
mod tcp;
mod tell;

use crate::compare::interrupt;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::terminal;
use conduct::{Ran, conduct};
use experiment::Lab;
use picture::Paper;
use std::path::PathBuf;

/// Each claim of the study notes on real sockets: what was expected, what happened, why
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu lab                     the list, a line each\n  duolu lab half-close          one experiment, with its sequence diagram\n  duolu lab --all --lang zh     all of them, in Chinese, and the scoreboard",
    after_help = "Each experiment runs in a network namespace of its own where that is allowed (root, or user namespaces), so that it shows its packets and changes nothing on this machine; else on the loopback, with what can be seen there.\n\nExit codes: 0 reality is as the page says, 1 it is not, 2 usage, 3 the experiment is not possible here (with --all it is listed as such, and does not fail), 130 interrupted (what was done before is told)."
)]
pub struct Args {
    /// Which experiment; without a name they are listed
    #[arg(value_name = "NAME", conflicts_with = "all")]
    name: Option<String>,
    /// All of them, then a scoreboard of the notes' claims
    #[arg(long)]
    all: bool,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
    /// A drawing: FILE.svg; with --all a folder: an SVG for each, and index.html
    #[arg(short = 'o', long = "out", value_name = "PATH")]
    out: Option<PathBuf>,
    /// The language [default: the locale's]
    #[arg(long, value_enum)]
    lang: Option<Lang>,
    /// Stay on this machine's own loopback: nothing that needs a network of its own, and no packets
    #[arg(long)]
    on_host: bool,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb.
///
/// # Errors
/// Reality contradicts the page (1); no such lab, or a path that does not fit (2); not possible here, or nothing can be written (3).
pub fn run(args: Args) -> Result<(), Failure> {
    let lang = args.lang.unwrap_or_else(Lang::of_locale);
    let paper = Paper { lang, color: terminal::stdout_color(), width: width() };
    let Some(labs) = chosen(&args)? else {
        if args.out.is_some() {
            return Err(Failure::usage(
                "-o wants something to draw: duolu lab NAME -o FILE.svg, or --all -o DIR",
            ));
        }
        return terminal::print(&if args.json { json::list()? } else { tell::list(&paper) });
    };
    let place = args.out.as_deref().map(|path| files::Place::of(path, args.all)).transpose()?;
    let network = if args.on_host { conduct::Network::Host } else { conduct::Network::enter() };
    if args.all {
        interrupt::listen().map_err(|error| Failure::cannot(format!("cannot listen for Ctrl-C: {error}")))?;
    }
    let mut all = Vec::new();
    for lab in labs {
        let ran = conduct(lab, &network);
        if interrupt::requested() {
            break; // it may have disturbed this one
        }
        if !args.json {
            let page = if args.all { tell::line(&ran, &paper) } else { tell::page(&ran, &paper) };
            terminal::print(&page)?;
        }
        all.push(ran);
    }
    if args.json {
        terminal::print(&json::render(&all, !interrupt::requested(), lang)?)?;
    } else if args.all {
        terminal::print(&scoreboard::render(&all, &paper))?;
    }
    if let Some(place) = place {
        place.write(&all, lang)?;
        if !args.quiet {
            terminal::tell(&format!("duolu: wrote {}", place.told()));
        }
    }
    if interrupt::requested() {
        return Err(Failure::interrupted());
    }
    judge(&all, args.all, lang)
}

/// Which labs to run; `None` to list them.
fn chosen(args: &Args) -> Result<Option<Vec<&'static Lab>>, Failure> {
    match &args.name {
        Some(name) => match catalog::named(name) {
            Some(lab) => Ok(Some(vec![lab])),
            None => {
                let hint = catalog::nearest(name)
                    .map_or(String::new(), |near| format!("; did you mean: duolu lab {near}?"));
                Err(Failure::usage(format!("there is no lab {name:?}{hint} (duolu lab lists them)")))
            }
        },
        None if args.all => Ok(Some(catalog::all())),
        None => Ok(None),
    }
}

/// What does not hold fails; what was not possible only where nothing else was asked for.
fn judge(all: &[Ran], every: bool, lang: Lang) -> Result<(), Failure> {
    let names: Vec<&str> = all.iter().filter(|ran| ran.failed()).map(|ran| ran.lab.name).collect();
    if !names.is_empty() {
        return Err(Failure::expectation(format!(
            "reality contradicts the page: {} (see ✗ above)",
            names.join(", ")
        )));
    }
    match all {
        [Ran { lab, outcome: Err(trouble) }] if !every => {
            Err(Failure::cannot(format!("lab {}: {}", lab.name, tell::not_possible(trouble, lang))))
        }
        _ if all.iter().all(|ran| ran.outcome.is_err()) => {
            Err(Failure::cannot("no experiment was possible here; each line says what it needs"))
        }
        _ => Ok(()),
    }
}

/// Columns of the terminal; 80 where there is none, and where it is wider than lines are read.
fn width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns.clamp(60, 100) }
}
