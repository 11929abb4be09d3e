//! Where the libraries lie: beside this command, in one of the three ways it is laid out.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// The name programs are linked with; it must be in the folder.
pub const LIBRARY: &str = "libevent-2.1.so.7";

/// From the folder of the command to the folder of the libraries.
const WAYS: [&str; 3] = [
    "../lib/duolu", // make dist (dist/bin, dist/lib/duolu) and the package (/usr/bin, /usr/lib/duolu)
    "../dist/lib/duolu", // target/release or target/debug, and target/dist
    ".",            // unpacked into one folder
];

/// The folder of the libraries: `asked` for, or beside `command`, this program's own file.
///
/// # Errors
/// It is nowhere: the sentence says where it was looked for and what makes it.
pub fn find(asked: Option<&Path>, command: &Path) -> Result<PathBuf, Failure> {
    if let Some(folder) = asked {
        return ready(folder).ok_or_else(|| {
            Failure::usage(format!(
                "{} holds no {LIBRARY}; --libs wants the folder it is in",
                folder.display()
            ))
        });
    }
    let here = command.parent().unwrap_or(Path::new("/"));
    WAYS.iter().find_map(|way| ready(&here.join(way))).ok_or_else(|| {
        Failure::cannot(format!(
            "there is no {LIBRARY} beside {} (looked for in {}); in a copy of the sources `make dist` makes it, and \
             an installed command has it from its package; or say where it is with --libs DIR",
            command.display(),
            WAYS.map(|way| here.join(way).display().to_string()).join(", ")
        ))
    })
}

/// The folder as an absolute path without `..`, if the library is in it. The program may change its directory before it
/// loads something.
fn ready(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    folder.join(LIBRARY).is_file().then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_is_found_and_what_is_missing_is_said() {
        let root = std::env::temp_dir().join(format!("duolu-place-{}", std::process::id()));
        for (command, libraries) in [
            ("usr/bin/duolu", "usr/lib/duolu"),
            ("target/release/duolu", "target/dist/lib/duolu"),
            ("flat/duolu", "flat"),
        ] {
            let (command, libraries) = (root.join(command), root.join(libraries));
            std::fs::create_dir_all(command.parent().expect("a folder")).expect("made");
            let refused = find(None, &command).expect_err("not there yet");
            assert!(refused.message().contains("make dist"), "{}", refused.message());
            std::fs::create_dir_all(&libraries).expect("made");
            std::fs::write(libraries.join(LIBRARY), "").expect("written");
            assert_eq!(find(None, &command).expect("found"), libraries.canonicalize().expect("there"));
            assert_eq!(find(Some(&libraries), Path::new("/duolu")).expect("asked for"), libraries);
        }
        assert!(find(Some(&root), &root).is_err(), "it is not in there");
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
