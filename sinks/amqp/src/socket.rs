//! The connection beneath the client.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use crate::connection::lock;

/// Ends the connection beneath the client, however it hangs. Empty until there is one.
#[derive(Clone, Default)]
pub(crate) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    /// Takes hold of a connection, so that what it was given and did not send ends with it: it would
    /// arrive after what is sent again on another one.
    pub(crate) fn hold(&self, stream: &tokio::net::TcpStream) -> std::io::Result<()> {
        stream.set_zero_linger()?;
        *lock(&self.0) = Some(TcpStream::from(stream.as_fd().try_clone_to_owned()?));
        Ok(())
    }

    pub(crate) fn kill(&self) {
        if let Some(stream) = lock(&self.0).take() {
            // An error means that it has ended already.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_was_not_sent_when_a_connection_is_killed_never_arrives() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut broker, _) = listener.accept().await.unwrap();
        let socket = Socket::default();
        socket.hold(&stream).unwrap();
        // Until both sides have no room: the broker does not read.
        let mut written = 0;
        while timeout(Duration::from_millis(200), stream.writable()).await.is_ok() {
            written += stream.try_write(&[0; 16_384]).unwrap_or_default();
        }
        socket.kill();
        drop(stream);
        let mut received = Vec::new();
        let end = broker.read_to_end(&mut received).await.map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        assert!(received.len() < written, "{} of {written}", received.len());
    }
}
