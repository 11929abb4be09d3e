//! What the dynamic loader would give a program: asked of the loader itself, which lists it and runs nothing
//! (`ld.so --list`, ld.so(8); it is what ldd(1) does).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A libevent among a program's libraries: its name and where the loader finds it, if it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// `libevent_core-2.1.so.7`.
    pub name: String,
    /// The file; none: not found.
    pub path: Option<PathBuf>,
}

/// The libevents that `program` gets with this library path, its libraries' included. `None`: the loader does not say.
pub fn ask(interpreter: &str, program: &Path, library_path: &OsStr) -> Option<Vec<Found>> {
    // Another C library's loader understands other arguments, and might run the program.
    if !Path::new(interpreter).file_name()?.to_str()?.starts_with("ld-linux") {
        return None;
    }
    let program = program.canonicalize().ok()?;
    let output = Command::new(interpreter)
        .arg("--list")
        .arg(program)
        .env("LD_LIBRARY_PATH", library_path)
        .env_remove("LD_DEBUG")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect())
}

/// `libevent-2.1.so.7 => /lib/x86_64-linux-gnu/libevent-2.1.so.7 (0x00007f...)`, `... => not found`.
fn parse(line: &str) -> Option<Found> {
    let (name, place) = line.trim().split_once(" => ")?;
    if !is_libevent(name) {
        return None;
    }
    let file = place.rsplit_once(" (0x").map(|(path, _)| PathBuf::from(path));
    Some(Found { name: name.to_owned(), path: file })
}

/// Whether a library's name is that of a libevent, of whatever version.
pub fn is_libevent(name: &str) -> bool {
    name.strip_prefix("libevent").is_some_and(|rest| rest.starts_with(['-', '_', '.']))
}

/// Whether it is of the version that this library stands in for.
pub fn is_ours(name: &str) -> bool {
    is_libevent(name) && name.ends_with("-2.1.so.7")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_lines_are_read() {
        let found =
            |name: &str, path: Option<&str>| Some(Found { name: name.into(), path: path.map(PathBuf::from) });
        assert_eq!(
            parse("\tlibevent-2.1.so.7 => /usr/lib/a (b)/libevent-2.1.so.7 (0x00007f0e5c4a1000)"),
            found("libevent-2.1.so.7", Some("/usr/lib/a (b)/libevent-2.1.so.7"))
        );
        assert_eq!(parse("\tlibevent_core-2.1.so.7 => not found"), found("libevent_core-2.1.so.7", None));
        assert_eq!(parse("\tlinux-vdso.so.1 (0x00007ffd)"), None);
        assert_eq!(parse("\tlibc.so.6 => /lib/libc.so.6 (0x0000)"), None);
        assert!(is_libevent("libevent-2.0.so.5") && !is_ours("libevent-2.0.so.5"));
        assert!(is_libevent("libevent.so.1") && is_ours("libevent_openssl-2.1.so.7"));
        assert!(!is_libevent("libeventlog.so.0"));
    }
}
