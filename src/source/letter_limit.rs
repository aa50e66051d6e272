//! Stops a pipeline whose changes become dead letters one after the other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::config::{DeadLetters, LetterLimit};

/// Counts the dead letters of a run against the changes that the run has read. Earlier runs do not count:
/// once the route is corrected, a restart goes on although their letters are still stored.
#[derive(Debug)]
pub(super) struct LetterCount {
    limit: DeadLetters,
    read: AtomicU64,
    letters: AtomicU64,
    exceeded: OnceLock<LimitExceeded>,
}

/// More dead letters than the configuration allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{letters} dead letters of {read} changes exceed the limit of {limit}; the last: {cause}")]
pub struct LimitExceeded {
    pub letters: u64,
    pub read: u64,
    pub limit: LetterLimit,
    /// Of the last letter.
    pub cause: String,
}

impl LimitExceeded {
    /// A sentence that says what to do.
    pub fn hint(&self) -> &'static str {
        "No change is lost. See the causes with `cosmos-bridge dlq list --summary`, correct the route or \
         the sink, then write what was kept with `cosmos-bridge dlq replay`, and start again. \
         dead_letters.limit of the pipeline allows more."
    }
}

impl LetterCount {
    pub(super) fn new(limit: DeadLetters) -> Self {
        Self {
            limit,
            read: AtomicU64::default(),
            letters: AtomicU64::default(),
            exceeded: OnceLock::default(),
        }
    }

    pub(super) fn count_read(&self, changes: usize) {
        self.read.fetch_add(changes as u64, Relaxed);
    }

    /// Counts stored letters. Returns why the pipeline has to stop, once.
    pub(super) fn count_letters(&self, letters: usize, cause: &str) -> Option<LimitExceeded> {
        let letters = self.letters.fetch_add(letters as u64, Relaxed) + letters as u64;
        let read = self.read.load(Relaxed);
        if letters <= allowed(&self.limit, read)? {
            return None;
        }
        let (limit, cause) = (self.limit.limit, cause.to_owned());
        let exceeded = LimitExceeded { letters, read, limit, cause };
        self.exceeded.set(exceeded.clone()).is_ok().then_some(exceeded)
    }

    /// Why nothing more may be stored.
    pub(super) fn exceeded(&self) -> Option<&LimitExceeded> {
        self.exceeded.get()
    }
}

/// How many dead letters may be stored for a number of changes that were read; `None` for any number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of at most 1 of a count far below 2^53"
)]
fn allowed(limit: &DeadLetters, read: u64) -> Option<u64> {
    match limit.limit {
        LetterLimit::Unlimited => None,
        LetterLimit::Count(count) => Some(count.into()),
        LetterLimit::Share(share) => {
            let of = read.max(limit.of_at_least.into());
            Some((share.fraction() * of as f64).floor() as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DeadLetters, LetterCount, LetterLimit, allowed};
    use crate::config::Share;

    fn limit(limit: LetterLimit) -> DeadLetters {
        DeadLetters { limit, of_at_least: 1000 }
    }

    #[test]
    fn a_share_is_of_at_least_so_many_changes_and_a_number_of_any() {
        let share = |percent| LetterLimit::Share(Share::percent(percent));
        let table = [
            (LetterLimit::Unlimited, 0, None),
            (LetterLimit::Unlimited, 1_000_000, None),
            (LetterLimit::Count(0), 1_000_000, Some(0)),
            (LetterLimit::Count(7), 0, Some(7)),
            (share(10.0), 0, Some(100)),
            (share(10.0), 1000, Some(100)),
            (share(10.0), 50_000, Some(5000)),
            (share(0.5), 0, Some(5)),
            (share(100.0), 50_000, Some(50_000)),
        ];
        for (written, read, expected) in table {
            assert_eq!(allowed(&limit(written), read), expected, "{written:?} {read}");
        }
    }

    #[test]
    fn the_letter_that_exceeds_the_limit_stops_the_pipeline_once() {
        let count = LetterCount::new(limit(LetterLimit::Count(3)));
        count.count_read(10);
        assert_eq!(count.count_letters(3, "no key"), None);
        assert_eq!(count.exceeded(), None);
        let exceeded = count.count_letters(2, "no key").unwrap();
        assert_eq!(
            exceeded.to_string(),
            "5 dead letters of 10 changes exceed the limit of 3; the last: no key"
        );
        assert_eq!(count.exceeded(), Some(&exceeded));
        assert_eq!(count.count_letters(1, "no key"), None);
    }
}
