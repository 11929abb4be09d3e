//! Debian's programs that are here anyway start on our library, with every symbol bound at once, and say what they say on
//! C libevent. `scripts/consumers.py --fetch` looks at all 75 packages that link it; RESULTS.md has what came of that.

use std::process::Command;

#[test]
fn the_programs_of_this_machine_start() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/consumers.py");
    let packages = ["memcached", "tmux", "libmemcached-tools"];
    let output = Command::new(script)
        .arg(&duolu_conform::ours().folder)
        .args(packages)
        .env_remove("LD_PRELOAD")
        .output()
        .expect("python3 is installed (make tools)");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for package in packages {
        let line = told.lines().find(|line| line.starts_with(&format!("| {package} "))).expect("a line");
        assert!(line.contains("starts ("), "{line}");
    }
}
