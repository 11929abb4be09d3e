//! A test for each C program of `programs/`, so that a new one need be named nowhere.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let mut text = String::new();
    folder(Path::new("programs"), &mut text);
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("programs.rs"), text).expect("OUT_DIR can be written to");
}

/// Tests of the programs in `at`, with a module for each folder in it.
fn folder(at: &Path, text: &mut String) {
    println!("cargo:rerun-if-changed={}", at.display());
    let mut entries: Vec<_> = std::fs::read_dir(at)
        .expect("programs/ is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            let _ = writeln!(text, "mod {name} {{");
            folder(&path, text);
            text.push_str("}\n");
        } else if path.extension().is_some_and(|extension| extension == "c") {
            let first = if name.starts_with(|first: char| first.is_ascii_digit()) { "_" } else { "" };
            let _ = writeln!(
                text,
                "#[test] fn {first}{name}() {{ duolu_conform::same({:?}); }}",
                path.display().to_string()
            );
        }
    }
}
