//! The time of the local accounts: the machine's, moved on request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that tests can move.
#[derive(Debug, Default)]
pub struct Clock {
    advanced_seconds: AtomicU64,
    behind_seconds: AtomicU64,
}

impl Clock {
    /// Unix seconds.
    pub fn now(&self) -> u32 {
        u32::try_from(self.since_epoch().as_secs()).unwrap_or(u32::MAX)
    }

    fn since_epoch(&self) -> Duration {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = Duration::from_secs(self.advanced_seconds.load(Ordering::Relaxed));
        (real + ahead)
            .saturating_sub(Duration::from_secs(self.behind_seconds.load(Ordering::Relaxed)))
    }

    /// Sets the clock back, so that what is written then is old. Only before anything is written.
    pub fn set_back(&self, seconds: u64) {
        self.behind_seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    pub fn advance(&self, seconds: u64) {
        self.advanced_seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}
