//! The service `chargen`: lines of characters without end (RFC 864), as fast as they are taken. What comes is thrown away.

use super::board::{Count, Tally};
use super::door::{self, Door};
use super::evented::road;
use super::worker::Worker;
use crate::failure::Failure;
use crate::model::Model;
use duolu::{Context, Stream, StreamEvent, StreamHandler, StreamOptions};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// The printable characters of ASCII.
const CHARACTERS: usize = 95;
/// A line is 72 of them and CR LF, the next begins with the next character.
const LINE_BYTES: usize = 74;
/// After as many lines as there are characters it begins again; twice that fills a block of a loop's pool best.
const TEXT_BYTES: usize = 2 * CHARACTERS * LINE_BYTES;

static TEXT: [u8; TEXT_BYTES] = text();

const fn text() -> [u8; TEXT_BYTES] {
    let mut text = [0; TEXT_BYTES];
    let mut at = 0;
    while at < TEXT_BYTES {
        let (line, column) = (at / LINE_BYTES, at % LINE_BYTES);
        text[at] = match LINE_BYTES - column {
            2 => b'\r',
            1 => b'\n',
            _ => b' ' + ((line + column) % CHARACTERS) as u8,
        };
        at += 1;
    }
    text
}

/// Runs one worker's loop.
pub fn serve(model: Model, worker: Worker) -> Result<(), Failure> {
    let hall = Hall { door: Door::of(&worker), ending: false };
    door::serve(model, road(model).0, worker, hall, |_| {})
}

struct Hall {
    door: Door,
    ending: bool,
}

impl door::Hall for Hall {
    fn door(&mut self) -> &mut Door {
        &mut self.door
    }

    fn admit(ctx: &mut Context<Self>, stream: TcpStream, _: SocketAddr) -> Result<(), duolu::Error> {
        // Written is told when no more than one text waits.
        let options = StreamOptions::new().output_marks(TEXT_BYTES, usize::MAX);
        let speaker = Speaker { tally: ctx.data().door.tally };
        let id = ctx.stream(stream, options, speaker)?;
        ctx.with_stream(id, |ctx, stream| {
            speak(ctx, stream);
            speak(ctx, stream);
        });
        Ok(())
    }

    fn end(ctx: &mut Context<Self>) {
        ctx.data().ending = true; // each is told at the end of a line
    }
}

fn speak(ctx: &mut Context<Hall>, stream: &mut Stream<'_>) {
    if ctx.data().ending {
        stream.close();
    } else if stream.write_all(&TEXT).is_ok() {
        ctx.data().door.tally.add(Count::BytesOut, TEXT_BYTES as u64);
    }
}

/// A connection.
struct Speaker {
    tally: Tally,
}

impl StreamHandler<Hall> for Speaker {
    fn event(&mut self, ctx: &mut Context<Hall>, stream: &mut Stream<'_>, event: StreamEvent) {
        match event {
            StreamEvent::Read => {
                self.tally.add(Count::BytesIn, stream.input().len() as u64);
                stream.consume(usize::MAX);
            }
            StreamEvent::Written => speak(ctx, stream),
            // The rest is the end, which a stream brings about by itself.
            _ => {}
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.tally.add(Count::Closed, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_those_of_rfc_864() {
        let lines: Vec<&[u8]> = TEXT.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 190);
        assert_eq!(
            lines[0],
            b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n"
        );
        assert_eq!(
            lines[1],
            b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n"
        );
        assert_eq!(&lines[94][..3], b"~ !");
        assert_eq!(lines[95], lines[0], "it begins again without a break");
    }
}
