//! Logs slow operations, with the diagnostics of the SDK.

use std::time::Duration;

use azure_data_cosmos::diagnostics::DiagnosticsContext;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::observe::{hundredths, tenths};

/// Shortest time between two log lines: when everything is slow, one line is enough.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// At most this many attempts of one operation are logged, the last ones.
const ATTEMPTS_MAX: usize = 10;

/// Logs the slow operations of one account.
#[derive(Debug)]
pub(super) struct SlowOperations {
    limit: Duration,
    last: Mutex<LastLogged>,
}

#[derive(Debug, Default)]
struct LastLogged {
    at: Option<Instant>,
    /// Slow operations since then.
    others: u64,
}

impl SlowOperations {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, last: Mutex::default() }
    }

    /// Logs an operation that succeeded or failed, if it was slow. `activity` is `reading` or
    /// `writing`.
    pub(super) fn note(&self, activity: &str, container: &str, operation: &DiagnosticsContext) {
        if operation.duration() < self.limit {
            return;
        }
        let Some(others) = self.due(Instant::now()) else { return };
        let attempts = operation.requests();
        let skipped = attempts.len().saturating_sub(ATTEMPTS_MAX);
        // No address, no body and no text of the service.
        let attempts = attempts.iter().skip(skipped).map(|attempt| {
            let status = attempt.status();
            let sub_status = status.sub_status().map_or(0, |sub| u32::from(sub.value()));
            let status = u16::from(status.status_code());
            let why = attempt.execution_context().as_str();
            let region = attempt.region().map_or("-", |region| region.as_str());
            let took = attempt.duration_ms();
            let server = attempt.server_duration_ms();
            let server =
                server.map_or_else(String::new, |ms| format!(", {ms:.0} ms of it in the service"));
            format!("{why} in {region}: {status}/{sub_status} after {took} ms{server}")
        });
        let attempts: Vec<_> = attempts.collect();
        warn!(
            container,
            seconds = hundredths(operation.duration().as_secs_f64()),
            status = operation.effective_status().map(|status| u16::from(status.status_code())),
            ru = tenths(operation.total_request_charge().value()),
            activity_id = %operation.activity_id().as_str(),
            requests = operation.request_count(),
            attempts = attempts.join("; "),
            others,
            "{activity} was slow"
        );
    }

    /// `Some` if a line is due, with the number of slow operations since the last line.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock();
        if last.at.is_some_and(|at| now - at < LOG_EVERY) {
            last.others += 1;
            return None;
        }
        last.at = Some(now);
        Some(std::mem::take(&mut last.others))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::SlowOperations;

    #[tokio::test(start_paused = true)]
    async fn when_everything_is_slow_one_line_counts_the_others() {
        let slow = SlowOperations::new(Duration::from_secs(1));
        assert_eq!(slow.due(Instant::now()), Some(0));
        for _ in 0..9 {
            advance(Duration::from_secs(1)).await;
            assert_eq!(slow.due(Instant::now()), None);
        }
        advance(Duration::from_secs(1)).await;
        assert_eq!(slow.due(Instant::now()), Some(9));
    }
}
