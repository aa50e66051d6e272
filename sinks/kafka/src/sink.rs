//! One attempt: all messages are given to the client, then all reports are awaited.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Cause, Change, Class, ContainerName, Due, EventLog, Grouping, Limits, Sink, SinkError,
    SinkErrorKind, Template, Written,
};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::Compression;
use crate::attempt::{Attempt, FollowUp, TopicRefusal, shown, topic_error};
use crate::classify::{classify, hint};
use crate::connection::{Connection, Session, problem, release};
use crate::context::ClientError;
use crate::message::Message;
use crate::settings::Settings;
use crate::topics::Topics;
use crate::under_way::Deliveries;

/// A thousand changes fill a batch of a megabyte, which is acknowledged in a few milliseconds.
const CHANGES: usize = 1000;
/// Bytes of one write. While the broker answers, the client holds at most `CONCURRENCY` times this; what an
/// outage defers stays in the client, up to its share of the spool.
const BYTES: usize = 4 * 1024 * 1024;
/// While some writes wait for reports, others are sent.
const CONCURRENCY: usize = 8;
/// The timeout of one metadata request.
const METADATA_WITHIN: Duration = Duration::from_millis(500);

/// Topics of an Apache Kafka.
pub struct KafkaSink {
    name: String,
    settings: Arc<Settings>,
    topics: Arc<Topics>,
    /// The topics that are known before any change.
    known: Vec<String>,
    connection: Connection,
    deliveries: Deliveries,
    /// Batches that a topic refused.
    refusals: EventLog,
}

impl KafkaSink {
    /// Connects in the background; [`Sink::check`] proves that it succeeds.
    ///
    /// # Errors
    ///
    /// The client does not accept the settings, for example an unknown option.
    pub fn new(name: impl Into<String>, settings: Settings) -> Result<Self, SinkError> {
        let (name, settings) = (name.into(), Arc::new(settings));
        let is_plain = settings.options.compression == Compression::None;
        let topics = Arc::new(Topics::new(settings.options.max_message, is_plain));
        let connection = Connection::new(&name, Arc::clone(&settings), Arc::clone(&topics))?;
        let known = settings.options.topic.known(&[]);
        let (deliveries, refusals) = (Deliveries::default(), EventLog::default());
        Ok(Self { name, settings, topics, known, connection, deliveries, refusals })
    }

    /// The same sink for the changes of these containers: a check asks for the topics that they have.
    #[must_use]
    pub fn with_sources(self, sources: &[ContainerName]) -> Self {
        Self { known: self.settings.options.topic.known(sources), ..self }
    }

    /// Finds out which message a topic refused: by its size limit, or else by sending each message alone
    /// in a batch.
    async fn follow_up(&self, session: &Session, refusal: TopicRefusal) {
        let TopicRefusal { topic, is_too_large, bytes } = refusal;
        let is_learned = is_too_large && self.connection.learn(&topic, bytes).await;
        let is_known = is_learned || bytes.is_some();
        let batch = self.topics.smallest();
        let topic = shown(&self.settings.options.topic, &topic);
        if let Some(Due { not_logged }) = self.refusals.due() {
            tracing::warn!(
                sink = self.name,
                topic,
                is_too_large,
                is_known,
                batch,
                not_logged,
                "a batch was refused"
            );
        }
        self.connection.replace(session, !is_known);
    }

    /// Asks for the metadata of the topics that are known, or only for an answer if none is.
    async fn metadata(&self, session: &Arc<Session>) -> Result<(), SinkError> {
        if self.known.is_empty() {
            return self.metadata_of(session, None).await;
        }
        for topic in &self.known {
            self.metadata_of(session, Some(topic)).await?;
        }
        Ok(())
    }

    /// Asks for the metadata of a topic until a broker answers, the timeout is over, or an error that
    /// needs operator action is known.
    async fn metadata_of(
        &self,
        session: &Arc<Session>,
        topic: Option<&str>,
    ) -> Result<(), SinkError> {
        let deadline = Instant::now() + self.settings.options.request_timeout;
        loop {
            let (asked, name) = (Arc::clone(session), topic.map(str::to_owned));
            let template = self.settings.options.topic.clone();
            let answer = spawn_blocking(move || {
                let answer = asked.metadata(name.as_deref(), METADATA_WITHIN)?;
                let mut topics = answer.topics().iter();
                let refused = |topic: &MetadataTopic| topic.error().map(RDKafkaErrorCode::from);
                let problem = topics.find_map(|topic| {
                    let refused =
                        refused(topic).map(|code| topic_problem(&template, topic.name(), code));
                    refused.or_else(|| leaderless(&template, topic).as_ref().map(client_problem))
                });
                Ok::<_, rdkafka::error::KafkaError>(problem)
            });
            let error = match answer.await {
                Ok(Ok(problem)) => {
                    // Without a known topic, the answer is about topics that may not be used.
                    return problem.filter(|_| topic.is_some()).map_or(Ok(()), Err);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    return Err(problem(
                        "the client does not answer",
                        None,
                        SinkErrorKind::Unreachable,
                        None,
                    ));
                }
            };
            let reported = session.error();
            let is_permanent = reported.as_ref().is_some_and(ClientError::is_permanent);
            if is_permanent || Instant::now() >= deadline {
                return Err(no_answer(reported, error));
            }
        }
    }
}

/// Why a topic acknowledges nothing although the broker answers: partitions without a leader, for
/// example on a full disk. The client retries them without an error.
///
/// <https://kafka.apache.org/documentation/#design_jbod>
fn leaderless(template: &Template, topic: &MetadataTopic) -> Option<ClientError> {
    let code = RDKafkaErrorCode::LeaderNotAvailable;
    let without = topic.partitions().iter().filter(|partition| partition.leader() < 0);
    let numbers: Vec<String> = without.map(|partition| partition.id().to_string()).collect();
    if numbers.is_empty() {
        return None;
    }
    let text = format!(
        "{}: no leader for partition {}; its broker is down, or the disk of the broker is full or failed",
        shown(template, topic.name()),
        numbers.join(", ")
    );
    Some(ClientError { code, text })
}

/// Asks the broker why a topic acknowledges nothing.
async fn why_silent(
    session: &Arc<Session>,
    template: &Template,
    topic: String,
) -> Option<ClientError> {
    let asked = Arc::clone(session);
    let answer = spawn_blocking(move || asked.metadata(Some(&topic), METADATA_WITHIN));
    answer.await.ok()?.ok()?.topics().iter().find_map(|topic| leaderless(template, topic))
}

/// The kind of an error that the client reports at the start.
fn kind(code: RDKafkaErrorCode) -> SinkErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed => SinkErrorKind::Denied,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            SinkErrorKind::Missing
        }
        Code::InvalidTopic => SinkErrorKind::Invalid,
        _ if classify(code).0 == Class::FAULT => SinkErrorKind::Other,
        _ => SinkErrorKind::Unreachable,
    }
}

fn client_problem(error: &ClientError) -> SinkError {
    problem(&error.text, hint(error.code), kind(error.code), None)
}

fn topic_problem(template: &Template, topic: &str, code: RDKafkaErrorCode) -> SinkError {
    problem(&topic_error(template, topic, code), hint(code), kind(code), None)
}

fn no_answer(reported: Option<ClientError>, error: rdkafka::error::KafkaError) -> SinkError {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    match reported {
        Some(reported) => {
            let message = format!("no usable broker: {}", reported.text);
            problem(&message, hint(reported.code), kind(reported.code), Some(error))
        }
        None => problem("no broker answers", hint(code), SinkErrorKind::Unreachable, Some(error)),
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn refusal(&self, change: &Change) -> Option<String> {
        let message = Message::of(change, &self.settings, |topic| self.topics.message_max(topic));
        message.err().map(|problem| problem.to_string())
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
        let mut is_smaller = false;
        for topic in &self.known {
            if self.connection.learn(topic, None).await {
                is_smaller = true;
                let batch = self.topics.smallest();
                tracing::info!(
                    sink = self.name,
                    topic,
                    batch,
                    "the topic accepts only smaller messages"
                );
            }
        }
        if is_smaller {
            let session = self.connection.session().await?;
            self.connection.replace(&session, false);
            release(session).await;
        }
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let session = match self.connection.session().await {
            Ok(session) => session,
            Err(error) => {
                let mut answers = Answers::new(changes);
                answers.defer_rest(&error.message, Cause::Busy);
                return answers.finish();
            }
        };
        let (settings, topics) = (&self.settings, &self.topics);
        let mut attempt = Attempt::new(&session, settings, topics, &self.deliveries, changes);
        attempt.send();
        attempt.wait().await;
        let error = match attempt.silent_topic().filter(|_| session.error().is_none()) {
            Some(topic) => why_silent(&session, &settings.options.topic, topic).await,
            None => None,
        };
        let (written, FollowUp { refusal, unusable }) = attempt.finish(error);
        if let Some(refusal) = refusal {
            self.follow_up(&session, refusal).await;
        }
        if let Some(topic) = unusable {
            // Without this request, the client never asks again for a topic that it was not allowed to
            // see once.
            let asked = Arc::clone(&session);
            drop(spawn_blocking(move || drop(asked.metadata(Some(&topic), METADATA_WITHIN))).await);
        }
        release(session).await;
        written
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.connection.close(self.settings.options.request_timeout).await
    }
}

#[cfg(test)]
mod tests;
