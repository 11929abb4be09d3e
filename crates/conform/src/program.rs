//! One program on two libraries and four methods.

use crate::{Outcome, compile, difference, ours, run};
use std::path::Path;
use std::time::Duration;

/// A kernel's way of waiting, chosen as users of libevent choose it: by forbidding those that come before. C libevent has no
/// io_uring: there ours is compared with what it says on epoll.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// epoll(7).
    Epoll,
    /// poll(2).
    Poll,
    /// select(2).
    Select,
    /// io_uring(7), which ours has to be asked for. `DUOLU_TEST_NO_URING=1` leaves it out.
    IoUring,
}

impl Method {
    const ALL: [Self; 4] = [Self::Epoll, Self::Poll, Self::Select, Self::IoUring];

    /// What a program needs in its environment to use it, whichever library it has.
    #[must_use]
    pub fn variables(self) -> [(&'static str, Option<&'static str>); 4] {
        let set = |whether: bool, value| whether.then_some(value);
        [
            ("EVENT_NOEPOLL", set(matches!(self, Self::Poll | Self::Select), "1")),
            ("EVENT_NOPOLL", set(self == Self::Select, "1")),
            ("EVENT_NOSELECT", None),
            ("DUOLU_BACKEND", set(self == Self::IoUring, "io_uring")),
        ]
    }

    /// Whether it is told that this machine has it not. What is not told must be there.
    #[must_use]
    pub fn is_left_out(self) -> bool {
        self == Self::IoUring && std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1")
    }

    /// What a directive calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Poll => "poll",
            Self::Select => "select",
            Self::IoUring => "io_uring",
        }
    }
}

/// What a program's first lines say of it, as `conform: KEY=VALUE ...`.
#[derive(Debug)]
pub struct Program {
    /// `link=a,b`: libraries; libevent and its threads unless told.
    pub link: Vec<String>,
    /// `methods=epoll,poll`: all four unless told.
    pub methods: Vec<Method>,
    /// `alone=REASON-WITH-DASHES`: not compared with C libevent, which fails at this: it must print `ok` last and exit with 0.
    pub alone: bool,
    /// `seconds=n`: time for one run, 20 unless told.
    pub most: Duration,
}

impl Program {
    /// Reads the directives of a source file.
    ///
    /// # Panics
    /// At a directive that there is not.
    #[must_use]
    pub fn of(source: &str) -> Self {
        let mut program = Self {
            link: vec!["event".into(), "event_pthreads".into()],
            methods: Method::ALL.into(),
            alone: false,
            most: Duration::from_secs(20),
        };
        let told = source.lines().take(20).filter_map(|line| line.split_once("conform:"));
        for (key, value) in
            told.flat_map(|(_, told)| told.split_whitespace()).filter_map(|word| word.split_once('='))
        {
            match key {
                "link" => program.link = value.split(',').map(str::to_owned).collect(),
                "methods" => {
                    let named = |method: &Method| value.split(',').any(|name| name == method.name());
                    program.methods = Method::ALL.into_iter().filter(named).collect();
                    assert!(!program.methods.is_empty(), "no method in {value}");
                }
                "alone" => program.alone = true,
                "seconds" => program.most = Duration::from_secs(value.parse().expect("seconds are a number")),
                _ => panic!("no directive is called {key}"),
            }
        }
        program
    }
}

/// Runs a program of this crate on both libraries with every method.
///
/// # Panics
/// If they say different things, showing which.
pub fn same(source: &str) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
        .expect("the program is there");
    let program = Program::of(&text);
    let binary = compile(source, &program.link.iter().map(String::as_str).collect::<Vec<_>>());
    let preload = std::env::var("DUOLU_LIBEVENT_PRELOAD").ok();
    let mut complaints = String::new();
    let mut on_epoll = None;
    for &method in program.methods.iter().filter(|method| !method.is_left_out()) {
        let mut variables = method.variables().to_vec();
        variables.push(("LD_LIBRARY_PATH", None));
        let reference = match method {
            _ if program.alone || preload.is_some() => None,
            Method::IoUring if on_epoll.is_some() => on_epoll.take(),
            _ => Some(run(&binary, &variables, program.most)),
        };
        let folder = ours().folder.to_str().expect("paths are UTF-8");
        *variables.last_mut().expect("just pushed") = ("LD_LIBRARY_PATH", Some(folder));
        variables.push(("LD_PRELOAD", preload.as_deref()));
        let ours = run(&binary, &variables, program.most);
        complaints += &match &preload {
            Some(_) => report(method, &ours),
            None => complaint(method, reference.as_ref(), &ours),
        };
        if method == Method::Epoll {
            on_epoll = reference;
        }
    }
    assert!(complaints.is_empty(), "{source} (- C libevent, + ours):\n{complaints}");
}

/// Under a sanitizer its report is of interest alone: it is several times slower, and what a program prints may depend on that.
fn report(method: Method, ours: &Outcome) -> String {
    let reports = ["ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer: "];
    let silent =
        !reports.iter().any(|report| ours.stderr.contains(report)) && !ours.end.starts_with("signal");
    if silent { String::new() } else { format!("== {method:?}: {}\n{}\n", ours.end, ours.stderr) }
}

fn complaint(method: Method, reference: Option<&Outcome>, ours: &Outcome) -> String {
    let ok = match reference {
        Some(reference) => reference.stdout == ours.stdout && reference.end == ours.end,
        None => ours.stdout.trim_end().ends_with("ok") && ours.end == "exit status: 0",
    };
    if ok {
        return String::new();
    }
    let mut text = format!("== {method:?}\n");
    match reference {
        Some(reference) => {
            text += &difference(&reference.stdout, &ours.stdout);
            if reference.end != ours.end {
                text += &format!("- {}\n+ {}\n", reference.end, ours.end);
            }
            text += &stderr("- stderr", &reference.stderr);
        }
        None => text += &format!("{}\n{}\n", ours.stdout, ours.end),
    }
    text + &stderr("+ stderr", &ours.stderr)
}

/// The end of what it said on standard error.
fn stderr(head: &str, text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].iter().map(|line| format!("{head}: {line}\n")).collect()
}
