//! The socket beneath a connection, which can be ended whatever the client is doing with it.

use std::io;
use std::net::{Shutdown, TcpStream as Twin};
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpStream;

/// Connects, and keeps what ends the connection again.
pub(crate) async fn connect(address: (&str, u16)) -> io::Result<(TcpStream, Cut)> {
    let stream = TcpStream::connect(address).await?;
    // Answers are awaited; small frames must not wait for each other.
    stream.set_nodelay(true)?;
    // What was not sent when the connection ends is not to be sent at all: it goes on another one.
    stream.set_zero_linger()?;
    let stream = stream.into_std()?;
    let twin = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, Cut(Mutex::new(Some(twin)))))
}

/// Ends a connection, at the latest when it is dropped.
///
/// The client's task owns the socket and outlives all handles. It first sends what it was given, for as
/// long as that takes: an old version of a document could come after a newer one on the next
/// connection, and a peer that does not read would hold the task and the batches for ever. Shut down,
/// the socket fails the task's reads and writes, so the task ends and closes it.
#[derive(Debug)]
pub(crate) struct Cut(Mutex<Option<Twin>>);

impl Cut {
    pub(crate) fn now(&self) {
        let twin = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Fails only where the connection has ended already.
        drop(twin.map(|twin| twin.shutdown(Shutdown::Both)));
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.now();
    }
}
