//! Whether the runtime that does the work still serves tasks.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often it beats: often enough for the shortest limit that can be written.
const EVERY: Duration = Duration::from_millis(250);

/// Beats while there is a thread of the runtime that does its work.
#[derive(Debug)]
pub(super) struct Heartbeat {
    last: Mutex<Instant>,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        Self { last: Mutex::new(Instant::now()) }
    }

    /// Beats without end.
    pub(super) async fn beat(&self) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            *self.last.lock() = Instant::now();
        }
    }

    /// Since it last beat.
    pub(super) fn silent_for(&self) -> Duration {
        self.last.lock().elapsed()
    }
}
