//! The largest message that each topic takes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};

use crate::context::Context;

/// What a batch has beside its messages; the broker counts it.
/// <https://kafka.apache.org/documentation/#recordbatch>
const BATCH_FRAME: usize = 128;
const OPTION: &str = "max.message.bytes";

/// Largest messages by topic, as far as they were learned; elsewhere what is configured.
#[derive(Debug)]
pub(crate) struct Topics {
    configured: usize,
    learned: Mutex<HashMap<String, usize>>,
}

impl Topics {
    pub(crate) fn new(configured: usize) -> Self {
        Self { configured, learned: Mutex::new(HashMap::new()) }
    }

    /// Bytes of the largest message that can be sent to a topic.
    pub(crate) fn most(&self, topic: &str) -> usize {
        self.learned().get(topic).copied().unwrap_or(self.configured)
    }

    /// The smallest of all that were learned: what a batch may hold wherever it goes.
    pub(crate) fn smallest(&self) -> Option<usize> {
        self.learned().values().copied().min()
    }

    /// Whether this is less than was known.
    pub(crate) fn learn(&self, topic: &str, most: usize) -> bool {
        let is_news = most < self.most(topic);
        if is_news {
            self.learned().insert(topic.to_owned(), most);
        }
        is_news
    }

    fn learned(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_topic_takes_what_is_configured_or_less() {
        let topics = Topics::new(1000);
        assert_eq!((topics.most("a"), topics.smallest()), (1000, None));
        assert!(!topics.learn("a", 1000));
        assert!(!topics.learn("a", 5000));
        assert!(topics.learn("a", 500));
        assert!(topics.learn("b", 300));
        assert!(!topics.learn("a", 600));
        assert_eq!((topics.most("a"), topics.most("b"), topics.most("c")), (500, 300, 1000));
        assert_eq!(topics.smallest(), Some(300));
    }
}
