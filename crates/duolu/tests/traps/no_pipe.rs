//! Out of descriptors there is no pipe to splice through: the bytes go through memory, none is lost, and when there are
//! descriptors again they are spliced as before.

use crate::loop_on;
use duolu::{BackendKind, SpliceEnd, SpliceOptions, Spliced};
use duolu_sys::process::{Limit, descriptor_limit, set_descriptor_limit};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

const BYTES: usize = 3_000_000;

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, None::<Spliced>);
    let pairs = [crate::pair(), crate::pair()];
    let [(one, mut first), (two, mut second)] = pairs;
    let told = |ctx: &mut duolu::Context<_>, report| *ctx.data() = Some(report);
    event_loop.splice(one, two, SpliceOptions::new(), told).expect("two sockets");
    let limit = descriptor_limit().expect("a limit");
    set_descriptor_limit(Limit { soft: limit.soft.min(256), ..limit }).expect("lowered");
    let mut fillers: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let pass = |event_loop: &mut duolu::EventLoop<_>, first: &mut UnixStream, second: &mut UnixStream| {
        let (mut sent, mut got, mut bytes) = (0, 0, vec![0; 65536]);
        while got < BYTES {
            let part: Vec<u8> = (sent..BYTES.min(sent + 65536)).map(|at| (at % 251) as u8).collect();
            match first.write(&part) {
                Ok(count) => sent += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            event_loop.run_nonblocking().expect("a turn");
            while let Ok(count) = second.read(&mut bytes) {
                assert!(count > 0, "the end after {got} bytes");
                assert!(bytes[..count].iter().enumerate().all(|(at, byte)| *byte == ((got + at) % 251) as u8));
                got += count;
            }
        }
    };
    pass(&mut event_loop, &mut first, &mut second);
    fillers.clear();
    pass(&mut event_loop, &mut first, &mut second);
    drop((first, second));
    while event_loop.data().is_none() {
        event_loop.run_once().expect("a turn");
    }
    let report = event_loop.data().take().expect("it was told");
    assert_eq!((report.end, report.forward), (SpliceEnd::Finished, 2 * BYTES as u64));
    assert!(report.unseen > 0 && report.unseen <= BYTES as u64, "{report:?}");
}
