//! Starting a program on our library with a method, and what becomes of it.

use duolu_conform::ours;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longer than anything that is waited for takes, a sanitized library on a busy machine included.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a load lasts.
pub fn seconds() -> u64 {
    std::env::var("DUOLU_APPS_SECONDS").map_or(3, |seconds| seconds.parse().expect("a number of seconds"))
}

/// The methods of this machine: `DUOLU_TEST_NO_URING=1` where io_uring is blocked (see CONTRIBUTING.md).
pub fn methods() -> impl Iterator<Item = &'static str> {
    let no_ring = std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1");
    ["epoll", "poll", "select", "io_uring"]
        .into_iter()
        .filter(move |method| !(no_ring && *method == "io_uring"))
}

/// A folder of a program's own, gone with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("duolu-apps-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder of our own");
        Folder(path)
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a plain path").to_owned()
    }

    /// What is in a file of it; nothing while there is none.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.join(name)).unwrap_or_default()).into_owned()
    }

    /// What the program says on stderr, and the sanitizer's reports.
    pub fn complaints(&self) -> String {
        self.read("stderr") + &self.reports()
    }

    /// A sanitizer's reports of the library. They have files of their own, for programs that close stderr. What a program
    /// leaks of its own is not of interest: a leak is the library's where one of its functions has made the memory.
    pub fn reports(&self) -> String {
        let names =
            fs::read_dir(&self.0).expect("our own folder").map(|entry| entry.expect("readable").file_name());
        let names =
            names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("report."));
        let of_the_library = |text: &String| {
            let mut parts = text.split("\n\n");
            !text.contains("LeakSanitizer")
                || parts.any(|part| part.contains("leak of") && part.contains("libevent"))
        };
        names.map(|name| self.read(&name)).filter(of_the_library).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `program` as it will be run on our library; what it writes goes to files in `folder`.
pub fn on_ours(program: &str, method: &str, folder: &Folder) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", &ours().folder).env("DUOLU_BACKEND", method);
    command.env("DUOLU_VERBOSE", folder.file("verbose"));
    if let Some(preload) = std::env::var_os("DUOLU_LIBEVENT_PRELOAD") {
        command.env("LD_PRELOAD", preload);
        for name in ["ASAN_OPTIONS", "TSAN_OPTIONS"] {
            let more = std::env::var(name).unwrap_or_default();
            command.env(name, format!("{more}:exitcode=0:log_path={}", folder.file("report")));
        }
    }
    let file = |name| fs::File::create(folder.file(name)).expect("our own folder");
    command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
    command
}

/// Waits until something is so, within [`PATIENCE`].
///
/// # Panics
/// If it never is.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server, ended with the test.
pub struct Server {
    pub child: Child,
    pub folder: Folder,
}

impl Server {
    /// Asks it to end with SIGTERM or SIGINT, and waits.
    ///
    /// # Panics
    /// If it does not end.
    pub fn end(&mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill(1)").success());
        until("the server ends", || self.child.try_wait().expect("our child"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("its stderr:\n{}", self.folder.complaints());
        }
    }
}

/// A port that nobody has now, for programs that want to be told one.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback");
    socket.local_addr().expect("bound").port()
}

/// Whether a process has our library and no other libevent.
pub fn has_ours(pid: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let object = ours().object.canonicalize().expect("it is there");
    let mut files = maps.lines().filter_map(|line| line.split_once('/')).map(|(_, path)| format!("/{path}"));
    maps.contains(object.to_str().expect("a plain path"))
        && !files.any(|path| path.contains("/libevent") && !path.starts_with(object.to_str().expect("plain")))
}

/// Whether every base of a program's was made with this method, as the library tells.
pub fn used(folder: &Folder, method: &str) -> bool {
    let told = folder.read("verbose");
    let mut made = told.lines().filter_map(|line| line.split_once(" made: ")).peekable();
    made.peek().is_some() && made.all(|(_, what)| what.ends_with(&format!("method {method}")))
}
