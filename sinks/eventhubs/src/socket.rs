//! The socket of a connection, which can be shut down regardless of what the client does with it.

use std::io;
use std::net::{Shutdown, TcpStream as StdStream};

use cosmos_bridge_sink::Mutex;
use tokio::net::TcpStream;

/// Connects, and returns a guard that can end the connection.
pub(crate) async fn connect(address: (&str, u16)) -> io::Result<(TcpStream, SocketGuard)> {
    let stream = TcpStream::connect(address).await?;
    // Each small frame has to be sent immediately, because its answer is awaited.
    stream.set_nodelay(true)?;
    // Data that is unsent when the connection ends must be discarded: it is sent again on the next
    // connection.
    stream.set_zero_linger()?;
    let stream = stream.into_std()?;
    let copy = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, SocketGuard(Mutex::new(Some(copy)))))
}

/// Ends a connection, at the latest when the guard is dropped.
///
/// The client's task owns the socket and outlives all handles. It first sends the data that it was
/// given, for as long as that takes: an old version of a document could arrive after a newer one on
/// the next connection, and a peer that does not read would hold the task and the batches forever.
/// After the shutdown, the task's reads and writes fail, so the task ends and closes the socket.
#[derive(Debug)]
pub(crate) struct SocketGuard(Mutex<Option<StdStream>>);

impl SocketGuard {
    pub(crate) fn shut_down(&self) {
        let stream = self.0.lock().take();
        // This fails only if the connection has already ended.
        drop(stream.map(|stream| stream.shutdown(Shutdown::Both)));
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.shut_down();
    }
}
