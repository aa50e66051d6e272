//! A proxy that holds back what clients send, or cuts their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    kept: Arc<AtomicUsize>,
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
        let kept = Arc::default();
        let keeping = Arc::clone(&kept);
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
                let requests =
                    requests(from_client, to_server, number, current.clone(), Arc::clone(&keeping));
                connections.spawn(requests);
                connections.spawn(answers(from_server, to_client, number, current.clone()));
            }
        });
        Self { port, limits, opened, kept, _tasks: tasks }
    }

    /// Keeps what the clients of all open connections send.
    pub(crate) fn stall(&self) {
        let last = *self.opened.borrow();
        self.limits.send_modify(|limits| limits.stalled = last);
    }

    /// The bytes that are kept now. Of each connection, what was sent after them is not counted.
    pub(crate) fn keeps(&self) -> usize {
        self.kept.load(Ordering::SeqCst)
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
    kept: Arc<AtomicUsize>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        if number <= limits.borrow().stalled {
            kept.fetch_add(read, Ordering::SeqCst);
            // A sender that is gone stalls nothing.
            drop(limits.wait_for(|limits| number > limits.stalled).await);
            kept.fetch_sub(read, Ordering::SeqCst);
        }
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
