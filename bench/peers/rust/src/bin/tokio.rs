//! tokio: its current-thread runtime, a task for each connection, one input buffer for all of them.

use duolu_peers::{Outcome, echo, listen_here, say_ready};
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let door = TcpListener::from_std(listen_here()?)?;
        say_ready();
        loop {
            let (stream, _) = door.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

/// Until the peer's end, or an error.
async fn serve(mut stream: TcpStream) {
    while stream.readable().await.is_ok() {
        match echo(|room| stream.try_read(room), |bytes| stream.try_write(bytes)) {
            Outcome::Done { .. } | Outcome::Empty => {}
            Outcome::Blocked(rest) => {
                if stream.write_all(&rest).await.is_err() {
                    return;
                }
            }
            Outcome::Gone => return,
        }
    }
}
