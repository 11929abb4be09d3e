//! Makes what the tests need: our object under the names that programs ask for, and the programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The names under which programs ask for libevent. One file under all of them: glibc loads one inode once.
const NAMES: [&str; 4] =
    ["libevent-2.1.so.7", "libevent_core-2.1.so.7", "libevent_extra-2.1.so.7", "libevent_pthreads-2.1.so.7"];

/// Our libevent, as programs find it.
#[derive(Debug)]
pub struct Ours {
    /// The object itself.
    pub object: PathBuf,
    /// For LD_LIBRARY_PATH.
    pub folder: PathBuf,
    /// Where compiled programs go.
    pub programs: PathBuf,
}

/// Builds our object with the profile of the running test, once.
///
/// # Panics
/// If it cannot be built.
pub fn ours() -> &'static Ours {
    static OURS: OnceLock<Ours> = OnceLock::new();
    OURS.get_or_init(|| {
        let profile = profile_folder();
        let object = match std::env::var_os("DUOLU_LIBEVENT") {
            Some(object) => PathBuf::from(object).canonicalize().expect("DUOLU_LIBEVENT names an object"),
            None => build_object(&profile, "duolu-libevent"),
        };
        // Programs that may use TLS are linked with it; C libevent's would bring the rest of C libevent with it.
        let tls = build_object(&profile, "duolu-libevent-openssl");
        // Each test binary has its own: they may run at the same time.
        let own = own_path();
        let room = profile.join("conform").join(own.file_name().expect("a file"));
        let (folder, programs) = (room.join("lib"), room.join("programs"));
        std::fs::create_dir_all(&folder).expect("the target directory can be written to");
        std::fs::create_dir_all(&programs).expect("the target directory can be written to");
        let names =
            NAMES.map(|name| (name, &object)).into_iter().chain([("libevent_openssl-2.1.so.7", &tls)]);
        for (name, object) in names {
            let _ = std::fs::remove_file(folder.join(name));
            std::os::unix::fs::symlink(object, folder.join(name)).expect("symbolic links can be made");
        }
        Ours { object, folder, programs }
    })
}

/// `target/debug` of `target/debug/deps/programs-0123`.
fn profile_folder() -> PathBuf {
    own_path().parent().and_then(Path::parent).expect("cargo puts tests in PROFILE/deps").to_owned()
}

fn own_path() -> PathBuf {
    std::env::current_exe().expect("/proc is mounted")
}

fn build_object(profile: &Path, package: &str) -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--package", package]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    // With --target the profile's folder is one level lower.
    let mut target = profile.parent().expect("target/PROFILE");
    let triple = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if triple.matches('-').count() >= 2 {
        cargo.args(["--target", triple]);
        target = target.parent().expect("target/TRIPLE/PROFILE");
    }
    cargo.arg("--target-dir").arg(target);
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(built.success(), "{package} does not build");
    profile.join(format!("lib{}.so", package.replace('-', "_")))
}

/// Compiles a C or C++ file of this crate with the system's headers; gives the program.
///
/// # Panics
/// If it does not compile without warnings.
pub fn compile(source: &str, link: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (compiler, standard) = if source.ends_with(".cc") { ("c++", "gnu++17") } else { ("cc", "gnu11") };
    let name = source.trim_start_matches("programs/").trim_end_matches(".c").replace(['/', '.'], "_");
    let program = ours().programs.join(name);
    let mut cc = Command::new(compiler);
    cc.arg(format!("-std={standard}"));
    cc.args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-pthread"]);
    cc.arg("-I").arg(folder.join("programs")).arg(folder.join(source)).arg("-o").arg(&program);
    // All of them, also what the program does not use: programs of distributions are linked so, too.
    cc.args(["-Wl,--no-as-needed", "-Wl,-z,now"]);
    cc.args(link.iter().map(|library| format!("-l{library}")));
    let output = cc.output().expect("cc and c++ are installed (make tools)");
    assert!(output.status.success(), "{source}:\n{}", String::from_utf8_lossy(&output.stderr));
    program
}
