//! One attempt: all messages are given to the client, then all answers are awaited.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{Change, Grouping, Limits, Sink, SinkError, Written};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::attempt::{Aftermath, Attempt, Refusal, impossible, of_topic};
use crate::classify::hint;
use crate::connection::{Connection, Session, problem, release};
use crate::context::Trouble;
use crate::settings::{Compression, Settings};
use crate::topics::Topics;
use crate::under_way::Deliveries;

/// A thousand changes fill a batch of a megabyte, and their answers come in a few milliseconds.
const CHANGES: usize = 1000;
/// Times `CONCURRENCY`, this is what the client holds at most.
const BYTES: usize = 4 * 1024 * 1024;
/// While the answers of some writes are awaited, others are sent.
const CONCURRENCY: usize = 8;
/// How long to listen for a reason at a time.
const LISTEN: Duration = Duration::from_millis(500);

/// Topics of an Apache Kafka.
pub struct KafkaSink {
    name: String,
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    connection: Connection,
    deliveries: Deliveries,
}

impl KafkaSink {
    /// Connects in the background; [`Sink::check`] tells whether that succeeds.
    ///
    /// # Errors
    ///
    /// The client does not take the settings, such as an option that it does not know.
    pub fn new(name: impl Into<String>, settings: Settings) -> Result<Self, SinkError> {
        let (name, settings) = (name.into(), Arc::new(settings));
        let is_plain = settings.compression == Compression::None;
        let topics = Arc::new(Topics::new(settings.max_message, is_plain));
        let connection = Connection::new(&name, Arc::clone(&settings), Arc::clone(&topics))?;
        Ok(Self { name, settings, topics, connection, deliveries: Deliveries::default() })
    }

    /// The only topic, where it does not depend on the change.
    fn topic(&self) -> Option<String> {
        self.settings.topic.constant().map(str::to_owned)
    }

    /// A topic refused something: finds out what, at last by sending every message in a batch of its
    /// own.
    async fn after(&self, session: &Session, refusal: Refusal) {
        let Refusal { topic, is_too_large, settled } = refusal;
        let is_learned = is_too_large && self.connection.learn(&topic, settled).await;
        let is_known = is_learned || settled.is_some();
        let batch = self.topics.smallest();
        tracing::warn!(
            sink = self.name,
            topic,
            is_too_large,
            is_known,
            batch,
            "a batch was refused"
        );
        self.connection.replace(session, !is_known);
    }

    /// Asks for a topic until a broker answers, the time is over or the reason is plain.
    async fn metadata(&self, session: &Arc<Session>) -> Result<(), SinkError> {
        let deadline = Instant::now() + self.settings.timeout;
        let topic = self.topic();
        loop {
            let (asked, name) = (Arc::clone(session), topic.clone());
            let answer = spawn_blocking(move || {
                let answer = asked.metadata(name.as_deref(), LISTEN)?;
                let mut topics = answer.topics().iter();
                let refused = |topic: &MetadataTopic| topic.error().map(RDKafkaErrorCode::from);
                let problem = topics.find_map(|topic| {
                    let refused = refused(topic).map(|code| topic_problem(topic.name(), code));
                    refused.or_else(|| leaderless(topic).as_ref().map(of_trouble))
                });
                Ok::<_, rdkafka::error::KafkaError>(problem)
            });
            let error = match answer.await {
                Ok(Ok(problem)) => {
                    // Of all topics, only those that are meant would matter, and they are not known.
                    return problem.filter(|_| topic.is_some()).map_or(Ok(()), Err);
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(problem("the client does not answer", None, true, None)),
            };
            let trouble = session.trouble();
            let is_plain = trouble.as_ref().is_some_and(Trouble::is_permanent);
            if is_plain || Instant::now() >= deadline {
                return Err(no_answer(trouble, error));
            }
        }
    }
}

/// Why a topic is silent though the broker answers: partitions without a leader, such as those on a
/// disk that is full. The client tries them again and says nothing.
///
/// <https://kafka.apache.org/documentation/#design_jbod>
fn leaderless(topic: &MetadataTopic) -> Option<Trouble> {
    let code = RDKafkaErrorCode::LeaderNotAvailable;
    let without = topic.partitions().iter().filter(|partition| partition.leader() < 0);
    let numbers: Vec<String> = without.map(|partition| partition.id().to_string()).collect();
    if numbers.is_empty() {
        return None;
    }
    let text = format!(
        "topic `{}`: no leader for partition {}; the broker that holds it is away, or its disk is full \
         or fails",
        topic.name(),
        numbers.join(", ")
    );
    Some(Trouble { code, text })
}

/// Asks the broker about a topic.
async fn why_silent(session: &Arc<Session>, topic: String) -> Option<Trouble> {
    let asked = Arc::clone(session);
    let answer = spawn_blocking(move || asked.metadata(Some(&topic), LISTEN));
    answer.await.ok()?.ok()?.topics().iter().find_map(leaderless)
}

fn of_trouble(trouble: &Trouble) -> SinkError {
    problem(&trouble.text, hint(trouble.code), !trouble.is_permanent(), None)
}

fn topic_problem(topic: &str, code: RDKafkaErrorCode) -> SinkError {
    problem(&of_topic(topic, code), hint(code), false, None)
}

fn no_answer(trouble: Option<Trouble>, error: rdkafka::error::KafkaError) -> SinkError {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    match trouble {
        Some(trouble) => {
            let message = format!("no broker can be used: {}", trouble.text);
            problem(&message, hint(trouble.code), !trouble.is_permanent(), Some(error))
        }
        None => problem("no broker answers", hint(code), true, Some(error)),
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        let grouping = Grouping::Any;
        Limits { grouping, changes: CHANGES, bytes: BYTES, concurrency: CONCURRENCY }
    }

    async fn check(&self) -> Result<(), SinkError> {
        let session = self.connection.session().await?;
        let known = self.metadata(&session).await;
        release(session).await;
        known?;
        if let Some(topic) = self.topic()
            && self.connection.learn(&topic, None).await
        {
            let batch = self.topics.smallest();
            tracing::info!(sink = self.name, topic, batch, "the topic takes smaller messages");
            let session = self.connection.session().await?;
            self.connection.replace(&session, false);
            release(session).await;
        }
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let session = match self.connection.session().await {
            Ok(session) => session,
            Err(error) => return impossible(changes, &error.message),
        };
        let (settings, topics) = (&self.settings, &self.topics);
        let mut attempt = Attempt::new(&session, settings, topics, &self.deliveries, changes);
        attempt.send();
        attempt.wait().await;
        let trouble = match attempt.silent().filter(|_| session.trouble().is_none()) {
            Some(topic) => why_silent(&session, topic).await,
            None => None,
        };
        let (written, Aftermath { refusal, unusable }) = attempt.finish(trouble);
        if let Some(refusal) = refusal {
            self.after(&session, refusal).await;
        }
        if let Some(topic) = unusable {
            // The client would never ask again for a topic that it was once not allowed to see.
            let asked = Arc::clone(&session);
            drop(spawn_blocking(move || drop(asked.metadata(Some(&topic), LISTEN))).await);
        }
        release(session).await;
        written
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.connection.close(self.settings.timeout).await
    }
}
