//! Failures that last, told once and then now and again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

/// How often a lasting failure is told again.
const REMINDER: Duration = Duration::from_secs(30);

/// One thing that can go wrong for a while: the first failure is told, then a reminder now and
/// again with the number of attempts, then the recovery.
#[derive(Debug)]
pub struct Trouble {
    what: String,
    state: Mutex<Option<Lasting>>,
}

#[derive(Debug)]
struct Lasting {
    since: Instant,
    told: Instant,
    attempts: u64,
}

impl Trouble {
    /// `what` completes the sentence "cannot go on ...": "writing to sink `a`".
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), state: Mutex::new(None) }
    }

    pub fn failed(&self, error: &str) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lasting) = state.as_mut() else {
            *state = Some(Lasting { since: now, told: now, attempts: 1 });
            warn!(error, "failed {}; trying again until it works", self.what);
            return;
        };
        lasting.attempts += 1;
        if now - lasting.told >= REMINDER {
            lasting.told = now;
            let (attempts, for_seconds) = (lasting.attempts, (now - lasting.since).as_secs());
            warn!(attempts, for_seconds, error, "still failing {}", self.what);
        }
    }

    pub fn recovered(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lasting) = state.take() {
            let after_seconds = lasting.since.elapsed().as_secs_f64();
            info!(attempts = lasting.attempts, after_seconds, "works again: {}", self.what);
        }
    }
}
