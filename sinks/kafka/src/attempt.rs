//! The changes of one write, from the client to their outcomes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Answers, Cause, Change, Class, EARLIER_CHANGE, Template, Written};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::{Instant, sleep_until, timeout};

use crate::classify::{classify, describe, is_of_topic};
use crate::connection::Session;
use crate::context::ClientError;
use crate::delivery::Batch;
use crate::message::{Message, MessageError};
use crate::settings::Settings;
use crate::topics::Topics;
use crate::under_way::{Deliveries, DocumentKey, Sent, key};

/// After a purge every message has its report immediately; the limit is for a busy machine.
const PURGE_WITHIN: Duration = Duration::from_secs(5);

/// The state of one change after [`Attempt::send`].
enum Step {
    Sent(Sent),
    Rejected(String),
    Deferred { reason: String, cause: Cause },
}

/// Why a change is not delivered. Without a cause it is rejected.
type NotDelivered = (String, Option<Cause>);

/// A topic that refused a message, or the batch that the message was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicRefusal {
    pub(crate) topic: String,
    pub(crate) is_too_large: bool,
    /// The size of the refused message; `None` if it may be another message of the batch.
    pub(crate) bytes: Option<usize>,
}

/// The work to do after a write.
#[derive(Debug, Default)]
pub(crate) struct FollowUp {
    pub(crate) refusal: Option<TopicRefusal>,
    /// A topic for which the client accepted no message.
    pub(crate) unusable: Option<String>,
}

/// One write.
pub(crate) struct Attempt<'a> {
    pub(crate) session: &'a Session,
    pub(crate) settings: &'a Settings,
    pub(crate) topics: &'a Topics,
    pub(crate) deliveries: &'a Deliveries,
    batch: Arc<Batch>,
    changes: &'a [Change],
    steps: Vec<Step>,
    /// The changes, by index, with a message of an earlier session that may still arrive.
    late: Vec<usize>,
    follow_up: FollowUp,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(
        session: &'a Session,
        settings: &'a Settings,
        topics: &'a Topics,
        deliveries: &'a Deliveries,
        changes: &'a [Change],
    ) -> Self {
        let batch = Arc::new(Batch::of(changes.len()));
        let steps = Vec::with_capacity(changes.len());
        let follow_up = FollowUp::default();
        let late = Vec::new();
        Self { session, settings, topics, deliveries, batch, changes, steps, late, follow_up }
    }

    /// Gives all messages to the client, in order, without waiting.
    pub(crate) fn send(&mut self) {
        let mut is_full = false;
        for (index, change) in self.changes.iter().enumerate() {
            let step = if is_full || self.is_held(change) {
                Step::Deferred { reason: EARLIER_CHANGE.to_owned(), cause: Cause::Busy }
            } else {
                self.step(index, change, &mut is_full)
            };
            self.steps.push(step);
        }
    }

    fn step(&mut self, index: usize, change: &Change, is_full: &mut bool) -> Step {
        let message = match self.message(change) {
            Ok(message) => message,
            Err(error) => return Step::Rejected(error.to_string()),
        };
        if let Some(sent) = self.in_flight(index, change, &message) {
            return Step::Sent(sent);
        }
        let ticket = self.batch.ticket();
        if let Some(code) = self.topics.blocked(&message.topic) {
            ticket.settle(Err(code));
            let reason = self.topic_error(&message.topic, code);
            return Step::Deferred { reason, cause: Cause::Fault };
        }
        let session = self.session.number;
        match self.session.send(&message, ticket.clone()) {
            Ok(()) => Step::Sent(Sent { ticket, session, is_earlier: false }),
            Err(code) => {
                ticket.settle(Err(code));
                *is_full = code == RDKafkaErrorCode::QueueFull;
                let reason = self.topic_error(&message.topic, code);
                match classify(code).0 {
                    Class::Deferred(cause) => {
                        if cause == Cause::Fault {
                            self.follow_up.unusable = Some(message.topic);
                        }
                        Step::Deferred { reason, cause }
                    }
                    Class::Rejected | Class::TooLarge => Step::Rejected(reason),
                }
            }
        }
    }

    fn message(&self, change: &Change) -> Result<Message, MessageError> {
        let message = Message::of(change, self.settings, |topic| self.topics.message_max(topic))?;
        let is_refused = |message: &Message| self.topics.is_refused(|| message.digest());
        if !is_refused(&message) {
            return Ok(message);
        }
        let smaller = message.instead(change, self.settings)?;
        if is_refused(&smaller) { Err(MessageError::Refused) } else { Ok(smaller) }
    }

    /// The message of a change that an earlier write gave to the client, unless it has failed.
    fn in_flight(&mut self, index: usize, change: &Change, message: &Message) -> Option<Sent> {
        let mut pending = self.deliveries.pending();
        if pending.is_empty() {
            return None;
        }
        let document = key(change);
        if !pending.holds(&document) {
            return None;
        }
        let sent = pending.take(&document, message.digest())?;
        let is_alive = match sent.ticket.report() {
            Some(report) => report.is_ok(),
            None => sent.session == self.session.number,
        };
        if !is_alive {
            // The later messages of the document are sent again, too.
            pending.forget(&document);
            if sent.ticket.report().is_none() {
                self.late.push(index);
            }
        }
        is_alive.then_some(Sent { is_earlier: true, ..sent })
    }

    /// True if an earlier change of the same document was deferred, or its message has failed.
    fn is_held(&self, change: &Change) -> bool {
        if !self.batch.has_failed() {
            return false;
        }
        let document = change.document_id();
        let earlier = self.changes.iter().zip(&self.steps);
        earlier.filter(|(earlier, _)| earlier.document_id() == document).any(|(_, step)| match step
        {
            Step::Sent(sent) => matches!(sent.ticket.report(), Some(Err(_))),
            Step::Deferred { .. } => true,
            Step::Rejected(_) => false,
        })
    }

    /// Waits for all reports, but no longer than the timeout.
    pub(crate) async fn wait(&self) {
        let reports = async || {
            self.batch.settled().await;
            for step in &self.steps {
                if let Step::Sent(Sent { ticket, is_earlier: true, .. }) = step {
                    ticket.settled().await;
                }
            }
        };
        let deadline = Instant::now() + self.settings.options.request_timeout;
        tokio::select! {
            () = reports() => return,
            () = sleep_until(deadline) => return,
            () = self.session.broken() => {}
        }
        self.session.end().await;
        // A change that has no report even then is deferred like the others.
        drop(timeout(PURGE_WITHIN, reports()).await);
    }

    /// The topic of the first message without a report.
    pub(crate) fn silent_topic(&self) -> Option<String> {
        let mut steps = self.changes.iter().zip(&self.steps);
        let is_silent =
            |step: &Step| matches!(step, Step::Sent(sent) if sent.ticket.report().is_none());
        let (change, _) = steps.find(|(_, step)| is_silent(step))?;
        self.message(change).ok().map(|message| message.topic)
    }

    /// The outcome of each change, and the work that follows. `error` says why there was no report, if
    /// the client itself stated no error.
    pub(crate) fn finish(mut self, error: Option<ClientError>) -> (Written, FollowUp) {
        let steps = std::mem::take(&mut self.steps);
        let mut answers = Answers::new(self.changes);
        answers.sent(1);
        // For each deferred document: the messages that the client still holds, up to the first gap.
        let mut waiting: HashMap<DocumentKey, Vec<(u64, Sent)>> = HashMap::new();
        let mut gaps: Vec<DocumentKey> = Vec::new();
        let mut is_throttled = false;
        let error = self.session.error().or(error);
        for (index, (change, step)) in self.changes.iter().zip(steps).enumerate() {
            let is_held = answers.is_held(index);
            if self.late.contains(&index) || is_late(&step) {
                answers.unanswered(index);
            }
            match self.result(change, &step, error.as_ref()) {
                Err((reason, Some(cause))) => {
                    is_throttled |= cause == Cause::Throttled;
                    answers.defer(index, reason, cause);
                }
                // Without an outcome it is deferred: an earlier change of its document was.
                _ if is_held => {}
                Ok(()) => {
                    answers.deliver(index);
                    continue;
                }
                Err((reason, None)) => {
                    answers.reject(index, reason);
                    continue;
                }
            }
            let document = key(change);
            let held = waiting.entry(document.clone()).or_default();
            match self.still_held(change, step) {
                Some(entry) if !gaps.contains(&document) => held.push(entry),
                _ => gaps.push(document),
            }
        }
        if is_throttled {
            answers.throttled();
        }
        let mut pending = self.deliveries.pending();
        for (document, messages) in waiting {
            pending.put_back(document, messages);
        }
        drop(pending);
        (answers.finish(), self.follow_up)
    }

    fn result(
        &mut self,
        change: &Change,
        step: &Step,
        error: Option<&ClientError>,
    ) -> Result<(), NotDelivered> {
        match step {
            Step::Rejected(reason) => Err((reason.clone(), None)),
            Step::Deferred { reason, cause } => Err((reason.clone(), Some(*cause))),
            Step::Sent(sent) => match sent.ticket.report() {
                Some(Ok(())) => {
                    self.topics.unblock(|| self.message(change).ok().map(|message| message.topic));
                    Ok(())
                }
                Some(Err(code)) => Err(self.failure(change, code)),
                None => Err(no_report(self.settings.options.request_timeout, error)),
            },
        }
    }

    /// Handles the error of a message that was sent.
    fn failure(&mut self, change: &Change, code: RDKafkaErrorCode) -> NotDelivered {
        let code = self.session.cause(code);
        let class = classify(code).0;
        let Ok(message) = self.message(change) else {
            return (describe(code).into_owned(), Some(Cause::Busy));
        };
        let reason = self.topic_error(&message.topic, code);
        // In a batch of several messages, the broker may mean another one.
        let bytes = self.session.is_single(&message).then(|| message.bytes());
        let cause = match class {
            Class::Deferred(cause) => {
                if is_of_topic(code) && self.session.is_broken() {
                    self.topics.block(&message.topic, code);
                }
                return (reason, Some(cause));
            }
            Class::TooLarge => {
                if bytes.is_some() {
                    // The next attempt knows that this message is too large.
                    self.topics.refuse(message.digest());
                }
                Some(Cause::Busy)
            }
            Class::Rejected => bytes.is_none().then_some(Cause::Busy),
        };
        // A refusal of unknown cause is followed up first.
        if self.follow_up.refusal.as_ref().is_none_or(|known| known.bytes.is_some()) {
            let is_too_large = class == Class::TooLarge;
            self.follow_up.refusal =
                Some(TopicRefusal { topic: message.topic, is_too_large, bytes });
        }
        (reason, cause)
    }

    fn topic_error(&self, topic: &str, code: RDKafkaErrorCode) -> String {
        topic_error(&self.settings.options.topic, topic, code)
    }

    /// The message to wait for when the change is offered again.
    fn still_held(&self, change: &Change, step: Step) -> Option<(u64, Sent)> {
        match step {
            Step::Sent(sent) if !matches!(sent.ticket.report(), Some(Err(_))) => {
                Some((self.message(change).ok()?.digest(), sent))
            }
            _ => None,
        }
    }
}

/// True if the broker did not answer a message before its session was given up.
fn is_late(step: &Step) -> bool {
    let Step::Sent(sent) = step else { return false };
    matches!(sent.ticket.report(), Some(Err(RDKafkaErrorCode::PurgeInflight)))
}

fn no_report(waited: Duration, error: Option<&ClientError>) -> NotDelivered {
    let waited = format!("not acknowledged within {waited:?}");
    match error {
        None => (waited, Some(Cause::Busy)),
        Some(error) => {
            let cause = if error.is_permanent() { Cause::Fault } else { Cause::Busy };
            (format!("{waited}: {}", error.text), Some(cause))
        }
    }
}

/// The text for an error of one topic.
pub(crate) fn topic_error(template: &Template, topic: &str, code: RDKafkaErrorCode) -> String {
    format!("{}: {}", shown(template, topic), describe(code))
}

/// A topic in a message: not the name of one that is made of what a document holds.
pub(crate) fn shown(template: &Template, topic: &str) -> String {
    if template.shows_the_document() {
        format!("the topic of the change, by `{template}`")
    } else {
        format!("topic `{topic}`")
    }
}

#[cfg(test)]
mod tests;
