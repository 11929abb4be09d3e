//! A stranger's PROXY header: the same comes of it however it arrives, and what was understood can be written again.

#![no_main]

use duolu_core::proxy_protocol::{Parsed, USUAL_MAX_BYTES, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes, USUAL_MAX_BYTES);
    for len in 0..bytes.len() {
        match (parse(&bytes[..len], USUAL_MAX_BYTES), &whole) {
            (Ok(Parsed::Partial { at_least }), Ok(Parsed::Complete(_, taken))) => {
                assert!(len < at_least && at_least <= *taken);
            }
            (Ok(Parsed::Partial { at_least }), _) => assert!(len < at_least),
            (Ok(Parsed::Complete(header, taken)), Ok(Parsed::Complete(other, all))) => {
                assert!(taken <= len && taken == *all && header == *other, "more bytes behind a header change nothing");
            }
            (Err(error), Err(later)) => assert_eq!(error, *later, "an error stays what it is"),
            (early, _) => panic!("{early:?} of {len} bytes, and then {whole:?}"),
        }
    }
    if let Ok(Parsed::Complete(header, _)) = whole {
        let mut written = Vec::new();
        header.encode(&mut written).expect("no longer than it was");
        let again = parse(&written, USUAL_MAX_BYTES);
        let all = written.len();
        assert_eq!(again, Ok(Parsed::Complete(header, all)));
    }
});
