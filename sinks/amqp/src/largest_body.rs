//! The largest body that the broker accepts, as far as it has stated it on one connection.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::classify::Failure;
use crate::publish::PublishResult;

/// In bytes. A new connection has a new one: the limit of the broker may have been raised meanwhile, and a
/// broker that has not stated its limit again takes at most one message to do so.
#[derive(Debug)]
pub(crate) struct LargestBody(AtomicUsize);

impl Default for LargestBody {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl LargestBody {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Notes the limit, if the broker stated it.
    pub(crate) fn learn(&self, results: &[PublishResult]) {
        for result in results {
            if let PublishResult::Lost(Failure { largest: Some(bytes), .. }) = result {
                self.0.fetch_min(*bytes, Ordering::AcqRel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_that_was_stated_counts() {
        let stated = |largest| PublishResult::Lost(Failure { largest, ..Failure::busy("refused") });
        let table = [
            (vec![], usize::MAX),
            (vec![PublishResult::Confirmed, PublishResult::Nacked, stated(None)], usize::MAX),
            (vec![stated(Some(3000)), PublishResult::Confirmed], 3000),
            // Messages in flight when the limit was lowered at the broker.
            (vec![stated(Some(3000)), stated(Some(2000)), stated(Some(2500))], 2000),
        ];
        for (results, expected) in table {
            let largest = LargestBody::default();
            largest.learn(&results);
            assert_eq!(largest.bytes(), expected, "{results:?}");
        }
    }
}
