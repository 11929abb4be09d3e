//! An echo server on streams, for `bench/peers`: `duolu-bench-echo PORT [--timed]`. With `--timed` each has a read and a
//! write timeout, as a server in earnest has.

use duolu::{Context, EventLoop, Stream, StreamEvent, StreamOptions};
use rustix::net::sockopt::set_tcp_nodelay;
use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

fn echo(_: &mut Context<()>, stream: &mut Stream<'_>, event: StreamEvent) {
    if event == StreamEvent::Read {
        stream.echo();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (port, timed) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [port] => (port.parse()?, false),
        [port, "--timed"] => (port.parse()?, true),
        _ => return Err("usage: duolu-bench-echo PORT [--timed]".into()),
    };
    let mut options = StreamOptions::new();
    if timed {
        let idle = Duration::from_secs(60);
        options = options.read_timeout(idle).write_timeout(idle);
    }
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    // Connections inherit it, as in bench/peers/c/echo.h; so they do its backlog.
    set_tcp_nodelay(&listener, true)?;
    rustix::net::listen(&listener, 4096)?;
    let mut event_loop = EventLoop::new()?;
    event_loop.accept(listener, move |ctx, socket, _| {
        if let Err(error) = ctx.stream(socket, options.clone(), echo) {
            eprintln!("a connection cannot be served: {error}");
        }
    })?;
    event_loop.run()?;
    Ok(())
}
