//! epoll refuses regular files (EPERM), poll calls them always ready. Here they are always ready everywhere, and
//! do not keep others from their turn.

use crate::{drain, loop_on, pair};
use duolu::{BackendKind, Exit, Interest, Next, Ready};
use std::fs::File;
use std::io::{Read, Write};

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, (0, 0));
    let file = File::open(std::env::current_exe().expect("a program")).expect("readable");
    event_loop
        .register(file, Interest::READ, |ctx, mut file, ready| {
            assert!(ready.contains(Ready::READ));
            assert_eq!(file.read(&mut [0; 4]).expect("a program has four bytes three times"), 4);
            ctx.data().0 += 1;
            if ctx.data().0 < 3 { Next::Keep } else { Next::Remove }
        })
        .expect("registered");
    let (near, mut far) = pair();
    event_loop
        .register(near, Interest::READ, |ctx, stream, _| {
            ctx.data().1 += drain(stream);
            Next::Remove
        })
        .expect("registered");
    far.write_all(b"x").expect("written");
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    assert_eq!(*event_loop.data(), (3, 1));
}
