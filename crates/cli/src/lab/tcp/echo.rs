//! The same echo server three times: a process, a thread, an epoll. Each runs in a child of its own and ends with it.

use super::kit::wait_for_ever;
use duolu_sys::process::{Fork, exit_now};
use duolu_sys::socket;
use duolu_sys::worker::fork_worker;
use rustix::event::epoll;
use std::net::{TcpListener, TcpStream};

/// A process for each connection; gives back when it has so many.
pub fn by_processes(listener: &TcpListener, count: usize) {
    for _ in 0..count {
        let Some(stream) = next(listener) else { return };
        match fork_worker() {
            Ok(Fork::Child) => {
                serve(&stream);
                exit_now(0)
            }
            Ok(Fork::Parent(_)) => drop(stream), // the child has it
            Err(_) => return,
        }
    }
}

/// A thread for each connection.
pub fn by_threads(listener: &TcpListener, count: usize) {
    for _ in 0..count {
        let Some(stream) = next(listener) else { return };
        if std::thread::Builder::new().spawn(move || serve(&stream)).is_err() {
            return;
        }
    }
}

/// One epoll for all. Goes on until the clients are gone.
pub fn by_epoll(listener: &TcpListener, count: usize) {
    let Ok(epoll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return };
    let listening = epoll::EventData::new_u64(u64::MAX);
    let _ = epoll::add(&epoll, listener, listening, epoll::EventFlags::IN);
    let mut streams: Vec<Option<TcpStream>> = Vec::with_capacity(count);
    let mut events = Vec::with_capacity(64);
    let mut gone = 0;
    while gone < count {
        events.clear();
        let _ = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None);
        for event in &events {
            let token = event.data.u64();
            if token == u64::MAX {
                while let Ok(stream) = socket::accept(listener) {
                    let data = epoll::EventData::new_u64(streams.len() as u64);
                    let _ = epoll::add(&epoll, &stream, data, epoll::EventFlags::IN);
                    streams.push(Some(stream));
                }
                continue;
            }
            let Some(place) = streams.get_mut(token as usize) else { continue };
            if !place.as_ref().is_some_and(echo) {
                *place = None;
                gone += 1;
            }
        }
    }
}

fn next(listener: &TcpListener) -> Option<TcpStream> {
    loop {
        wait_for_ever(listener);
        match socket::accept(listener) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => return other.ok(),
        }
    }
}

fn serve(stream: &TcpStream) {
    loop {
        wait_for_ever(stream);
        if !echo(stream) {
            return;
        }
    }
}

/// Sends back what is there. `false`: the peer has ended.
fn echo(stream: &TcpStream) -> bool {
    let mut buffer = [0; 256];
    match socket::recv(stream, &mut buffer) {
        Ok(0) => false,
        Ok(count) => socket::send(stream, &buffer[..count]).is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}
