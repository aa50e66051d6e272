//! A proxy that maps one host name to loopback, for a client that needs that name.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Of the head of a request.
const HEAD_BYTES_MAX: usize = 4096;

/// The running proxy; it stops when this is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Tunnels requests for `host` at port 443 to `target`, and refuses the rest.
    pub(crate) fn start(listener: TcpListener, host: &str, target: SocketAddr) -> Self {
        let address = listener.local_addr().unwrap();
        let asked: Arc<str> = format!("CONNECT {host}:443 ").into();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut tunnels = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while tunnels.try_join_next().is_some() {}
                tunnels.spawn(tunnel(stream, Arc::clone(&asked), target));
            }
        });
        Self { address, _accepting: accepting }
    }
}

/// <https://www.rfc-editor.org/rfc/rfc9110#name-connect>
async fn tunnel(mut stream: TcpStream, asked: Arc<str>, target: SocketAddr) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) if head.len() < HEAD_BYTES_MAX => head.push(byte),
            _ => return,
        }
    }
    let reached = if head.starts_with(asked.as_bytes()) {
        TcpStream::connect(target).await.ok()
    } else {
        None
    };
    // A client that goes away ends a tunnel with an error.
    match reached {
        None => drop(stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await),
        Some(mut target) => {
            if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
                drop(copy_bidirectional(&mut stream, &mut target).await);
            }
        }
    }
}
