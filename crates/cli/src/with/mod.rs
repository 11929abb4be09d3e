//! `duolu with PROGRAM`: runs an unmodified program on duolu's libevent.
//!
//! `place` finds the libraries, `program` the program, `elf` and `loader` what it links; `judge` says what will come of it.
//! Then this process becomes the program: signals and exit status are its own.

mod elf;
mod judge;
mod loader;
mod place;
mod program;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::terminal;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Run an unmodified program on duolu's libevent
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu with memcached -m 64                   memcached, as it is installed\n  duolu with -v -- tmux -L try                 and say what it got, on what, and how much it did\n  DUOLU_BACKEND=io_uring duolu with memcached  the same on io_uring (or poll, select)",
    after_help = "Nothing is installed or changed: the program is run with LD_LIBRARY_PATH set, and what it starts inherits that. To go back, run it without this command. It becomes the program: signals and the exit status are the program's own.\n\nDUOLU_VERBOSE=/path/to/file appends what -v tells of the loop to a file: for programs that close stderr.\n\nExit codes: the program's; 2 usage, 3 it cannot be run, or no library path reaches it."
)]
pub struct Args {
    /// Say on stderr which libevent it gets, the method chosen and, at the end, the loop's counters
    #[arg(short, long)]
    verbose: bool,
    /// The folder of the libraries [default: the one beside this command]
    #[arg(long, value_name = "DIR")]
    libs: Option<PathBuf>,
    /// The language of what -v says [default: the locale's]
    #[arg(long, value_enum)]
    lang: Option<Lang>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// Becomes the program.
///
/// # Errors
/// It could not (3), or what it was asked makes no sense (2).
pub fn run(args: Args) -> Result<(), Failure> {
    let own = std::env::current_exe().map_err(|error| {
        Failure::cannot(format!("cannot find this command's own file: {error}; is /proc mounted?"))
    })?;
    let libraries = place::find(args.libs.as_deref(), &own)?;
    let Some((name, arguments)) = args.program.split_first() else {
        return Err(Failure::usage("with wants a program"));
    };
    let program = program::find(name, std::env::var_os("PATH").as_deref())?;
    judge::reachable(&program)?;
    let library_path = in_front(&libraries, std::env::var_os("LD_LIBRARY_PATH").as_deref())?;
    let interpreter = program.elf.as_ref().and_then(|elf| elf.interpreter.as_deref());
    let found = interpreter.and_then(|interpreter| loader::ask(interpreter, &program.loaded, &library_path));
    let gets = judge::gets(&program, found.as_deref(), &libraries)?;
    let mut command = Command::new(&program.path);
    command.arg0(name).args(arguments).env("LD_LIBRARY_PATH", &library_path);
    if args.verbose {
        let lang = args.lang.unwrap_or_else(Lang::of_locale);
        terminal::tell(&format!("duolu: {}", judge::tell(&program, &gets, &libraries).pick(lang)));
        if std::env::var_os("DUOLU_VERBOSE").is_none_or(|value| value.is_empty() || value == "0") {
            command.env("DUOLU_VERBOSE", "1");
        }
    }
    let error = command.exec();
    Err(Failure::cannot(format!("{} cannot be run: {error}", program.path.display())))
}

/// LD_LIBRARY_PATH with our folder in front. An empty entry in it would be the working directory, so none is made.
fn in_front(libraries: &Path, others: Option<&OsStr>) -> Result<OsString, Failure> {
    let mut path = libraries.as_os_str().to_owned();
    let taken = |byte: &u8| [b':', b';'].contains(byte);
    if std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).iter().any(taken) {
        return Err(Failure::cannot(format!(
            "the loader cannot be told of {}: a path with a colon or semicolon would be taken for two",
            libraries.display()
        )));
    }
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        path.push(":");
        path.push(others);
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_path_has_our_folder_in_front_and_no_empty_entry() {
        let path = |others: Option<&str>| in_front(Path::new("/a"), others.map(OsStr::new)).expect("a path");
        assert_eq!(path(None), "/a");
        assert_eq!(path(Some("")), "/a");
        assert_eq!(path(Some("/b:/c")), "/a:/b:/c");
        assert!(in_front(Path::new("/a:b"), None).is_err());
    }
}
