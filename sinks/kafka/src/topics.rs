//! The limits of topics: batch sizes, refused messages, and topics that accept no messages.

use std::collections::{HashMap, VecDeque};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cosmos_bridge_sink::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::context::Context;

/// The bytes of a batch in addition to its messages. The broker counts them.
/// <https://kafka.apache.org/documentation/#recordbatch>
const BATCH_FRAME: usize = 128;
const OPTION: &str = "max.message.bytes";

/// How long a learned limit is applied. After that one message is sent again, because the limit may
/// have been raised.
const LIMIT_VALID_FOR: Duration = Duration::from_mins(1);
/// How long no message is sent to a topic that accepts none. After that one message is sent again,
/// because an operator may have corrected the topic.
const BLOCKED_FOR: Duration = Duration::from_secs(10);
/// The number of refused messages to remember: more than are refused between two attempts.
const REFUSALS: usize = 1024;

/// The learned limits of topics. The configured limit applies to the others.
#[derive(Debug)]
pub(crate) struct Topics {
    configured: usize,
    /// True if messages are not compressed. Only the broker knows the size of compressed ones.
    is_plain: bool,
    /// False as long as nothing was learned; then no write needs the lock.
    is_noted: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    limits: HashMap<String, Limit>,
    /// The digests of messages that were refused alone in a batch.
    refused: VecDeque<u64>,
    /// Topics that accept no messages, and when the last message was sent.
    blocked: HashMap<String, (RDKafkaErrorCode, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Limit {
    bytes: usize,
    since: Instant,
}

impl Limit {
    fn new(bytes: usize) -> Self {
        Self { bytes, since: Instant::now() }
    }

    fn is_valid(self) -> bool {
        self.since.elapsed() < LIMIT_VALID_FOR
    }
}

impl Topics {
    pub(crate) fn new(configured: usize, is_plain: bool) -> Self {
        Self { configured, is_plain, is_noted: AtomicBool::new(false), known: Mutex::default() }
    }

    /// The largest message of a topic, in bytes, before compression.
    pub(crate) fn message_max(&self, topic: &str) -> usize {
        let Some(known) = self.noted() else { return self.configured };
        let limit = known.limits.get(topic).filter(|limit| self.is_plain && limit.is_valid());
        limit.map_or(self.configured, |limit| limit.bytes)
    }

    /// The smallest learned limit: a batch of this size is accepted by every topic.
    pub(crate) fn smallest(&self) -> Option<usize> {
        self.known().limits.values().map(|limit| limit.bytes).min()
    }

    /// True if the limit was learned recently, so that the broker need not be asked.
    pub(crate) fn is_valid(&self, topic: &str) -> bool {
        self.known().limits.get(topic).is_some_and(|limit| limit.is_valid())
    }

    /// Notes the limit that the broker stated. Returns true if it is smaller than the known one.
    pub(crate) fn learn(&self, topic: &str, bytes: usize) -> bool {
        let mut known = self.to_note();
        let before = if bytes < self.configured {
            known.limits.insert(topic.to_owned(), Limit::new(bytes))
        } else {
            known.limits.remove(topic)
        };
        bytes < before.map_or(self.configured, |limit| limit.bytes)
    }

    /// Notes that a message of `refused` bytes was too large, if the broker does not state its limit.
    pub(crate) fn guess(&self, topic: &str, refused: usize) {
        let mut known = self.to_note();
        let before = known.limits.get(topic).map_or(self.configured, |limit| limit.bytes);
        known.limits.insert(topic.to_owned(), Limit::new(before.min(refused.saturating_sub(1))));
    }

    /// Notes that a message was refused alone in a batch, so that it is not sent again.
    pub(crate) fn refuse(&self, digest: u64) {
        let mut known = self.to_note();
        if known.refused.len() == REFUSALS {
            known.refused.pop_front();
        }
        known.refused.push_back(digest);
    }

    pub(crate) fn is_refused(&self, digest: impl FnOnce() -> u64) -> bool {
        self.noted()
            .is_some_and(|known| !known.refused.is_empty() && known.refused.contains(&digest()))
    }

    /// Notes that a topic accepts no messages. Such a refusal ends the client for all topics.
    pub(crate) fn block(&self, topic: &str, code: RDKafkaErrorCode) {
        self.to_note().blocked.insert(topic.to_owned(), (code, Instant::now()));
    }

    /// Why no message may be sent to a topic. After [`BLOCKED_FOR`] one message may be sent.
    pub(crate) fn blocked(&self, topic: &str) -> Option<RDKafkaErrorCode> {
        let mut known = self.noted()?;
        let (code, tried) = known.blocked.get_mut(topic)?;
        if tried.elapsed() < BLOCKED_FOR {
            return Some(*code);
        }
        *tried = Instant::now();
        None
    }

    /// Notes that a topic accepted a message.
    pub(crate) fn unblock(&self, topic: impl FnOnce() -> Option<String>) {
        let has_blocked = self.noted().is_some_and(|known| !known.blocked.is_empty());
        if let Some(topic) = has_blocked.then(topic).flatten() {
            self.known().blocked.remove(&topic);
        }
    }

    /// `None` if nothing was learned yet.
    fn noted(&self) -> Option<MutexGuard<'_, Known>> {
        self.is_noted.load(Ordering::Acquire).then(|| self.known())
    }

    fn to_note(&self) -> MutexGuard<'_, Known> {
        self.is_noted.store(true, Ordering::Release);
        self.known()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

/// Asks the broker for the limit of a topic. `None` if the user has no permission for that, or the
/// broker does not answer.
pub(crate) async fn ask(
    admin: &AdminClient<Context>,
    topic: &str,
    timeout: Duration,
) -> Option<usize> {
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let resource = [ResourceSpecifier::Topic(topic)];
    let answer = admin.describe_configs(&resource, &options).await.ok()?;
    let topic = answer.into_iter().next()?.ok()?;
    let bytes: usize = topic.get(OPTION)?.value.as_ref()?.parse().ok()?;
    Some(bytes.saturating_sub(BATCH_FRAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_the_configured_size_or_less() {
        let topics = Topics::new(1000, true);
        assert_eq!((topics.message_max("a"), topics.smallest()), (1000, None));
        // The limit that the broker states, and whether it is smaller than the known one.
        for (topic, bytes, is_less, smallest) in [
            ("a", 1000, false, None),
            ("a", 5000, false, None),
            ("a", 500, true, Some(500)),
            ("b", 300, true, Some(300)),
            ("b", 600, false, Some(500)),
            ("a", 5000, false, Some(600)),
        ] {
            assert_eq!(topics.learn(topic, bytes), is_less, "{topic} {bytes}");
            assert_eq!(topics.smallest(), smallest, "{topic} {bytes}");
        }
        assert_eq!((topics.message_max("a"), topics.message_max("b")), (1000, 600));
        for (refused, smallest) in [(400, 399), (500, 399)] {
            topics.guess("a", refused);
            assert_eq!(topics.smallest(), Some(smallest));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_applies_to_plain_messages_and_only_for_a_time() {
        for (is_plain, most) in [(true, 500), (false, 1000)] {
            let topics = Topics::new(1000, is_plain);
            topics.learn("a", 500);
            assert_eq!((topics.message_max("a"), topics.is_valid("a")), (most, true));
            tokio::time::advance(LIMIT_VALID_FOR).await;
            assert_eq!((topics.message_max("a"), topics.is_valid("a")), (1000, false));
            assert_eq!(
                topics.smallest(),
                Some(500),
                "batches stay small until the broker is asked again"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_accepts_nothing_is_tried_from_time_to_time() {
        let topics = Topics::new(1000, true);
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        assert_eq!(topics.blocked("a"), None);
        topics.block("a", code);
        for _ in 0..3 {
            assert_eq!((topics.blocked("a"), topics.blocked("b")), (Some(code), None));
            tokio::time::advance(BLOCKED_FOR).await;
            assert_eq!(topics.blocked("a"), None, "one message");
            assert_eq!(topics.blocked("a"), Some(code), "and no other");
        }
        topics.unblock(|| Some("b".to_owned()));
        assert_eq!(topics.blocked("a"), Some(code));
        topics.unblock(|| Some("a".to_owned()));
        assert_eq!(topics.blocked("a"), None);
    }

    #[test]
    fn the_last_refused_messages_are_remembered() {
        let topics = Topics::new(1000, false);
        let is_refused = |digest| topics.is_refused(|| digest);
        assert!(!is_refused(0));
        for digest in 0..=REFUSALS as u64 {
            topics.refuse(digest);
        }
        assert_eq!((is_refused(0), is_refused(1), is_refused(1024)), (false, true, true));
    }
}
