//! The changes of one write, from the client to their outcomes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Cause, Change, Outcome, Wait, Written};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::{Instant, sleep_until, timeout};

use crate::classify::{Class, classify, is_of_topic, told};
use crate::connection::Session;
use crate::context::Trouble;
use crate::delivery::Batch;
use crate::message::{Message, NoMessage};
use crate::settings::Settings;
use crate::topics::Topics;
use crate::under_way::{Deliveries, DocumentKey, Sent, is_same, key};

/// After a purge every message has its answer at once; this is for a machine that is busy.
const PURGE_WITHIN: Duration = Duration::from_secs(5);
const EARLIER: &str = "an earlier change of the document has to wait";

/// What is known of one change so far.
enum Step {
    Sent(Sent),
    Rejected(String),
    Deferred { reason: String, cause: Cause },
}

/// A topic that refused a message or the batch that it was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) topic: String,
    pub(crate) is_too_large: bool,
    /// The size of the message that is meant, where that is known.
    pub(crate) settled: Option<usize>,
}

/// What is to be done after a write.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    pub(crate) refusal: Option<Refusal>,
    /// A topic that the client took no message for.
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
    aftermath: Aftermath,
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
        let aftermath = Aftermath::default();
        Self { session, settings, topics, deliveries, batch, changes, steps, aftermath }
    }

    /// Gives all messages to the client, in order, without waiting.
    pub(crate) fn send(&mut self) {
        let mut is_full = false;
        for change in self.changes {
            let step = if is_full || self.is_held(change) {
                Step::Deferred { reason: EARLIER.to_owned(), cause: Cause::Busy }
            } else {
                self.step(change, &mut is_full)
            };
            self.steps.push(step);
        }
    }

    fn step(&mut self, change: &Change, is_full: &mut bool) -> Step {
        let message = match self.message(change) {
            Ok(message) => message,
            Err(problem) => return Step::Rejected(problem.to_string()),
        };
        if let Some(sent) = self.under_way(change, &message) {
            return Step::Sent(sent);
        }
        let ticket = self.batch.ticket();
        if let Some(code) = self.topics.barred(&message.topic) {
            ticket.settle(Err(code));
            let reason = of_topic(&message.topic, code);
            return Step::Deferred { reason, cause: Cause::Fault };
        }
        let session = self.session.number;
        match self.session.send(&message, ticket.clone()) {
            Ok(()) => Step::Sent(Sent { ticket, session, is_earlier: false }),
            Err(code) => {
                ticket.settle(Err(code));
                *is_full = code == RDKafkaErrorCode::QueueFull;
                let reason = of_topic(&message.topic, code);
                match classify(code).0 {
                    Class::Deferred(cause) => {
                        if cause == Cause::Fault {
                            self.aftermath.unusable = Some(message.topic);
                        }
                        Step::Deferred { reason, cause }
                    }
                    Class::Rejected | Class::TooLarge => Step::Rejected(reason),
                }
            }
        }
    }

    fn message(&self, change: &Change) -> Result<Message, NoMessage> {
        let message = Message::of(change, self.settings, |topic| self.topics.most(topic))?;
        let is_refused = |message: &Message| self.topics.is_refused(|| message.digest());
        if !is_refused(&message) {
            return Ok(message);
        }
        let smaller = message.instead(change, self.settings)?;
        if is_refused(&smaller) { Err(NoMessage::Refused) } else { Ok(smaller) }
    }

    /// The message of a change that an earlier write gave to the client, unless it came to nothing.
    fn under_way(&self, change: &Change, message: &Message) -> Option<Sent> {
        let mut pending = self.deliveries.pending();
        if pending.is_empty() {
            return None;
        }
        let document = key(change);
        if !pending.holds(&document) {
            return None;
        }
        let sent = pending.take(&document, message.digest())?;
        let is_alive = match sent.ticket.answer() {
            Some(answer) => answer.is_ok(),
            None => sent.session == self.session.number,
        };
        if !is_alive {
            // What came after it is sent again, too.
            pending.forget(&document);
        }
        is_alive.then_some(Sent { is_earlier: true, ..sent })
    }

    /// Whether a change of the same document could not be given to the client, or has failed.
    fn is_held(&self, change: &Change) -> bool {
        if !self.batch.has_failed() {
            return false;
        }
        let earlier = self.changes.iter().zip(&self.steps);
        earlier.filter(|(earlier, _)| is_same(earlier, change)).any(|(_, step)| match step {
            Step::Sent(sent) => matches!(sent.ticket.answer(), Some(Err(_))),
            Step::Deferred { .. } => true,
            Step::Rejected(_) => false,
        })
    }

    /// Waits for all answers, but not for ever.
    pub(crate) async fn wait(&self) {
        let answers = async || {
            self.batch.settled().await;
            for step in &self.steps {
                if let Step::Sent(Sent { ticket, is_earlier: true, .. }) = step {
                    ticket.settled().await;
                }
            }
        };
        let deadline = Instant::now() + self.settings.timeout;
        tokio::select! {
            () = answers() => return,
            () = sleep_until(deadline) => return,
            () = self.session.broken() => {}
        }
        self.session.purge();
        // What has no answer even then is deferred like everything else.
        drop(timeout(PURGE_WITHIN, answers()).await);
    }

    /// The topic of the first message that nobody has answered for.
    pub(crate) fn silent(&self) -> Option<String> {
        let mut steps = self.changes.iter().zip(&self.steps);
        let is_silent =
            |step: &Step| matches!(step, Step::Sent(sent) if sent.ticket.answer().is_none());
        let (change, _) = steps.find(|(_, step)| is_silent(step))?;
        self.message(change).ok().map(|message| message.topic)
    }

    /// What became of each change, and what is to be done then. `trouble`: why there was no answer,
    /// where the client itself told nothing.
    pub(crate) fn finish(mut self, trouble: Option<Trouble>) -> (Written, Aftermath) {
        let steps = std::mem::take(&mut self.steps);
        let mut outcomes = Vec::with_capacity(steps.len());
        // Of each document that waits: what the client still holds of it, unless there is a gap.
        let mut waiting: HashMap<DocumentKey, Vec<(u64, Sent)>> = HashMap::new();
        let mut gaps: Vec<DocumentKey> = Vec::new();
        let mut cause = None;
        let trouble = self.session.trouble().or(trouble);
        for (change, step) in self.changes.iter().zip(steps) {
            let is_waiting = !waiting.is_empty() && waiting.contains_key(&key(change));
            let outcome = self.outcome(change, &step, trouble.as_ref(), &mut cause);
            if !is_waiting && !matches!(outcome, Outcome::Deferred { .. }) {
                outcomes.push(outcome);
                continue;
            }
            let document = key(change);
            let kept = waiting.entry(document.clone()).or_default();
            match self.still_held(change, step) {
                Some(entry) if !gaps.contains(&document) => kept.push(entry),
                _ => gaps.push(document),
            }
            outcomes.push(match outcome {
                Outcome::Deferred { .. } => outcome,
                _ => Outcome::Deferred { reason: EARLIER.to_owned() },
            });
        }
        let mut pending = self.deliveries.pending();
        for (document, messages) in waiting {
            pending.put_back(document, messages);
        }
        drop(pending);
        let wait = cause.map(|cause| Wait { cause, retry_after: None });
        let throttled = u32::from(cause == Some(Cause::Throttled));
        (Written { outcomes, charge: 0.0, requests: 1, throttled, wait }, self.aftermath)
    }

    fn outcome(
        &mut self,
        change: &Change,
        step: &Step,
        trouble: Option<&Trouble>,
        worst: &mut Option<Cause>,
    ) -> Outcome {
        let (reason, cause) = match step {
            Step::Rejected(reason) => return Outcome::Rejected { reason: reason.clone() },
            Step::Deferred { reason, cause } => (reason.clone(), *cause),
            Step::Sent(sent) => match sent.ticket.answer() {
                Some(Ok(())) => {
                    self.topics.unbar(|| self.message(change).ok().map(|message| message.topic));
                    return Outcome::Delivered;
                }
                Some(Err(code)) => match self.failure(change, code) {
                    (reason, None) => return Outcome::Rejected { reason },
                    (reason, Some(cause)) => (reason, cause),
                },
                None => unanswered(self.settings.timeout, trouble),
            },
        };
        // Trouble of the broker concerns everything.
        if worst.is_none() || cause == Cause::Busy {
            *worst = Some(cause);
        }
        Outcome::Deferred { reason }
    }

    /// What an error of a message that was sent means: rejected without a cause, deferred with one.
    fn failure(&mut self, change: &Change, code: RDKafkaErrorCode) -> (String, Option<Cause>) {
        let code = self.session.cause(code);
        let class = classify(code).0;
        let Ok(message) = self.message(change) else {
            return (told(code).into_owned(), Some(Cause::Busy));
        };
        let reason = of_topic(&message.topic, code);
        // In a batch it may be another message that is meant.
        let settled = self.session.is_single(&message).then(|| message.bytes());
        let cause = match class {
            Class::Deferred(cause) => {
                if is_of_topic(code) && self.session.is_broken() {
                    self.topics.bar(&message.topic, code);
                }
                return (reason, Some(cause));
            }
            Class::TooLarge => {
                if settled.is_some() {
                    // Offered again, it is known to be too large.
                    self.topics.refuse(message.digest());
                }
                Some(Cause::Busy)
            }
            Class::Rejected => settled.is_none().then_some(Cause::Busy),
        };
        // What is not known yet has to be found out.
        if self.aftermath.refusal.as_ref().is_none_or(|known| known.settled.is_some()) {
            let is_too_large = class == Class::TooLarge;
            self.aftermath.refusal = Some(Refusal { topic: message.topic, is_too_large, settled });
        }
        (reason, cause)
    }

    /// What to wait for when the change is offered again.
    fn still_held(&self, change: &Change, step: Step) -> Option<(u64, Sent)> {
        match step {
            Step::Sent(sent) if !matches!(sent.ticket.answer(), Some(Err(_))) => {
                Some((self.message(change).ok()?.digest(), sent))
            }
            _ => None,
        }
    }
}

/// All are deferred: there is no client.
pub(crate) fn impossible(changes: &[Change], reason: &str) -> Written {
    let outcome = Outcome::Deferred { reason: reason.to_owned() };
    let wait = Some(Wait { cause: Cause::Busy, retry_after: None });
    let outcomes = vec![outcome; changes.len()];
    Written { outcomes, charge: 0.0, requests: 0, throttled: 0, wait }
}

fn unanswered(waited: Duration, trouble: Option<&Trouble>) -> (String, Cause) {
    let waited = format!("not acknowledged within {waited:?}");
    match trouble {
        None => (waited, Cause::Busy),
        Some(trouble) => {
            let cause = if trouble.is_permanent() { Cause::Fault } else { Cause::Busy };
            (format!("{waited}: {}", trouble.text), cause)
        }
    }
}

/// What to say of an error of one topic.
pub(crate) fn of_topic(topic: &str, code: RDKafkaErrorCode) -> String {
    format!("topic `{topic}`: {}", told(code))
}
