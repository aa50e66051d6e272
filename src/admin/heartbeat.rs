//! Detects whether the runtime that does the work still runs tasks.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// The interval between beats: short enough for the shortest `stuck` that can be configured.
const INTERVAL: Duration = Duration::from_millis(250);

/// Beats as long as the runtime has a thread that is free to run a task.
#[derive(Debug)]
pub(super) struct Heartbeat {
    last: Mutex<Instant>,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        Self { last: Mutex::new(Instant::now()) }
    }

    /// Beats until dropped.
    pub(super) async fn run(&self) {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            *self.last.lock() = Instant::now();
        }
    }

    /// The time since the last beat.
    pub(super) fn age(&self) -> Duration {
        self.last.lock().elapsed()
    }
}
