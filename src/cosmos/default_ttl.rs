//! The time to live of a container's documents, which may change while it is read.

use std::time::Duration;

use azure_data_cosmos::models::TimeToLive;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How old the value may be: one metadata request for each container and this time.
const READ_EVERY: Duration = Duration::from_mins(1);

/// The default of a container, in seconds: none if documents do not expire, -1 if only those with a `ttl`
/// do.
#[derive(Debug)]
pub(super) struct DefaultTtl(Mutex<(Option<i64>, Instant)>);

impl DefaultTtl {
    pub(super) fn new(seconds: Option<i64>) -> Self {
        Self(Mutex::new((seconds, Instant::now())))
    }

    pub(super) fn get(&self) -> Option<i64> {
        self.0.lock().0
    }

    pub(super) fn set(&self, seconds: Option<i64>) {
        *self.0.lock() = (seconds, Instant::now());
    }

    /// True for one caller, if documents expire by the default and it was read a while ago: with an old
    /// default, documents that are alive would count as expired.
    pub(super) fn is_due(&self) -> bool {
        let mut known = self.0.lock();
        let is_due = known.0.is_some_and(|seconds| seconds > 0) && known.1.elapsed() >= READ_EVERY;
        if is_due {
            known.1 = Instant::now();
        }
        is_due
    }
}

/// `None` if time to live is switched off.
pub(super) fn seconds_of(ttl: &TimeToLive) -> Option<i64> {
    match ttl {
        TimeToLive::NoDefault => Some(-1),
        TimeToLive::Seconds(seconds) => Some((*seconds).into()),
        // Switched off; the enum may grow.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_default_by_which_documents_expire_is_read_once_a_minute() {
        for (seconds, is_read) in [(None, false), (Some(-1), false), (Some(50), true)] {
            let default = DefaultTtl::new(seconds);
            assert!(!default.is_due());
            tokio::time::advance(READ_EVERY).await;
            assert_eq!(default.is_due(), is_read);
            assert!(!default.is_due(), "one caller reads it");
            default.set(Some(60));
            assert_eq!(default.get(), Some(60));
        }
    }

    #[test]
    fn only_documents_of_a_container_with_time_to_live_expire() {
        for (ttl, expected) in [
            (TimeToLive::Forever, None),
            (TimeToLive::NoDefault, Some(-1)),
            (TimeToLive::Seconds(50), Some(50)),
        ] {
            assert_eq!(seconds_of(&ttl), expected, "{ttl:?}");
        }
    }
}
