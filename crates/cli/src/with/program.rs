//! Which file a name runs, as execvp(3) has it, and what kind of file that is: a program, or a script, of which the
//! library path reaches the interpreter.

use super::elf::Elf;
use crate::failure::Failure;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The kernel gives up after so many scripts that name scripts (BINPRM, ELOOP).
const DEEPEST: usize = 5;
/// The kernel reads so much of a script's first line (BINPRM_BUF_SIZE).
const FIRST_LINE: usize = 256;

/// What is to be run.
pub struct Program {
    /// The file that is named.
    pub path: PathBuf,
    /// The file that is loaded: the same, or the interpreter of a script.
    pub loaded: PathBuf,
    /// What is written in that file; none where it is no ELF file, or may be run but not read.
    pub elf: Option<Elf>,
    /// What the kernel makes of the process when it runs that file.
    pub privilege: Option<Privilege>,
}

/// Why the loader drops LD_LIBRARY_PATH (AT_SECURE in getauxval(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// The set-user-ID bit, of somebody else.
    SetUser(u32),
    /// The set-group-ID bit, of another group.
    SetGroup(u32),
    /// Capabilities of the file (setcap(8)), and we are not root.
    Capabilities,
}

/// Finds it.
///
/// # Errors
/// There is none, or it may not be run.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<Program, Failure> {
    let file = locate(name, path)?;
    let mut loaded = file.clone();
    for _ in 0..DEEPEST {
        match interpreter(&loaded, path) {
            Some(next) => loaded = next,
            None => break,
        }
    }
    let elf = fs::read(&loaded).ok().and_then(|bytes| Elf::read(&bytes));
    let privilege = fs::metadata(&loaded).ok().and_then(|file| privilege(&loaded, &file));
    Ok(Program { path: file, loaded, elf, privilege })
}

/// The file behind a name: as it stands with a slash in it, else in the first folder of PATH that has it.
fn locate(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
    let shown = name.display();
    if name.as_bytes().contains(&b'/') {
        return match fs::metadata(name) {
            Err(error) => Err(Failure::cannot(format!("{shown}: {}", reason(&error)))),
            Ok(file) if file.is_dir() => Err(Failure::cannot(format!("{shown} is a folder, not a program"))),
            Ok(file) if !runnable(&file) => {
                Err(Failure::cannot(format!("{shown} may not be run; if it is a program: chmod +x {shown}")))
            }
            Ok(_) => Ok(name.into()),
        };
    }
    let folders = path.unwrap_or(OsStr::new("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    let found = std::env::split_paths(folders)
        // An empty entry is the working directory.
        .map(
            |folder| {
                if folder.as_os_str().is_empty() { Path::new(".").join(name) } else { folder.join(name) }
            },
        )
        .find(|file| fs::metadata(file).is_ok_and(|file| file.is_file() && runnable(&file)));
    found.ok_or_else(|| {
        let hint = if Path::new(name).is_file() {
            format!(" in PATH; the one in this folder is ./{shown}")
        } else if let Some(file) = in_sbin(name) {
            format!(" in PATH; there is {}", file.display())
        } else {
            " in PATH: is it installed, and spelt so?".to_owned()
        };
        Failure::cannot(format!("there is no program {shown}{hint}"))
    })
}

/// Servers lie in folders that are in root's PATH only.
fn in_sbin(name: &OsStr) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/local/sbin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file())
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not look into that folder".to_owned(),
        _ => error.to_string(),
    }
}

fn runnable(file: &Metadata) -> bool {
    file.permissions().mode() & 0o111 != 0
}

/// What follows `#!` in a script; with env(1) the program that it looks for.
fn interpreter(script: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let mut line = Vec::with_capacity(FIRST_LINE);
    File::open(script).ok()?.take(FIRST_LINE as u64).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let mut words = words.map(|word| OsString::from_vec(word.to_vec()));
    let first = PathBuf::from(words.next()?);
    if first.file_name() != Some(OsStr::new("env")) {
        return Some(first);
    }
    // Options and settings come before the program.
    let name = words.find(|word| !word.as_bytes().starts_with(b"-") && !word.as_bytes().contains(&b'='))?;
    locate(&name, path).ok()
}

/// Whether the kernel gives the process other rights than ours when it runs this.
fn privilege(path: &Path, file: &Metadata) -> Option<Privilege> {
    use rustix::process::{getgid, getuid};
    let mode = file.mode();
    if mode & 0o4000 != 0 && file.uid() != getuid().as_raw() {
        return Some(Privilege::SetUser(file.uid()));
    }
    // Without the group's right to run it the bit means mandatory locking.
    if mode & 0o2010 == 0o2010 && file.gid() != getgid().as_raw() {
        return Some(Privilege::SetGroup(file.gid()));
    }
    let capable =
        !getuid().is_root() && rustix::fs::getxattr(path, "security.capability", &mut [0_u8; 64]).is_ok();
    capable.then_some(Privilege::Capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_leads_to_its_interpreter() {
        let folder = std::env::temp_dir().join(format!("duolu-program-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("made");
        let script = |name: &str, text: &str| {
            let file = folder.join(name);
            fs::write(&file, text).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("our own");
            file
        };
        let path = std::env::join_paths([&folder, Path::new("/bin")]).expect("a path");
        script("one", "#!/bin/cat -v\n");
        let two = script("two", &format!("#! {}/one\n", folder.display()));
        script("three", "#!/usr/bin/env -S A=b cat\nhello");
        let of = |name: &OsStr| find(name, Some(&path)).expect("found").loaded;
        assert_eq!(of(OsStr::new("one")), Path::new("/bin/cat"));
        assert_eq!(of(two.as_os_str()), Path::new("/bin/cat"));
        assert_eq!(of(OsStr::new("three")), Path::new("/bin/cat"));
        let loop_of_its_own = script("round", &format!("#!{}/round\n", folder.display()));
        assert!(find(loop_of_its_own.as_os_str(), None).expect("it ends").elf.is_none());
        for (name, said) in [
            ("duolu-no-such", "there is no program"),
            ("/duolu/no/such", "there is no such file"),
            ("/tmp", "is a folder"),
            ("/etc/passwd", "chmod +x"),
        ] {
            let refused = find(OsStr::new(name), Some(&path)).err().expect("refused");
            assert!(refused.message().contains(said), "{}", refused.message());
        }
        fs::remove_dir_all(&folder).expect("removed");
    }
}
