//! One attempt: changes are published in rounds, until one round fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cosmos_bridge_sink::{
    Answers, Change, Class, ContainerName, Limits, Mutex, SharedConnection, Sink, SinkError,
    Template, Written,
};
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ErrorKind, ExchangeKind};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::classify::{Failure, Stage, classify};
use crate::connection::BrokerConnection;
use crate::message::{Message, SizeLimits, message};
use crate::publish::{PublishResult, rounds, settle};
use crate::refusals::{Destination, Refusals};
use crate::{AmqpOptions, Settings};

/// After a shutdown each message has its result immediately; the limit is for a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// The number of attempts of a check when the reason of a refusal was lost.
const CHECK_ATTEMPTS: usize = 5;

/// An exchange that changes are published to.
pub struct AmqpSink {
    name: String,
    settings: Settings,
    /// The exchanges that are known before any change, each with the routing key if that is known too.
    known: Vec<(String, Option<String>)>,
    connection: SharedConnection<BrokerConnection, Failure>,
    /// Where the broker refused the last message.
    refusals: Refusals,
    /// Rounds of messages in flight. They outlive a write that gave up waiting.
    rounds: Mutex<JoinSet<()>>,
}

impl AmqpSink {
    pub fn new(name: impl Into<String>, settings: Settings) -> Self {
        Self {
            name: name.into(),
            known: known(&settings, &[]),
            settings,
            connection: SharedConnection::default(),
            refusals: Refusals::default(),
            rounds: Mutex::default(),
        }
    }

    /// The same sink for the changes of these containers: a check asks for the exchanges and queues that
    /// they have.
    #[must_use]
    pub fn with_sources(self, sources: &[ContainerName]) -> Self {
        Self { known: known(&self.settings, sources), ..self }
    }

    /// The open connection, or a new one.
    async fn connection(&self) -> Result<Arc<BrokerConnection>, Failure> {
        let open = BrokerConnection::open(&self.settings, &self.name);
        self.connection.get(BrokerConnection::is_alive, open).await
    }

    /// Publishes messages and waits for their results, but not while the broker accepts no messages.
    async fn publish(
        &self,
        connection: &Arc<BrokerConnection>,
        messages: Vec<Message>,
    ) -> Result<Vec<PublishResult>, Failure> {
        let (sender, mut results) = oneshot::channel();
        let round = Arc::clone(connection).publish(messages, self.settings.options.mandatory);
        {
            let mut rounds = self.rounds.lock();
            while rounds.try_join_next().is_some() {}
            rounds.spawn(async move {
                // The write may have stopped waiting.
                sender.send(round.await).ok();
            });
        }
        let limit = self.settings.options.confirm_timeout;
        let stopped = |_| Failure::busy("publishing: stopped");
        let gave_up = tokio::select! {
            biased;
            results = &mut results => return results.map_err(stopped),
            failure = connection.blocked() => failure,
            () = tokio::time::sleep(limit) => {
                // The broker is not blocked but does not answer, so the connection is given up.
                connection.shut_down();
                let late = self.late();
                // Messages confirmed by now must not be sent again, or a slow network connection
                // would make no progress.
                match timeout(ENDS_WITHIN, &mut results).await {
                    Ok(results) => {
                        return results.map_err(stopped).map(|results| with_reason(results, &late));
                    }
                    Err(_) => late,
                }
            }
        };
        connection.give_up_waiting();
        Err(gave_up)
    }

    fn late(&self) -> Failure {
        let Settings { broker, options, .. } = &self.settings;
        let seconds = options.confirm_timeout.as_secs_f64();
        Failure::silence(format!(
            "publishing to {broker}: not confirmed within {seconds} s; on a slow network raise \
             `confirm_timeout` or lower `batch`"
        ))
    }

    /// Publishes all rounds.
    ///
    /// # Errors
    ///
    /// Why the changes that are still open were not published.
    async fn write_rounds(
        &self,
        changes: &[Change],
        answers: &mut Answers<'_>,
    ) -> Result<(), Failure> {
        let connection = self.connection().await?;
        if let Some(obstacle) = connection.obstacle() {
            return Err(obstacle);
        }
        let limits = SizeLimits {
            message: self.settings.options.max_message.min(connection.largest.bytes()),
            frame: connection.frame_max(),
        };
        for round in rounds(changes) {
            let (mut together, mut alone) = (Vec::with_capacity(round.len()), Vec::new());
            for at in round {
                if !answers.is_open(at) {
                    continue;
                }
                match message(&self.settings, limits, &changes[at]) {
                    Ok(message) if self.refusals.of(&message).is_some() => {
                        alone.push((at, message));
                    }
                    Ok(message) => together.push((at, message)),
                    Err(error) => answers.reject(at, error.to_string()),
                }
            }
            answers.sent(together.len() + alone.len());
            for at in self.together(&connection, together, answers).await? {
                if let Ok(message) = message(&self.settings, limits, &changes[at]) {
                    alone.push((at, message));
                }
            }
            self.one_by_one(&connection, alone, answers).await?;
            if !connection.is_alive() {
                return Err(Failure::busy("publishing: the connection was lost"));
            }
        }
        Ok(())
    }

    /// Publishes the messages of a round. Returns those that were lost because the broker refused one
    /// of several: they have no outcome yet.
    async fn together(
        &self,
        connection: &Arc<BrokerConnection>,
        messages: Vec<(usize, Message)>,
        answers: &mut Answers<'_>,
    ) -> Result<Vec<usize>, Failure> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let (sent, messages): (Vec<usize>, Vec<Message>) = messages.into_iter().unzip();
        let results = self.publish(connection, messages).await?;
        connection.largest.learn(&results);
        let is_open = |result: &PublishResult| {
            sent.len() > 1 && matches!(result, PublishResult::Lost(failure) if failure.is_refusal())
        };
        let mut open = Vec::new();
        for (at, result) in sent.iter().copied().zip(results) {
            if is_open(&result) {
                open.push(at);
            } else {
                settle(answers, at, result, self.settings.options.unroutable);
            }
        }
        Ok(open)
    }

    /// Publishes messages of different documents one by one, because the broker may refuse some. After
    /// one refusal, no other message is sent to the same destination.
    async fn one_by_one(
        &self,
        connection: &Arc<BrokerConnection>,
        messages: Vec<(usize, Message)>,
        answers: &mut Answers<'_>,
    ) -> Result<(), Failure> {
        let refused = Refusals::default();
        for (at, message) in messages {
            if let Some(failure) = refused.of(&message) {
                settle(answers, at, PublishResult::Lost(failure), self.settings.options.unroutable);
                continue;
            }
            let destinations = Destination::of(&message);
            for result in self.publish(connection, vec![message]).await? {
                match &result {
                    PublishResult::Lost(failure) if failure.is_refusal() => {
                        refused.note(destinations.clone(), failure);
                        self.refusals.note(destinations.clone(), failure);
                    }
                    PublishResult::Lost(_) => {}
                    _ => self.refusals.forget(&destinations),
                }
                settle(answers, at, result, self.settings.options.unroutable);
            }
            if !connection.is_alive() {
                return Err(Failure::busy("publishing: the connection was lost"));
            }
        }
        Ok(())
    }

    /// Repeats the question if it failed without a reason on an open connection: a refusal closes the
    /// channel, and the client does not report a refusal that arrives between two requests.
    async fn ask_for_reason(&self, connection: &BrokerConnection) -> Result<(), Failure> {
        for _ in 1..CHECK_ATTEMPTS {
            match self.ask(connection).await {
                Err(failure) if failure.class == Class::BUSY && connection.is_alive() => {}
                result => return result,
            }
        }
        self.ask(connection).await
    }

    /// Asks for every exchange that is known.
    async fn ask(&self, connection: &BrokerConnection) -> Result<(), Failure> {
        for (exchange, key) in &self.known {
            self.ask_for(connection, exchange, key.as_deref()).await?;
        }
        Ok(())
    }

    /// Asks without publishing: whether the exchange exists, and whether the user may write to it. For
    /// the second question a message is published in a transaction that is rolled back.
    async fn ask_for(
        &self,
        connection: &BrokerConnection,
        exchange: &str,
        key: Option<&str>,
    ) -> Result<(), Failure> {
        let broker = &self.settings.broker;
        let shown = if exchange.is_empty() { "the default exchange" } else { exchange };
        let what = format!("asking {broker} for exchange `{shown}`");
        let failed = |error| classify(Stage::Publishing, &what, &error);
        let passive = true;
        let channel = connection.raw_channel().await.map_err(failed)?;
        if !exchange.is_empty() {
            let options = ExchangeDeclareOptions { passive, ..ExchangeDeclareOptions::default() };
            let kind = ExchangeKind::default();
            let none = FieldTable::default();
            channel.exchange_declare(exchange.into(), kind, options, none).await.map_err(failed)?;
        } else if let Some(queue) = key {
            let options = QueueDeclareOptions { passive, ..QueueDeclareOptions::default() };
            let none = FieldTable::default();
            let asked = channel.queue_declare(queue.into(), options, none).await;
            asked.map_err(|error| {
                let what = format!("asking {broker} for queue `{queue}`");
                let hint = Some("Declare the queue, or correct `routing_key`.");
                Failure { hint, ..classify(Stage::Publishing, &what, &error) }
            })?;
        }
        let transaction = async {
            channel.tx_select().await?;
            let (options, nothing) = (BasicPublishOptions::default(), BasicProperties::default());
            let key = key.unwrap_or_default();
            channel
                .basic_publish(exchange.into(), key.into(), options, &[], nothing)
                .await?
                .await?;
            channel.tx_rollback().await
        };
        match transaction.await {
            // Not every broker supports transactions.
            Err(error) if is_not_implemented(&error) => Ok(()),
            other => other.map_err(failed),
        }
    }
}

/// The exchanges that are known for changes of these containers, each with the routing key if that is
/// known too.
fn known(settings: &Settings, sources: &[ContainerName]) -> Vec<(String, Option<String>)> {
    let AmqpOptions { exchange, routing_key, .. } = &settings.options;
    let of = |source: Option<&ContainerName>| {
        let text = |template: &Template| match source {
            Some(source) => template.in_container(source).constant().map(str::to_owned),
            None => template.constant().map(str::to_owned),
        };
        Some((text(exchange)?, text(routing_key)))
    };
    let mut known: Vec<_> = match sources {
        [] => of(None).into_iter().collect(),
        sources => sources.iter().filter_map(|source| of(Some(source))).collect(),
    };
    known.sort();
    known.dedup();
    known
}

/// Gives each lost message this reason.
fn with_reason(mut results: Vec<PublishResult>, reason: &Failure) -> Vec<PublishResult> {
    for result in results.iter_mut().filter(|result| matches!(result, PublishResult::Lost(_))) {
        *result = PublishResult::Lost(reason.clone());
    }
    results
}

fn is_not_implemented(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said) if said.get_id() == 540)
}

#[async_trait]
impl Sink for AmqpSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn refusal(&self, change: &Change) -> Option<String> {
        let limits = SizeLimits { message: self.settings.options.max_message, frame: usize::MAX };
        message(&self.settings, limits, change).err().map(|problem| problem.to_string())
    }

    fn limits(&self) -> Limits {
        self.settings.limits()
    }

    async fn check(&self) -> Result<(), SinkError> {
        // A separate connection, so that the check cannot disturb messages in flight.
        let connection = BrokerConnection::open(&self.settings, &self.name).await;
        let connection = connection.map_err(Failure::into_sink_error)?;
        let limit = self.settings.options.connect_timeout;
        let asked = tokio::select! {
            asked = timeout(limit, self.ask_for_reason(&connection)) => asked.unwrap_or_else(|_| {
                let broker = &self.settings.broker;
                Err(Failure::busy(format!("asking {broker}: no answer within {} s", limit.as_secs_f64())))
            }),
            failure = connection.blocked() => Err(failure),
        };
        connection.close().await;
        asked.map_err(Failure::into_sink_error)
    }

    async fn write(&self, changes: &[Change]) -> Written {
        let mut answers = Answers::new(changes);
        if let Err(failure) = Box::pin(self.write_rounds(changes, &mut answers)).await {
            if failure.is_silence {
                answers.rest_unanswered();
            }
            answers.defer_rest(&failure.reason, failure.cause());
        }
        answers.finish()
    }

    async fn close(&self) -> Result<(), SinkError> {
        if let Some(connection) = self.connection.take().await {
            connection.close().await;
        }
        let mut rounds = std::mem::take(&mut *self.rounds.lock());
        rounds.shutdown().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
