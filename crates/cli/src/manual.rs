//! `duolu completions SHELL` and `duolu man DIR`: made from the same definitions as the help.

use crate::failure::Failure;
use clap::Command;
use clap_complete::Shell;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Completions for a shell, on stdout
#[derive(clap::Args)]
#[command(before_help = "Examples:\n  duolu completions bash > /etc/bash_completion.d/duolu\n  \
                         duolu completions zsh > ~/.zfunc/_duolu")]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Manual pages, one for each verb
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu man /usr/local/share/man/man1\n  duolu man . && man ./duolu-load.1"
)]
pub struct ManArgs {
    /// The folder to write duolu.1, duolu-compare.1 and so on into; made if it is not there
    dir: PathBuf,
}

/// Prints the completions.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    // Into memory first: a closed pipe is then an error like any other.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "duolu", &mut script);
    match std::io::stdout().lock().write_all(&script) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::cannot(format!("the completions cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes the pages.
pub fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    let failed = |what: &Path, error: std::io::Error| {
        Failure::cannot(format!(
            "{} cannot be written: {error}; name a folder you may write to",
            what.display()
        ))
    };
    std::fs::create_dir_all(&args.dir).map_err(|error| failed(&args.dir, error))?;
    let command = with_examples(command).disable_help_subcommand(true).mut_subcommands(with_examples);
    clap_mangen::generate_to(command, &args.dir).map_err(|error| failed(&args.dir, error))
}

/// The help leads with its examples; clap_mangen knows only what comes after it.
fn with_examples(command: Command) -> Command {
    match command.get_before_help().cloned() {
        Some(examples) => command.after_long_help(examples),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_verb_has_a_page_and_every_shell_its_completions() {
        let dir = std::env::temp_dir().join(format!("duolu-man-{}", std::process::id()));
        super::man(&super::ManArgs { dir: dir.clone() }, crate::Cli::command()).expect("written");
        for verb in crate::Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()) {
            let page = std::fs::read_to_string(dir.join(format!("duolu-{verb}.1"))).expect("a page");
            assert!(page.contains(".SH") && page.contains("Examples"), "{verb}");
        }
        std::fs::remove_dir_all(&dir).expect("removed");
        let refused = super::man(&super::ManArgs { dir: "/proc/nowhere".into() }, crate::Cli::command());
        assert!(refused.expect_err("no folder").message().contains("may write"));
        for shell in <clap_complete::Shell as clap::ValueEnum>::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut crate::Cli::command(), "duolu", &mut script);
            assert!(String::from_utf8(script).expect("text").contains("connections"), "{shell}");
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        crate::Cli::command().debug_assert();
    }
}
