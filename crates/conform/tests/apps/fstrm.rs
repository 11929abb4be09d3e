//! fstrm_capture: a listener whose bufferevents are read by watermarks; what eight clients send arrives whole.

use crate::kit::{Folder, PATIENCE, Server, has_ours, methods, on_ours, until, used};
use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

const CLIENTS: usize = 8;
const FRAMES: usize = 2_000;

/// Control frames of the Frame Streams protocol.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Control {
    Accept = 1,
    Start,
    Stop,
    Ready,
    Finish,
}

const CONTENT: &[u8] = b"protobuf:duolu";

fn control(kind: Control) -> Vec<u8> {
    let mut inner = (kind as u32).to_be_bytes().to_vec();
    if matches!(kind, Control::Start | Control::Ready) {
        inner.extend(1u32.to_be_bytes());
        inner.extend((CONTENT.len() as u32).to_be_bytes());
        inner.extend(CONTENT);
    }
    [&0u32.to_be_bytes(), &(inner.len() as u32).to_be_bytes(), &inner[..]].concat()
}

fn expect(socket: &mut UnixStream, kind: Control) {
    let mut head = [0; 8];
    socket.read_exact(&mut head).expect("a control frame");
    assert_eq!(head[..4], [0; 4]);
    let mut inner = vec![0; u32::from_be_bytes(head[4..].try_into().expect("four")) as usize];
    socket.read_exact(&mut inner).expect("whole");
    assert_eq!(inner[..4], (kind as u32).to_be_bytes(), "wanted {kind:?}");
}

fn data(client: usize, frame: usize) -> Vec<u8> {
    // Of different sizes, so that reads cut them everywhere.
    let mut bytes = format!("{client} {frame} ").into_bytes();
    bytes.resize(20 + (frame * 37 + client * 301) % 3_000, b'.');
    bytes
}

fn connect(folder: &Folder) -> UnixStream {
    let socket = UnixStream::connect(folder.file("socket")).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket
}

fn send(folder: &Folder, client: usize) {
    let mut socket = connect(folder);
    socket.write_all(&control(Control::Ready)).expect("taken");
    expect(&mut socket, Control::Accept);
    socket.write_all(&control(Control::Start)).expect("taken");
    let frames = (0..FRAMES).map(|frame| data(client, frame));
    let bytes: Vec<u8> =
        frames.flat_map(|data| [&(data.len() as u32).to_be_bytes(), &data[..]].concat()).collect();
    socket.write_all(&bytes).expect("taken");
    socket.write_all(&control(Control::Stop)).expect("taken");
    expect(&mut socket, Control::Finish);
}

/// The sockets of a process.
fn sockets(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let names = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

/// The data frames of a file.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let take = |bytes: &mut &'_ [u8]| {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        Some(u32::from_be_bytes(*head) as usize)
    };
    while let Some(size) = take(&mut bytes) {
        // A size of nothing is a control frame's.
        let (keep, size) = if size == 0 { (false, take(&mut bytes).expect("a size")) } else { (true, size) };
        let (frame, rest) = bytes.split_at(size);
        bytes = rest;
        if keep {
            all.push(frame);
        }
    }
    all
}

#[test]
fn fstrm_capture_writes_every_frame_on_every_method() {
    for method in methods() {
        let folder = Folder::new("fstrm");
        let mut command = on_ours("fstrm_capture", method, &folder);
        command.args(["-t", "protobuf:duolu", "-u", &folder.file("socket"), "-w", &folder.file("written")]);
        let mut server =
            Server { child: command.spawn().expect("fstrm-bin is installed (make tools)"), folder };
        until("fstrm_capture listens", || {
            assert_eq!(server.child.try_wait().expect("our child"), None, "{}", server.folder.complaints());
            UnixStream::connect(server.folder.file("socket")).ok()
        });
        assert!(has_ours(server.child.id()));
        assert!(used(&server.folder, method), "{}", server.folder.read("verbose"));
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let folder = &server.folder;
                scope.spawn(move || send(folder, client));
            }
        });
        // A control frame that is too long is shown the door; who says nothing, or only half, may stay.
        let silent = connect(&server.folder);
        let mut half = connect(&server.folder);
        half.write_all(&control(Control::Ready)[..9]).expect("taken");
        let mut stranger = connect(&server.folder);
        stranger.write_all(&[0, 0, 0, 0, 0, 0, 0x10, 0, 1, 2, 3]).expect("taken");
        let ended = stranger.read(&mut [0; 100]).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(0) | Err(ErrorKind::ConnectionReset)), "{method}: {ended:?}");
        drop((silent, half));
        // It does not free what is open when it ends.
        until("no connection is left", || (sockets(server.child.id()) == 1).then_some(()));
        let status = server.end("INT");
        assert!(status.success(), "{method}: {status}: {}", server.folder.complaints());
        assert_eq!(server.folder.reports(), "");

        let written = fs::read(server.folder.file("written")).expect("the file");
        let found = frames(&written);
        let (count, found): (usize, HashSet<&[u8]>) = (found.len(), found.into_iter().collect());
        assert_eq!((count, found.len()), (CLIENTS * FRAMES, CLIENTS * FRAMES), "{method}");
        for client in 0..CLIENTS {
            let lost = (0..FRAMES).find(|frame| !found.contains(&data(client, *frame)[..]));
            assert_eq!(lost, None, "{method}: of client {client}");
        }
    }
}
