//! What each topic takes: how much in a batch, which messages it has refused, and whether any at all.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use crate::context::Context;

/// What a batch has beside its messages; the broker counts it.
/// <https://kafka.apache.org/documentation/#recordbatch>
const BATCH_FRAME: usize = 128;
const OPTION: &str = "max.message.bytes";

/// So long a limit is held against messages. Then one is sent again, for it may have been raised.
const BELIEVED: Duration = Duration::from_mins(1);
/// So long a topic that takes nothing is left alone. Then one message is sent again, for somebody may
/// have mended it.
const BARRED: Duration = Duration::from_secs(10);
/// More than are refused between two offers of a change.
const REFUSALS: usize = 1024;

/// Limits of topics, as far as they were learned; elsewhere what is configured.
#[derive(Debug)]
pub(crate) struct Topics {
    configured: usize,
    /// Whether messages travel as they are. Of what is compressed only the broker knows the size.
    is_plain: bool,
    /// Whether there is anything to be known: until then nobody waits for the lock.
    is_noted: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    limits: HashMap<String, Limit>,
    /// Digests of messages that were refused in a batch of their own.
    refused: VecDeque<u64>,
    /// Topics that refused a message for the topic's own sake, and when it was tried last.
    barred: HashMap<String, (RDKafkaErrorCode, Instant)>,
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

    fn is_believed(self) -> bool {
        self.since.elapsed() < BELIEVED
    }
}

impl Topics {
    pub(crate) fn new(configured: usize, is_plain: bool) -> Self {
        Self { configured, is_plain, is_noted: AtomicBool::new(false), known: Mutex::default() }
    }

    /// Bytes of the largest message that can be sent to a topic, before compression.
    pub(crate) fn most(&self, topic: &str) -> usize {
        let Some(known) = self.noted() else { return self.configured };
        let limit = known.limits.get(topic).filter(|limit| self.is_plain && limit.is_believed());
        limit.map_or(self.configured, |limit| limit.bytes)
    }

    /// The smallest of all that were learned: what a batch may hold wherever it goes.
    pub(crate) fn smallest(&self) -> Option<usize> {
        self.known().limits.values().map(|limit| limit.bytes).min()
    }

    /// Whether the limit was learned so short a time ago that it need not be asked for.
    pub(crate) fn is_believed(&self, topic: &str) -> bool {
        self.known().limits.get(topic).is_some_and(|limit| limit.is_believed())
    }

    /// Takes the broker's word. Whether this is less than was known.
    pub(crate) fn learn(&self, topic: &str, bytes: usize) -> bool {
        let mut known = self.to_note();
        let before = if bytes < self.configured {
            known.limits.insert(topic.to_owned(), Limit::new(bytes))
        } else {
            known.limits.remove(topic)
        };
        bytes < before.map_or(self.configured, |limit| limit.bytes)
    }

    /// A message of so many bytes was too large, and the broker does not tell its limit.
    pub(crate) fn guess(&self, topic: &str, refused: usize) {
        let mut known = self.to_note();
        let before = known.limits.get(topic).map_or(self.configured, |limit| limit.bytes);
        known.limits.insert(topic.to_owned(), Limit::new(before.min(refused.saturating_sub(1))));
    }

    /// A message was refused in a batch of its own: not to be sent again as it is.
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

    /// A topic takes nothing, and the refusal ended the client for all the others, too.
    pub(crate) fn bar(&self, topic: &str, code: RDKafkaErrorCode) {
        self.to_note().barred.insert(topic.to_owned(), (code, Instant::now()));
    }

    /// Why a topic is left alone. Once in a while it is not, for one message.
    pub(crate) fn barred(&self, topic: &str) -> Option<RDKafkaErrorCode> {
        let mut known = self.noted()?;
        let (code, tried) = known.barred.get_mut(topic)?;
        if tried.elapsed() < BARRED {
            return Some(*code);
        }
        *tried = Instant::now();
        None
    }

    /// A message was taken.
    pub(crate) fn unbar(&self, topic: impl FnOnce() -> Option<String>) {
        let has_barred = self.noted().is_some_and(|known| !known.barred.is_empty());
        if let Some(topic) = has_barred.then(topic).flatten() {
            self.known().barred.remove(&topic);
        }
    }

    /// `None` if nothing was ever noted.
    fn noted(&self) -> Option<MutexGuard<'_, Known>> {
        self.is_noted.load(Ordering::Acquire).then(|| self.known())
    }

    fn to_note(&self) -> MutexGuard<'_, Known> {
        self.is_noted.store(true, Ordering::Release);
        self.known()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the broker. `None` where it does not tell, as where the user may not ask.
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
    fn a_batch_holds_what_is_configured_or_less() {
        let topics = Topics::new(1000, true);
        assert_eq!((topics.most("a"), topics.smallest()), (1000, None));
        // What the broker tells, and whether it is less than was known.
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
        assert_eq!((topics.most("a"), topics.most("b")), (1000, 600));
        for (refused, smallest) in [(400, 399), (500, 399)] {
            topics.guess("a", refused);
            assert_eq!(topics.smallest(), Some(smallest));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_held_against_plain_messages_and_not_for_ever() {
        for (is_plain, most) in [(true, 500), (false, 1000)] {
            let topics = Topics::new(1000, is_plain);
            topics.learn("a", 500);
            assert_eq!((topics.most("a"), topics.is_believed("a")), (most, true));
            tokio::time::advance(BELIEVED).await;
            assert_eq!((topics.most("a"), topics.is_believed("a")), (1000, false));
            assert_eq!(topics.smallest(), Some(500), "batches stay small until it is asked for");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_takes_nothing_is_tried_now_and_then() {
        let topics = Topics::new(1000, true);
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        assert_eq!(topics.barred("a"), None);
        topics.bar("a", code);
        for _ in 0..3 {
            assert_eq!((topics.barred("a"), topics.barred("b")), (Some(code), None));
            tokio::time::advance(BARRED).await;
            assert_eq!(topics.barred("a"), None, "one message");
            assert_eq!(topics.barred("a"), Some(code), "and no other");
        }
        topics.unbar(|| Some("b".to_owned()));
        assert_eq!(topics.barred("a"), Some(code));
        topics.unbar(|| Some("a".to_owned()));
        assert_eq!(topics.barred("a"), None);
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
