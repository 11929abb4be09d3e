//! The shim (`shim.c`), built and asked what it has done; and the folder for all of it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the shim writes its counts.
pub const COUNTS: &str = "DUOLU_SHIM_COUNTS";
/// The folder, for the program that runs with the shim.
pub const FOLDER: &str = "DUOLU_SHIM_FOLDER";
/// Whose certificate lies there.
pub const NAME: &str = "server.test";

/// The folder that this program was given.
pub fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("it is run with a folder").into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// With a certificate and its key in it. It goes away with all that is in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("duolu-whole-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        std::fs::write(path.join("cert.pem"), made.cert.pem()).expect("a file");
        std::fs::write(path.join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Builds the shim: the library to be preloaded.
    pub fn build(&self) -> PathBuf {
        let library = self.0.join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whole/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
        let built = compiler.arg(&library).arg(source).arg("-ldl").output().expect("cc runs; gcc brings it");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        library
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What was done to one function.
#[derive(Clone, Debug)]
pub struct Count {
    function: String,
    pub interrupted: u64,
    pub shortened: u64,
    pub bytes: u64,
}

/// What was done to one process.
#[derive(Debug)]
#[allow(dead_code, reason = "what is not read is shown")]
pub struct Counts(Vec<Count>);

impl Counts {
    pub fn read(folder: &Folder, who: &str) -> Self {
        let text = std::fs::read_to_string(folder.path().join(who)).expect("the shim was there, and told");
        let counts = text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse().expect("a number");
            Count {
                function: words[0].to_owned(),
                interrupted: number(1),
                shortened: number(2),
                bytes: number(3),
            }
        });
        Counts(counts.collect())
    }

    pub fn of(&self, function: &str) -> &Count {
        self.0.iter().find(|count| count.function == function).expect("one that is counted")
    }
}
