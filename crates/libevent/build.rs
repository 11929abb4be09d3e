//! Compiles what stable Rust cannot say (functions with `...`), and gives the object its name.

fn main() {
    println!("cargo:rerun-if-changed=src/variadic.c");
    cc::Build::new().file("src/variadic.c").warnings(true).extra_warnings(true).compile("variadic");
    // Threads that end, and signals, call into the object: it must not go away under them (dlclose(3)).
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // What programs were linked with.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libevent-2.1.so.7");
}
