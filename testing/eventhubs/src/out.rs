//! Outgoing frames: one task writes them, each delayed by the latency.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _, BufWriter};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::amqp::{Kind, Value, frame};
use crate::namespace::Namespace;

/// The capacity of the queue of delayed frames. A sender that is faster than the client waits here.
const FRAMES_WAITING_MAX: usize = 4_096;

/// The interval of heartbeat frames; well below the idle timeout of every client.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The sender side of the queue. Frames are written in order.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    frames: mpsc::Sender<(Instant, Vec<u8>)>,
    namespace: Arc<Namespace>,
}

/// The connection has ended; there is nothing left to write.
#[derive(Debug)]
pub(crate) struct Ended;

impl Out {
    pub(crate) fn new(namespace: Arc<Namespace>) -> (Self, mpsc::Receiver<(Instant, Vec<u8>)>) {
        let (frames, queue) = mpsc::channel(FRAMES_WAITING_MAX);
        (Self { frames, namespace }, queue)
    }

    /// Sends an answer, which is held back.
    pub(crate) async fn send(&self, channel: u16, performative: &Value) -> Result<(), Ended> {
        self.send_after(self.namespace.latency(), channel, performative, &[]).await
    }

    /// Sends a transfer: an answer, or an event that no request waits for. An event is not held back, or a
    /// client that gives credit for one event at a time would get a few hundred in a second.
    pub(crate) async fn transfer(
        &self,
        channel: u16,
        performative: &Value,
        payload: &[u8],
        is_event: bool,
    ) -> Result<(), Ended> {
        let delay = if is_event { Duration::ZERO } else { self.namespace.latency() };
        self.send_after(delay, channel, performative, payload).await
    }

    async fn send_after(
        &self,
        delay: Duration,
        channel: u16,
        performative: &Value,
        payload: &[u8],
    ) -> Result<(), Ended> {
        let due = Instant::now() + delay;
        let bytes = frame::write(Kind::Amqp, channel, Some(performative), payload);
        self.frames.send((due, bytes)).await.map_err(|_| Ended)
    }
}

/// Writes until all senders of frames are dropped.
pub(crate) async fn write(
    stream: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<(Instant, Vec<u8>)>,
) -> io::Result<()> {
    let mut stream = BufWriter::with_capacity(256 * 1024, stream);
    loop {
        let (due, bytes) = match timeout(HEARTBEAT, queue.recv()).await {
            Ok(Some(next)) => next,
            Ok(None) => return stream.flush().await,
            Err(_) => (Instant::now(), frame::write(Kind::Amqp, 0, None, &[])),
        };
        if Instant::now() < due {
            stream.flush().await?;
            sleep_until(due).await;
        }
        stream.write_all(&bytes).await?;
        if queue.is_empty() {
            stream.flush().await?;
        }
    }
}
