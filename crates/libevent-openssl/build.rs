//! Gives the object the name that programs were linked with.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libevent_openssl-2.1.so.7");
}
