//! The link to a hub or to one of its partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cosmos_bridge_sink::Class;
use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::{Sender, session::SessionHandle};
use fe2o3_amqp_types::messaging::{Batch, Data, Outcome};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::failure::{Failure, ToldBy};
use crate::message::event_bytes_max;
use crate::session::Sessions;

/// The service's limit if the link does not state one.
const MESSAGE_BYTES: u64 = 1024 * 1024;

/// A link that several writes share. It is attached when it is first needed, and again after a loss.
pub(crate) struct PartitionLink {
    sessions: Arc<Sessions>,
    /// `HUB` or `HUB/Partitions/ID`.
    address: String,
    /// The longest wait for one answer.
    timeout: Duration,
    attached: Mutex<Option<Attached>>,
    generations: AtomicU64,
    /// The largest message, in bytes; 0 until the link was attached.
    message_bytes_max: AtomicU64,
}

struct Attached {
    sender: Sender,
    generation: u64,
    /// Ready when the session has ended, alone or with the connection. It holds the session, which
    /// ends when the last copy is dropped.
    ended: Shared<BoxFuture<'static, ()>>,
}

impl PartitionLink {
    pub(crate) fn new(sessions: Arc<Sessions>, address: String, timeout: Duration) -> Self {
        Self {
            sessions,
            address,
            timeout,
            attached: Mutex::new(None),
            generations: AtomicU64::new(0),
            message_bytes_max: AtomicU64::new(0),
        }
    }

    /// The number of bytes of events that fit into one message, as the link states.
    pub(crate) async fn event_bytes_max(&self) -> Result<usize, Failure> {
        if self.message_bytes_max.load(Ordering::Relaxed) == 0 {
            let mut attached = self.attached.lock().await;
            self.attach(&mut attached).await?;
        }
        Ok(event_bytes_max(self.message_bytes_max.load(Ordering::Relaxed)))
    }

    /// Sends one batch and waits for its outcome.
    ///
    /// Batches of several writes may be in flight; the batches of one write follow each other.
    pub(crate) async fn send(&self, batch: Sendable<Batch<Data>>) -> Result<(), Failure> {
        let mut generation = None;
        let send = async {
            let (delivery, ended) = {
                let mut attached = self.attached.lock().await;
                let attached = self.attach(&mut attached).await?;
                generation = Some(attached.generation);
                (attached.sender.send_batchable(batch).await, attached.ended.clone())
            };
            let mut delivery = delivery.map_err(|error| Failure::of_send(&error))?;
            let outcome = tokio::select! {
                biased;
                outcome = &mut delivery => outcome,
                // There will be no answer. The client reports that to a caller that waits only when
                // the link is dropped.
                () = ended => {
                    self.detach(generation).await;
                    delivery.await
                }
            };
            outcome.map_err(|error| Failure::of_send(&error)).and_then(accepted)
        };
        // A client that has lost an answer waits for it forever, so the link is not used again.
        let sent = timeout(self.timeout, send)
            .await
            .unwrap_or_else(|_| Err(Failure { told_by: ToldBy::Silence, ..self.no_answer() }));
        if let Err(failure) = &sent
            && failure.told_by != ToldBy::Outcome
        {
            self.detach(generation).await;
        }
        sent
    }

    async fn attach<'a>(
        &self,
        attached: &'a mut Option<Attached>,
    ) -> Result<&'a mut Attached, Failure> {
        if attached.is_none() {
            let generation = self.generations.fetch_add(1, Ordering::Relaxed);
            let attach = timeout(self.timeout, self.open(generation)).await;
            let (mut session, sender) = attach.unwrap_or_else(|_| Err(self.no_answer()))?;
            let bytes = sender.max_message_size().filter(|bytes| *bytes > 0);
            self.message_bytes_max.store(bytes.unwrap_or(MESSAGE_BYTES), Ordering::Relaxed);
            let ended = async move { drop(session.on_end().await) }.boxed().shared();
            *attached = Some(Attached { sender, generation, ended });
        }
        attached.as_mut().ok_or_else(|| Failure::broken("no link"))
    }

    async fn open(&self, generation: u64) -> Result<(SessionHandle<()>, Sender), Failure> {
        let mut session = self.sessions.begin().await?;
        let sender = Sender::builder()
            .name(format!("{}-{generation}", self.address))
            .target(self.address.as_str())
            .attach(&mut session)
            .await
            .map_err(|error| Failure::of_sender_attach(&error))?;
        Ok((session, sender))
    }

    fn no_answer(&self) -> Failure {
        let seconds = self.timeout.as_secs_f64();
        Failure::broken(format!("no answer within {seconds} s"))
    }

    /// Drops the link that failed, unless another write has replaced it.
    async fn detach(&self, generation: Option<u64>) {
        let mut attached = self.attached.lock().await;
        if generation.is_some() && attached.as_ref().map(|a| a.generation) == generation {
            *attached = None;
        }
    }

    /// Attaches the link, which proves that sending is allowed.
    pub(crate) async fn probe(&self) -> Result<(), Failure> {
        let mut attached = self.attached.lock().await;
        self.attach(&mut attached).await.map(|_| ())
    }
}

/// The result of an outcome. `released` and `modified` mean that the service has not stored the
/// events.
fn accepted(outcome: Outcome) -> Result<(), Failure> {
    let (class, reason) = match outcome {
        Outcome::Accepted(_) => return Ok(()),
        Outcome::Rejected(rejected) => match rejected.error {
            Some(error) => {
                let failure = Failure::of_condition("the event was refused", &error, false);
                return Err(Failure { told_by: ToldBy::Outcome, ..failure });
            }
            None => (Class::FAULT, "the event was refused without a reason"),
        },
        Outcome::Released(_) => (Class::BUSY, "the service did not store the event (released)"),
        Outcome::Modified(_) => (Class::BUSY, "the service did not store the event (modified)"),
    };
    Err(Failure {
        class,
        ends_connection: false,
        told_by: ToldBy::Outcome,
        ..Failure::broken(reason)
    })
}
