//! monoio on io_uring: a task and, since the kernel needs to own one, a buffer of 64 KiB for each connection (of which
//! only the pages that were written to exist).

use duolu_peers::{INPUT_BYTES, listen_here, say_ready};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use std::io;

/// Submissions between two calls of the kernel.
const ENTRIES: u32 = 4096;

fn main() -> io::Result<()> {
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(ENTRIES).build()?.block_on(async {
        let door = TcpListener::from_std(listen_here()?)?;
        say_ready();
        loop {
            let (stream, _) = door.accept().await?;
            monoio::spawn(serve(stream));
        }
    })
}

/// Until the peer's end, or an error.
async fn serve(mut stream: TcpStream) {
    let mut buffer = Vec::with_capacity(INPUT_BYTES);
    loop {
        let (got, read) = stream.read(buffer).await;
        if !got.is_ok_and(|got| got > 0) {
            return;
        }
        let (sent, written) = stream.write_all(read).await;
        if sent.is_err() {
            return;
        }
        buffer = written;
    }
}
