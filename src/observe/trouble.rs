//! Failures that last, told once and then at growing intervals.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::reminders::LogThrottle;

/// One thing that can go wrong for a while: the first failure is told, then a reminder now and
/// again with the number of attempts, then the recovery. What fails and works by turns is told no
/// more often.
#[derive(Debug)]
pub struct FailureLog {
    what: String,
    reminders: Mutex<LogThrottle>,
    /// The last failure, while it lasts.
    error: Mutex<Option<String>>,
    failures: AtomicU64,
}

impl FailureLog {
    /// `what` completes the sentence "failed ...": "writing to sink `a`".
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            reminders: Mutex::default(),
            error: Mutex::default(),
            failures: AtomicU64::new(0),
        }
    }

    pub fn failed(&self, error: &str) {
        let now = Instant::now();
        self.failures.fetch_add(1, Relaxed);
        *self.error.lock() = Some(error.to_owned());
        let Some(lasting) = self.reminders.lock().happened(now) else { return };
        if lasting.is_told {
            let (attempts, for_seconds) = (lasting.times, (now - lasting.since).as_secs());
            warn!(attempts, for_seconds, error, "still failing {}", self.what);
        } else {
            warn!(error, "failed {}; trying again until it works", self.what);
        }
    }

    /// What fails at the moment.
    pub fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }

    /// Failures since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// For how long it has failed without working in between.
    pub fn lasting(&self) -> Option<Duration> {
        self.reminders.lock().since().map(|since| since.elapsed())
    }

    pub fn recovered(&self) {
        *self.error.lock() = None;
        let over = self.reminders.lock().over();
        if let Some(lasting) = over.filter(|lasting| lasting.is_told) {
            let after_seconds = lasting.since.elapsed().as_secs_f64();
            info!(attempts = lasting.times, after_seconds, "works again: {}", self.what);
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
        let told = Lines::of(async {
            let trouble = FailureLog::new("writing to sink `a`");
            for _ in 0..7200 {
                trouble.failed("refused");
                advance(HALF_A_SECOND).await;
            }
            trouble.recovered();
            trouble.recovered();
        });
        insta::assert_snapshot!(told.await, @r#"
        WARN failed writing to sink `a`; trying again until it works error="refused"
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
    async fn a_day_of_failure_is_told_every_hour() {
        let told = Lines::of(async {
            let trouble = FailureLog::new("writing to sink `a`");
            for _ in 0..24 * 60 {
                trouble.failed("refused");
                advance(MINUTE).await;
            }
        });
        let told = told.await;
        assert_eq!(told.lines().count(), 30, "{told}");
    }

    /// What fails and works by turns for an hour.
    #[tokio::test(start_paused = true)]
    async fn what_fails_and_works_by_turns_does_not_fill_the_log() {
        let told = Lines::of(async {
            let trouble = FailureLog::new("writing to sink `a`");
            for _ in 0..3600 {
                trouble.failed("refused");
                advance(HALF_A_SECOND).await;
                trouble.recovered();
                advance(HALF_A_SECOND).await;
            }
        });
        let told = told.await;
        assert_eq!(told.lines().count(), 14, "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_is_news_after_a_quiet_time_or_once_it_lasts() {
        let told = Lines::of(async {
            let trouble = FailureLog::new("writing to sink `a`");
            // (works for, then fails for), in minutes
            for (works, fails) in [(0, 30), (5, 8), (9, 12), (10, 1)] {
                advance(works * MINUTE).await;
                for _ in 0..fails * 120 {
                    trouble.failed("refused");
                    advance(HALF_A_SECOND).await;
                }
                trouble.recovered();
                tracing::info!("-");
            }
        });
        insta::assert_snapshot!(told.await, @r#"
        WARN failed writing to sink `a`; trying again until it works error="refused"
        WARN still failing writing to sink `a` attempts=61 for_seconds=30 error="refused"
        WARN still failing writing to sink `a` attempts=181 for_seconds=90 error="refused"
        WARN still failing writing to sink `a` attempts=421 for_seconds=210 error="refused"
        WARN still failing writing to sink `a` attempts=901 for_seconds=450 error="refused"
        WARN still failing writing to sink `a` attempts=1861 for_seconds=930 error="refused"
        INFO works again: writing to sink `a` attempts=3600 after_seconds=1800.0
        INFO -
        WARN failed writing to sink `a`; trying again until it works error="refused"
        INFO works again: writing to sink `a` attempts=960 after_seconds=480.0
        INFO -
        WARN failed writing to sink `a`; trying again until it works error="refused"
        INFO works again: writing to sink `a` attempts=1440 after_seconds=720.0
        INFO -
        WARN failed writing to sink `a`; trying again until it works error="refused"
        WARN still failing writing to sink `a` attempts=61 for_seconds=30 error="refused"
        INFO works again: writing to sink `a` attempts=120 after_seconds=60.0
        INFO -
        "#);
    }
}
