//! The TCP connection of the client.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use cosmos_bridge_sink::Mutex;

/// Shuts the TCP connection down, even if the client hangs. Empty until there is a connection.
#[derive(Clone, Default)]
pub(crate) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    /// Keeps a copy of the stream. Data that is unsent at the shutdown is discarded: it would arrive
    /// after the data that is sent again on another connection.
    pub(crate) fn keep(&self, stream: &tokio::net::TcpStream) -> std::io::Result<()> {
        stream.set_zero_linger()?;
        *self.0.lock() = Some(TcpStream::from(stream.as_fd().try_clone_to_owned()?));
        Ok(())
    }

    pub(crate) fn shut_down(&self) {
        if let Some(stream) = self.0.lock().take() {
            // This fails only if the connection has already ended.
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
    async fn unsent_data_does_not_arrive_after_a_shutdown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut broker, _) = listener.accept().await.unwrap();
        let socket = Socket::default();
        socket.keep(&stream).unwrap();
        // Until both buffers are full: the broker does not read.
        let mut written = 0;
        while timeout(Duration::from_millis(200), stream.writable()).await.is_ok() {
            written += stream.try_write(&[0; 16_384]).unwrap_or_default();
        }
        socket.shut_down();
        drop(stream);
        let mut received = Vec::new();
        let end = broker.read_to_end(&mut received).await.map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        assert!(received.len() < written, "{} of {written}", received.len());
    }
}
