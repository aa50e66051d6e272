//! The time of the local accounts: the machine's, moved forward on request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that tests can move.
#[derive(Debug, Default)]
pub struct Clock {
    advanced_seconds: AtomicU64,
}

impl Clock {
    /// Unix seconds.
    pub fn now(&self) -> u32 {
        u32::try_from(self.since_epoch().as_secs()).unwrap_or(u32::MAX)
    }

    fn since_epoch(&self) -> Duration {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        real + Duration::from_secs(self.advanced_seconds.load(Ordering::Relaxed))
    }

    pub fn advance(&self, seconds: u64) {
        self.advanced_seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}
