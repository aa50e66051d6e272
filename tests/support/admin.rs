//! A client for the admin address of a bridge, down to single bytes where a test needs that.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::{PATIENCE, planted};

/// The admin address of a bridge.
#[derive(Clone, Copy)]
pub(crate) struct AdminAddress(pub(crate) u16);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl AdminAddress {
    /// The `host` header of a valid request.
    pub(crate) fn host(self) -> String {
        format!("127.0.0.1:{}", self.0)
    }

    /// Sends GET with additional header lines.
    pub(crate) async fn get(self, path: &str, more: &str) -> io::Result<Answer> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{more}\r\n", self.host());
        self.exchange(head.as_bytes()).await
    }

    /// Sends these bytes and reads until the bridge closes the connection. The answer is searched for planted
    /// texts.
    pub(crate) async fn exchange(self, bytes: &[u8]) -> io::Result<Answer> {
        let mut stream = self.connect().await?;
        // The bridge does not read the rest of a request that it refuses early.
        stream.write_all(bytes).await.ok();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
        planted::search("an answer of the admin address", &String::from_utf8_lossy(&answer));
        parse(&answer).ok_or_else(|| io::Error::other("no answer"))
    }

    pub(crate) async fn connect(self) -> io::Result<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.0)).await
    }

    /// Connects from another address of this machine.
    pub(crate) async fn connect_from(self, peer: [u8; 4]) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((peer, 0).into())?;
        socket.connect(([127, 0, 0, 1], self.0).into()).await
    }

    /// Waits until a page has this status and its body contains a text.
    pub(crate) async fn until(self, path: &str, status: u16, text: &str) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = self.get(path, "").await;
            match last {
                Ok(answer) if answer.status == status && answer.body.contains(text) => {
                    return answer;
                }
                last => assert!(Instant::now() < deadline, "no {status} {text}: {last:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}
