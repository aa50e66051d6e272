//! One link to a hub or to a partition of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fe2o3_amqp::link::delivery::Sendable;
use fe2o3_amqp::{Sender, session::SessionHandle};
use fe2o3_amqp_types::messaging::{Batch, Data, Outcome};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Class;
use crate::connection::Connection;
use crate::message::room;
use crate::problem::Problem;
use cosmos_bridge_sink::Cause;

/// What the service takes where a link does not say.
const MESSAGE_BYTES: u64 = 1024 * 1024;

/// A link that several writes use, attached when it is first needed and again when it was lost.
#[derive(Debug)]
pub(crate) struct Lane {
    /// `HUB` or `HUB/Partitions/ID`.
    address: String,
    /// The longest wait for one answer.
    patience: Duration,
    attached: Mutex<Option<Attached>>,
    generations: AtomicU64,
    room: AtomicU64,
}

#[derive(Debug)]
struct Attached {
    sender: Sender,
    generation: u64,
    /// Ready when the session is over, alone or with the connection. Holds the session, which ends
    /// when the last of these is dropped.
    over: Shared<BoxFuture<'static, ()>>,
}

impl Lane {
    pub(crate) fn new(address: String, patience: Duration) -> Self {
        Self {
            address,
            patience,
            attached: Mutex::new(None),
            generations: AtomicU64::new(0),
            room: AtomicU64::new(0),
        }
    }

    /// How many bytes of events fit into a message here, as the link says.
    pub(crate) async fn room(&self, connection: &Connection) -> Result<usize, Problem> {
        if self.room.load(Ordering::Relaxed) == 0 {
            let mut attached = self.attached.lock().await;
            self.attach(connection, &mut attached).await?;
        }
        Ok(room(self.room.load(Ordering::Relaxed)))
    }

    /// Sends one batch and waits for its outcome.
    ///
    /// Batches of several writes are under way at once; those of one write follow each other.
    pub(crate) async fn send(
        &self,
        connection: &Connection,
        batch: Sendable<Batch<Data>>,
    ) -> Result<(), Problem> {
        let mut generation = None;
        let send = async {
            let (delivery, over) = {
                let mut attached = self.attached.lock().await;
                let attached = self.attach(connection, &mut attached).await?;
                generation = Some(attached.generation);
                (attached.sender.send_batchable(batch).await, attached.over.clone())
            };
            let mut delivery = delivery.map_err(|error| Problem::of_send(&error))?;
            let outcome = tokio::select! {
                biased;
                outcome = &mut delivery => outcome,
                // Nobody is left to answer. The client says so to whoever waits for an answer only
                // when the link is dropped.
                () = over => {
                    self.detach(generation).await;
                    delivery.await
                }
            };
            outcome.map_err(|error| Problem::of_send(&error)).and_then(accepted)
        };
        // A client that has lost an answer waits for it for ever; nothing of it is used again.
        let sent = timeout(self.patience, send).await.unwrap_or_else(|_| self.no_answer());
        if let Err(problem) = &sent
            && !problem.is_outcome
        {
            self.detach(generation).await;
        }
        sent
    }

    async fn attach<'a>(
        &self,
        connection: &Connection,
        attached: &'a mut Option<Attached>,
    ) -> Result<&'a mut Attached, Problem> {
        if attached.is_none() {
            let generation = self.generations.fetch_add(1, Ordering::Relaxed);
            let attach = timeout(self.patience, self.open(connection, generation)).await;
            let (mut session, sender) = attach.unwrap_or_else(|_| self.no_answer())?;
            let bytes = sender.max_message_size().filter(|bytes| *bytes > 0);
            self.room.store(bytes.unwrap_or(MESSAGE_BYTES), Ordering::Relaxed);
            let over = async move { drop(session.on_end().await) }.boxed().shared();
            *attached = Some(Attached { sender, generation, over });
        }
        attached.as_mut().ok_or_else(|| Problem::broken("no link"))
    }

    async fn open(
        &self,
        connection: &Connection,
        generation: u64,
    ) -> Result<(SessionHandle<()>, Sender), Problem> {
        let mut session = connection.session().await?;
        let sender = Sender::builder()
            .name(format!("{}-{generation}", self.address))
            .target(self.address.as_str())
            .attach(&mut session)
            .await
            .map_err(|error| Problem::of_sender_attach(&error))?;
        Ok((session, sender))
    }

    fn no_answer<T>(&self) -> Result<T, Problem> {
        let seconds = self.patience.as_secs_f64();
        Err(Problem::broken(format!("no answer within {seconds} s")))
    }

    /// Drops the link that failed, unless somebody has put another into its place.
    async fn detach(&self, generation: Option<u64>) {
        let mut attached = self.attached.lock().await;
        if generation.is_some() && attached.as_ref().map(|a| a.generation) == generation {
            *attached = None;
        }
    }

    /// Attaches and detaches, which shows that sending is allowed.
    pub(crate) async fn probe(&self, connection: &Connection) -> Result<(), Problem> {
        let mut attached = self.attached.lock().await;
        self.attach(connection, &mut attached).await.map(|_| ())
    }
}

/// Whether the service has the events. `released` and `modified` mean that it has not.
fn accepted(outcome: Outcome) -> Result<(), Problem> {
    let (class, reason) = match outcome {
        Outcome::Accepted(_) => return Ok(()),
        Outcome::Rejected(rejected) => match rejected.error {
            Some(error) => {
                let said = Problem::said("the event was refused", &error, false);
                return Err(Problem { is_outcome: true, ..said });
            }
            None => (Class::Deferred(Cause::Fault), "the event was refused without a reason"),
        },
        Outcome::Released(_) => {
            (Class::Deferred(Cause::Busy), "the service released the event instead of taking it")
        }
        Outcome::Modified(_) => {
            (Class::Deferred(Cause::Busy), "the service gave the event back instead of taking it")
        }
    };
    Err(Problem { class, ends_connection: false, is_outcome: true, ..Problem::broken(reason) })
}
