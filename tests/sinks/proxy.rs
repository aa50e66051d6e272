//! A proxy that holds back what clients send, or cuts their connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections. They have numbers, in the order they were opened.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    limits: watch::Sender<Limits>,
    opened: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy, Default)]
struct Limits {
    /// The last connection of which everything that its client sends is kept for now.
    stalled: u64,
    /// The last connection of which no answer reaches its client any more.
    cut: u64,
}

impl Proxy {
    pub(crate) async fn start(to: watch::Receiver<Option<u16>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (limits, current) = watch::channel(Limits::default());
        let (count, opened) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                let (number, to) = (*count.borrow(), *to.borrow());
                let Ok(server) = TcpStream::connect(("127.0.0.1", to.unwrap())).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                connections.spawn(requests(from_client, to_server, number, current.clone()));
                connections.spawn(answers(from_server, to_client, number, current.clone()));
            }
        });
        Self { port, limits, opened, _tasks: tasks }
    }

    /// Keeps what the clients of all open connections send.
    pub(crate) fn stall(&self) {
        let last = *self.opened.borrow();
        self.limits.send_modify(|limits| limits.stalled = last);
    }

    /// Sends what was kept, also of clients that are gone.
    pub(crate) fn go_on(&self) {
        self.limits.send_modify(|limits| limits.stalled = 0);
    }

    /// Closes all open connections for their clients, as soon as the server answers. What was sent
    /// has an effect, and its sender does not know.
    pub(crate) fn cut(&self) {
        let last = *self.opened.borrow();
        self.limits.send_modify(|limits| limits.cut = last);
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut limits: watch::Receiver<Limits>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        // A sender that is gone stalls nothing.
        drop(limits.wait_for(|limits| number > limits.stalled).await);
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    limits: watch::Receiver<Limits>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let is_cut = number <= limits.borrow().cut;
        if read == 0 || is_cut || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
