//! The run that the admin address reports.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::health::{Limits, Reason, unready_reasons};
use super::heartbeat::Heartbeat;
use crate::observe::Meter;

/// A run with everything that is needed to judge it.
#[derive(Debug)]
pub(super) struct ObservedRun {
    pub(super) meter: Arc<Meter>,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) limits: Limits,
    /// By the wall clock, for the metric.
    pub(super) start: SystemTime,
    since: Instant,
}

impl ObservedRun {
    /// A run that starts now.
    pub(super) fn new(meter: Arc<Meter>, heartbeat: Arc<Heartbeat>, limits: Limits) -> Self {
        Self { meter, heartbeat, limits, start: SystemTime::now(), since: Instant::now() }
    }

    /// The time since the start; the wall clock may be set meanwhile.
    pub(super) fn uptime(&self) -> Duration {
        self.since.elapsed()
    }

    /// Why the bridge is not ready; empty if it is.
    pub(super) fn unready_reasons(&self) -> Vec<Reason> {
        unready_reasons(&self.meter, self.limits, jiff::Timestamp::now().as_second())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Heartbeat, Limits, Meter, ObservedRun};

    #[tokio::test(start_paused = true)]
    async fn the_uptime_does_not_follow_the_wall_clock() {
        let limits = Limits { sink_down: Duration::ZERO, no_progress: Duration::ZERO };
        let (meter, heartbeat) = (Arc::new(Meter::default()), Arc::new(Heartbeat::new()));
        let run = ObservedRun::new(meter, heartbeat, limits);
        assert_eq!(run.uptime(), Duration::ZERO);
        // The wall clock stands still meanwhile.
        advance(Duration::from_secs(90)).await;
        assert_eq!(run.uptime(), Duration::from_secs(90));
    }
}
