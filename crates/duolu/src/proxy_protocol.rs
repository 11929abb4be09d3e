//! The PROXY protocol on streams: who has connected, said ahead of the first byte by a proxy that stands in front.
//!
//! ```
//! use duolu::proxy_protocol::{self, Header, Version};
//! use duolu::{Context, EventLoop, Stream, StreamEvent, StreamOptions};
//! use std::io::Write;
//! use std::net::{TcpListener, TcpStream};
//!
//! let mut event_loop = EventLoop::new()?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! // A proxy that connects for 192.0.2.7.
//! let mut proxy = TcpStream::connect(listener.local_addr()?)?;
//! let mut bytes = Vec::new();
//! Header::tcp(Version::V2, "192.0.2.7:4711".parse()?, "192.0.2.1:80".parse()?).encode(&mut bytes)?;
//! proxy.write_all(&[&bytes[..], b"hello"].concat())?;
//!
//! let mut header: Option<Header> = None;
//! let read = move |ctx: &mut Context, stream: &mut Stream<'_>, event| {
//!     if event == StreamEvent::Read && header.is_none() {
//!         match proxy_protocol::take(stream, proxy_protocol::USUAL_MAX_BYTES) {
//!             Ok(Some(found)) => header = Some(found),
//!             Ok(None) => return,              // not all of it has come
//!             Err(_) => return stream.close(), // it must not be guessed what was meant
//!         }
//!         assert_eq!(stream.front(), b"hello");
//!         ctx.stop();
//!     }
//! };
//! event_loop.stream(listener.accept()?.0, StreamOptions::new(), read)?;
//! event_loop.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Take headers only from peers that are known to be proxies of yours: whoever is listened to may name any address.

use crate::stream::Stream;
pub use duolu_core::proxy_protocol::*;

/// Takes the header from the front of a stream's input; what is behind it stays. `None`: its end has not come yet, ask
/// again at the next `Read`. Have that time be limited ([`StreamOptions::read_timeout`](crate::StreamOptions::read_timeout)).
///
/// # Errors
/// What has come is no header, or a broken one; the input is as it was.
pub fn take(stream: &mut Stream<'_>, max_bytes: usize) -> Result<Option<Header>, ProxyError> {
    // Mostly the whole input is one piece; where it is not, no more is made one than a header may take.
    let wanted = stream.input().len().min(max_bytes.max(MAX_V1_BYTES));
    let input = stream.pull_up(wanted).unwrap_or_default();
    match parse(input, max_bytes)? {
        Parsed::Partial { .. } => Ok(None),
        Parsed::Complete(header, bytes) => {
            stream.consume(bytes);
            Ok(Some(header))
        }
    }
}
