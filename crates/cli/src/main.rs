//! The command `duolu`: every I/O model on real connections. One folder per verb; this file only dispatches.

mod expect;
mod failure;
mod inspect;
mod lang;
mod machine;
mod manual;
mod model;
mod page;
mod terminal;
mod units;
mod walls;

mod compare;
mod lab;
mod load;
mod report;
mod serve;
mod states;
mod why;
mod with;

use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// duolu (多路): I/O multiplexing, made visible.
#[derive(Parser)]
#[command(
    name = "duolu",
    version,
    about = "duolu (多路): put every I/O model through the same work on real connections",
    before_help = "Examples:\n  duolu compare --quick              every model on this machine, side by side, up to its wall\n  duolu serve echo --model epoll-et  a TCP echo server on one model",
    disable_help_subcommand = true
)]
struct Cli {
    /// When to colour: auto (a terminal, and NO_COLOR not set), always, never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t = terminal::ColorChoice::Auto,
        value_name = "WHEN",
        hide_possible_values = true,
        display_order = 900
    )]
    color: terminal::ColorChoice,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Compare(compare::Args),
    Why(why::Args),
    Serve(serve::Args),
    States(states::Args),
    Load(load::Args),
    Lab(lab::Args),
    With(with::Args),
    Report(report::Args),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    terminal::set_color(cli.color);
    let outcome = match cli.verb {
        Verb::Compare(args) => compare::run(args),
        Verb::Why(args) => why::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::States(args) => states::run(args),
        Verb::Load(args) => load::run(args),
        Verb::Lab(args) => lab::run(args),
        Verb::With(args) => with::run(args),
        Verb::Report(args) => report::run(args),
        Verb::Completions(args) => manual::completions(&args, Cli::command()),
        Verb::Man(args) => manual::man(&args, Cli::command()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
