//! An echo server over TLS: `stream_echo`, with a certificate.
//!
//! Run it with `cargo run --example tls_echo CERTIFICATE KEY [ADDRESS]`, both files in PEM, and talk to it with
//! `openssl s_client -connect 127.0.0.1:7778 -CAfile ROOT`. A pair to try it with:
//! `openssl req -x509 -newkey ed25519 -nodes -keyout key.pem -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost`
//!
//! It shows: `tls::Server`, what was agreed upon with each client, what went wrong in words, and that everything else is as
//! without TLS.

use duolu::stream::LayerError;
use duolu::{EventLoop, Stream, StreamEvent, StreamOptions, tls};
use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

/// A client from which nothing is heard for so long is left.
const IDLE: Duration = Duration::from_secs(60);
/// So long may a handshake take in all, and later a client that takes nothing.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(certificate), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tls_echo CERTIFICATE KEY [ADDRESS]".into());
    };
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7778".to_owned());
    let server = tls::Server::from_files(certificate, key).map_err(|error| error.to_string())?;
    let listener =
        TcpListener::bind(&address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);

    let mut event_loop = EventLoop::new()?;
    event_loop.accept(listener, move |ctx, socket, peer| {
        let session = match server.accept(socket) {
            Ok(session) => session,
            Err(error) => return eprintln!("cannot serve {peer}: {error}"),
        };
        let options = StreamOptions::new().read_timeout(IDLE).write_timeout(PATIENCE);
        let served =
            ctx.stream(session, options, move |_: &mut _, stream: &mut Stream<'_>, event| match event {
                StreamEvent::Connected => {
                    if let Some(info) = stream.tls() {
                        println!("{peer}: {} with {}", info.version, info.cipher_suite);
                    }
                }
                StreamEvent::Read => {
                    stream.echo(); // moves the bytes; they are encrypted and go out when this returns
                }
                StreamEvent::Error(_, errno) => {
                    let why = stream.layer_error().map(LayerError::to_string);
                    println!(
                        "{peer}: {}",
                        why.unwrap_or_else(|| std::io::Error::from_raw_os_error(errno.0).to_string())
                    );
                }
                _ => {}
            });
        if let Err(error) = served {
            eprintln!("cannot serve {peer}: {error}");
        }
    })?;
    // The listener stays registered, so this runs until the process is ended.
    event_loop.run()?;
    Ok(())
}
