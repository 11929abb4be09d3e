//! Whether a program will really get the library: what keeps it from that is said before it runs, with whose fault it is.

use super::elf::{Elf, OWN_BITS, OWN_MACHINE};
use super::loader::{self, Found};
use super::place::LIBRARY;
use super::program::{Privilege, Program};
use crate::failure::Failure;
use crate::lab::said::{Said, said};
use std::path::Path;

/// What a program that can be run gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gets {
    /// These names of libevent from our folder.
    Ours(Vec<String>),
    /// No libevent is among its libraries.
    Nothing,
    /// It cannot be known beforehand.
    Unknown(Said),
}

/// The reasons that the file itself gives.
///
/// # Errors
/// No library path reaches it.
pub fn reachable(program: &Program) -> Result<(), Failure> {
    let name = program.loaded.display();
    let refuse = |sentence: String| Err(Failure::cannot(sentence));
    if let Some(privilege) = program.privilege {
        let (what, remedy) = match privilege {
            Privilege::SetUser(user) => (format!("is set-user-ID {user}"), "run it as that user"),
            Privilege::SetGroup(group) => {
                (format!("is set-group-ID {group}"), "run it as a user of that group")
            }
            Privilege::Capabilities => ("has file capabilities (getcap)".to_owned(), "run it as root"),
        };
        return refuse(format!(
            "{name} {what}: for such programs the loader drops LD_LIBRARY_PATH, by intention; {remedy}, or run a copy \
             without that right"
        ));
    }
    let Some(elf) = &program.elf else { return Ok(()) };
    if (elf.bits, elf.machine) != (OWN_BITS, OWN_MACHINE) {
        return refuse(format!(
            "{name} is for another machine ({} bits, ELF machine {}); the library here is for {OWN_BITS} bits, \
             machine {OWN_MACHINE}: build duolu for that one",
            elf.bits, elf.machine
        ));
    }
    let Some(interpreter) = &elf.interpreter else {
        return refuse(format!(
            "{name} is statically linked: what it has of libevent is inside it and cannot be exchanged; take a \
             dynamically linked build of it"
        ));
    };
    if !interpreter.contains("ld-linux") {
        return refuse(format!(
            "{name} is for another C library ({interpreter}); the library here is for glibc: take a build for glibc"
        ));
    }
    Ok(())
}

/// What the loader's answer means.
///
/// # Errors
/// It gets another libevent, or none of this version.
pub fn gets(program: &Program, found: Option<&[Found]>, libraries: &Path) -> Result<Gets, Failure> {
    let (Some(elf), Some(found)) = (&program.elf, found) else {
        return Ok(Gets::Unknown(said(
            "what it links cannot be read, so what it gets is not known before it runs",
            "读不到它链接了什么，运行之前无从知道它会得到哪个库",
        )));
    };
    let name = program.loaded.display();
    let mut ours = Vec::new();
    for library in found.iter().filter(|library| loader::is_ours(&library.name)) {
        match &library.path {
            Some(path) if path.starts_with(libraries) => ours.push(library.name.clone()),
            _ if !libraries.join(&library.name).exists() => {
                return Err(Failure::cannot(format!(
                    "{name} needs {} and {} does not hold it: the layout is incomplete; make it again (make dist)",
                    library.name,
                    libraries.display()
                )));
            }
            path => return Err(elsewhere(program, elf, &library.name, path.as_deref())),
        }
    }
    if !ours.is_empty() {
        return Ok(Gets::Ours(ours));
    }
    match found.first() {
        Some(old) => Err(Failure::cannot(format!(
            "{name} is linked with {}, whose ABI is another than that of {LIBRARY}, which duolu stands in for; build it \
             against libevent 2.1 (Debian: libevent-dev)",
            old.name
        ))),
        None => Ok(Gets::Nothing),
    }
}

/// The loader prefers another folder to ours: that of a DT_RPATH, the program's or one of its libraries'.
fn elsewhere(program: &Program, elf: &Elf, library: &str, path: Option<&Path>) -> Failure {
    let name = program.loaded.display();
    let place = path.map_or("nowhere".to_owned(), |path| path.display().to_string());
    match (&elf.rpath, &elf.runpath) {
        (Some(rpath), None) => Failure::cannot(format!(
            "{name} gets {library} from {place}: its RPATH ({rpath}) comes before any LD_LIBRARY_PATH; whoever linked it \
             wanted it so. Run a copy without: patchelf --remove-rpath COPY"
        )),
        _ => Failure::cannot(format!(
            "{name} gets {library} from {place}, in spite of LD_LIBRARY_PATH: a library of it has an RPATH, or the loader \
             could not take ours (LD_DEBUG=libs {name} tells)"
        )),
    }
}

/// What it gets, as -v tells it.
pub fn tell(program: &Program, gets: &Gets, libraries: &Path) -> Said {
    let name = match program.path == program.loaded {
        true => program.path.display().to_string(),
        false => format!("{} ({})", program.path.display(), program.loaded.display()),
    };
    let version = env!("CARGO_PKG_VERSION");
    match gets {
        Gets::Ours(names) => Said::of(|lang| {
            let (folder, names) = (libraries.display(), lang.list(names));
            match lang {
                crate::lang::Lang::En => format!("{name} gets {names} from {folder} (duolu {version})"),
                crate::lang::Lang::Zh => format!("{name} 使用 {folder} 中的 {names}（duolu {version}）"),
            }
        }),
        Gets::Nothing => Said::of(|lang| {
            let text = lang.pick(
                "does not link libevent: nothing changes for it, unless it loads the library while it runs or \
                 starts programs that link it",
                "没有链接 libevent：对它不会有任何变化，除非它在运行时加载该库，或启动链接了该库的程序",
            );
            format!("{name} {text}")
        }),
        Gets::Unknown(why) => Said::of(|lang| format!("{name}{}{}", lang.pick(": ", "："), why.pick(lang))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Lang;

    fn program(elf: Option<Elf>) -> Program {
        Program { path: "/bin/p".into(), loaded: "/bin/p".into(), elf, privilege: None }
    }

    fn usual() -> Elf {
        Elf {
            bits: OWN_BITS,
            machine: OWN_MACHINE,
            interpreter: Some("/lib64/ld-linux-x86-64.so.2".into()),
            ..Elf::default()
        }
    }

    fn found(name: &str, path: &str) -> Found {
        Found { name: name.into(), path: Some(path.into()) }
    }

    #[test]
    fn what_no_library_path_reaches_is_refused() {
        let refused = |program: Program| reachable(&program).expect_err("refused").message().to_owned();
        assert!(reachable(&program(None)).is_ok() && reachable(&program(Some(usual()))).is_ok());
        assert!(refused(program(Some(Elf { interpreter: None, ..usual() }))).contains("statically linked"));
        assert!(refused(program(Some(Elf { bits: 32, machine: 3, ..usual() }))).contains("32 bits"));
        let musl = Elf { interpreter: Some("/lib/ld-musl-x86_64.so.1".into()), ..usual() };
        assert!(refused(program(Some(musl))).contains("glibc"));
        for (privilege, said) in [
            (Privilege::SetUser(0), "set-user-ID 0"),
            (Privilege::SetGroup(8), "set-group-ID 8"),
            (Privilege::Capabilities, "getcap"),
        ] {
            let sentence = refused(Program { privilege: Some(privilege), ..program(Some(usual())) });
            assert!(sentence.contains(said) && sentence.contains("LD_LIBRARY_PATH"), "{sentence}");
        }
    }

    #[test]
    fn the_loaders_answer_is_judged() {
        let folder = std::env::temp_dir().join(format!("duolu-judge-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join(LIBRARY), "").expect("written");
        let judge = |elf: Elf, found: &[Found]| gets(&program(Some(elf)), Some(found), &folder);
        let ours = found(LIBRARY, folder.join(LIBRARY).to_str().expect("plain"));
        assert_eq!(judge(usual(), &[ours]).expect("ours"), Gets::Ours(vec![LIBRARY.into()]));
        assert_eq!(judge(usual(), &[]).expect("nothing"), Gets::Nothing);
        let refused = |elf, found| judge(elf, &[found]).expect_err("refused").message().to_owned();
        let theirs = found(LIBRARY, "/opt/libevent-2.1.so.7");
        let with_rpath = Elf { rpath: Some("/opt".into()), ..usual() };
        assert!(refused(with_rpath, theirs.clone()).contains("RPATH (/opt)"));
        assert!(refused(usual(), theirs).contains("a library of it"));
        assert!(
            refused(usual(), found("libevent-2.0.so.5", "/usr/lib/libevent-2.0.so.5"))
                .contains("libevent-dev")
        );
        assert!(refused(usual(), found("libevent_core-2.1.so.7", "/usr/lib/x")).contains("incomplete"));
        assert!(matches!(gets(&program(None), None, &folder), Ok(Gets::Unknown(_))));
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn what_is_told_names_the_program_in_both_languages() {
        for lang in Lang::BOTH {
            for gets in [Gets::Ours(vec![LIBRARY.into()]), Gets::Nothing, Gets::Unknown(said("why", "为何"))]
            {
                let text = tell(&program(None), &gets, Path::new("/lib/duolu"));
                assert!(text.pick(lang).contains("/bin/p"), "{text:?}");
            }
        }
    }
}
