//! A connection that is cut after every byte of an exchange, in every way that there is: 2,016 cuts in each world.
//!
//! What must come of it: the stream goes, each way ends once, and the one event after which nothing comes is an Error, an
//! Eof or a Timeout. An Error may follow an Eof only where at that Eof something was still to be sent: a peer that closed
//! has ended one way as far as anybody can know, and that the other way is gone as well is news.

use crate::stage::Socket;
use duolu::buffer::Eol;
use duolu::{Direction, StreamEvent, StreamOptions};
use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Cut {
    /// close(2): FIN, or RST where the peer has not read everything.
    Close,
    /// shutdown(2) for writing: it still reads to the end.
    HalfClose,
    Reset,
    /// It is there, and says nothing any more.
    Silence,
}

const CUTS: [Cut; 4] = [Cut::Close, Cut::HalfClose, Cut::Reset, Cut::Silence];
/// 36 bytes each; the reply is as long as the request.
const REQUESTS: usize = 7;

fn request(number: usize) -> Vec<u8> {
    let mut line = format!("request {number} of {REQUESTS}, and some more of").into_bytes();
    line.resize(35, b'.');
    line.push(b'\n');
    line
}

/// Up to `limit` bytes of the exchange, both ways together: what is left of the limit.
fn exchange(s: &mut Stage, peer: &mut Socket, limit: usize) {
    let mut left = limit;
    for number in 0..REQUESTS {
        let request = request(number);
        let sent = left.min(request.len());
        s.send_all(peer, &request[..sent]);
        left -= sent;
        let wanted = left.min(request.len());
        if wanted > 0 {
            let got = s.collect_exactly(peer, wanted);
            assert_eq!(got, request.to_ascii_uppercase()[..wanted]);
            left -= wanted;
        }
        if left == 0 {
            return;
        }
    }
}

scenarios! {
    fn cut_anywhere_it_ends_once(s) {
        let length = 2 * REQUESTS * request(0).len();
        let mut cuts = 0;
        for after in 1..=length {
            for cut in CUTS {
                cut_once(s, after, cut);
                cuts += 1;
            }
        }
        assert_eq!(cuts, 2016);
    }
}

fn cut_once(s: &mut Stage, after: usize, cut: Cut) {
    // What is silent long enough has timed out, however slow this machine is; a cut is seen at once.
    let patience = Duration::from_millis(if cut == Cut::Silence { 1 } else { 60_000 });
    let unsent_at_eof = Rc::new(Cell::new(false));
    let unsent = Rc::clone(&unsent_at_eof);
    let (id, mut peer) = s.stream(1, StreamOptions::new(), move |_, stream, event| match event {
        StreamEvent::Read => {
            while let Some(mut line) = stream.read_line(Eol::Lf) {
                line.make_ascii_uppercase();
                line.push(b'\n');
                stream.write_all(&line).expect("open");
            }
        }
        StreamEvent::Eof => unsent.set(stream.unsent() > 0),
        _ => {}
    });
    exchange(s, &mut peer, after);
    if after.is_multiple_of(2) {
        s.turn_once();
    }
    let mut kept = None;
    match cut {
        Cut::Close => drop(peer),
        Cut::Reset => peer.reset(),
        Cut::HalfClose => {
            peer.finish();
            s.collect(&mut peer, usize::MAX);
        }
        Cut::Silence => {
            s.event_loop.with_stream(id, |_, stream| stream.set_timeout(Direction::Read, Some(patience)));
            kept = Some(peer);
        }
    }
    s.until("it is gone", |s| s.gone(id));
    s.turn_once();
    let told = s.told(1);
    let as_expected = match (cut, &told[..]) {
        (Cut::Silence, [StreamEvent::Timeout(Direction::Read)]) => true,
        (Cut::HalfClose, [StreamEvent::Eof]) => true,
        (Cut::Close | Cut::Reset, [StreamEvent::Eof | StreamEvent::Error(..)]) => true,
        (Cut::Close | Cut::Reset, [StreamEvent::Eof, StreamEvent::Error(..)]) => unsent_at_eof.get(),
        _ => false,
    };
    assert!(as_expected, "{:?}: {cut:?} after {after} bytes: {told:?}", s.world);
    drop(kept);
    s.event_loop.data().clear();
}
