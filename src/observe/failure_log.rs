//! Logs lasting failures: the first one immediately, then reminders at growing intervals.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cosmos_bridge_sink::LogThrottle;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::rounding::tenths;

/// An operation that may fail for a while: the first failure is logged, then reminders with the number
/// of attempts, then the recovery. An operation that fails and succeeds by turns is not logged more often.
#[derive(Debug)]
pub struct FailureLog {
    what: String,
    throttle: Mutex<LogThrottle>,
    /// The last error, until the next success.
    error: Mutex<Option<String>>,
    failures: AtomicU64,
}

impl FailureLog {
    /// `what` completes the sentence "failed ...": "writing to sink `a`".
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            throttle: Mutex::default(),
            error: Mutex::default(),
            failures: AtomicU64::new(0),
        }
    }

    pub fn failed(&self, error: &str) {
        let now = Instant::now();
        self.failures.fetch_add(1, Relaxed);
        *self.error.lock() = Some(error.to_owned());
        let Some(episode) = self.throttle.lock().on_occurrence(now) else { return };
        if episode.is_logged {
            let (attempts, for_seconds) = (episode.occurrences, (now - episode.since).as_secs());
            warn!(attempts, for_seconds, error, "still failing {}", self.what);
        } else {
            warn!(error, "failed {}; retrying until it succeeds", self.what);
        }
    }

    /// The current error.
    pub fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }

    /// The number of failures since the start of the process.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// How long the operation has failed without a success; `None` if it works.
    pub fn failing_for(&self) -> Option<Duration> {
        self.throttle.lock().since().map(|since| since.elapsed())
    }

    pub fn recovered(&self) {
        *self.error.lock() = None;
        let ended = self.throttle.lock().end();
        if let Some(episode) = ended.filter(|episode| episode.is_logged) {
            let after_seconds = tenths(episode.since.elapsed().as_secs_f64());
            info!(attempts = episode.occurrences, after_seconds, "works again: {}", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::lines::Lines;
    use super::FailureLog;

    const MINUTE: Duration = Duration::from_mins(1);
    const HALF_A_SECOND: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_failure_is_a_handful_of_lines() {
        let log = Lines::of(async {
            let failures = FailureLog::new("writing to sink `a`");
            for _ in 0..7200 {
                failures.failed("refused");
                advance(HALF_A_SECOND).await;
            }
            failures.recovered();
            failures.recovered();
        });
        insta::assert_snapshot!(log.await, @r#"
        WARN failed writing to sink `a`; retrying until it succeeds error="refused"
        WARN still failing writing to sink `a` attempts=61 for_seconds=30 error="refused"
        WARN still failing writing to sink `a` attempts=181 for_seconds=90 error="refused"
        WARN still failing writing to sink `a` attempts=421 for_seconds=210 error="refused"
        WARN still failing writing to sink `a` attempts=901 for_seconds=450 error="refused"
        WARN still failing writing to sink `a` attempts=1861 for_seconds=930 error="refused"
        WARN still failing writing to sink `a` attempts=3781 for_seconds=1890 error="refused"
        INFO works again: writing to sink `a` attempts=7200 after_seconds=3600.0
        "#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_of_failure_is_logged_every_hour() {
        let log = Lines::of(async {
            let failures = FailureLog::new("writing to sink `a`");
            for _ in 0..24 * 60 {
                failures.failed("refused");
                advance(MINUTE).await;
            }
        });
        let log = log.await;
        assert_eq!(log.lines().count(), 30, "{log}");
    }

    /// Fails and works by turns for an hour.
    #[tokio::test(start_paused = true)]
    async fn an_operation_that_fails_and_works_by_turns_does_not_fill_the_log() {
        let log = Lines::of(async {
            let failures = FailureLog::new("writing to sink `a`");
            for _ in 0..3600 {
                failures.failed("refused");
                advance(HALF_A_SECOND).await;
                failures.recovered();
                advance(HALF_A_SECOND).await;
            }
        });
        let log = log.await;
        assert_eq!(log.lines().count(), 14, "{log}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_returns_is_logged_as_new_after_a_quiet_time_or_once_it_lasts() {
        let log = Lines::of(async {
            let failures = FailureLog::new("writing to sink `a`");
            // (works for, then fails for), in minutes
            for (works, fails) in [(0, 30), (5, 8), (9, 12), (10, 1)] {
                advance(works * MINUTE).await;
                for _ in 0..fails * 120 {
                    failures.failed("refused");
                    advance(HALF_A_SECOND).await;
                }
                failures.recovered();
                tracing::info!("-");
            }
        });
        insta::assert_snapshot!(log.await, @r#"
        WARN failed writing to sink `a`; retrying until it succeeds error="refused"
        WARN still failing writing to sink `a` attempts=61 for_seconds=30 error="refused"
        WARN still failing writing to sink `a` attempts=181 for_seconds=90 error="refused"
        WARN still failing writing to sink `a` attempts=421 for_seconds=210 error="refused"
        WARN still failing writing to sink `a` attempts=901 for_seconds=450 error="refused"
        WARN still failing writing to sink `a` attempts=1861 for_seconds=930 error="refused"
        INFO works again: writing to sink `a` attempts=3600 after_seconds=1800.0
        INFO -
        WARN failed writing to sink `a`; retrying until it succeeds error="refused"
        INFO works again: writing to sink `a` attempts=960 after_seconds=480.0
        INFO -
        WARN failed writing to sink `a`; retrying until it succeeds error="refused"
        INFO works again: writing to sink `a` attempts=1440 after_seconds=720.0
        INFO -
        WARN failed writing to sink `a`; retrying until it succeeds error="refused"
        WARN still failing writing to sink `a` attempts=61 for_seconds=30 error="refused"
        INFO works again: writing to sink `a` attempts=120 after_seconds=60.0
        INFO -
        "#);
    }
}
