//! Tells of operations that took long, with what the SDK noted about them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use azure_data_cosmos::diagnostics::DiagnosticsContext;
use tokio::time::Instant;
use tracing::warn;

/// Between two lines, at least: when everything is slow, one of them says it.
const EVERY: Duration = Duration::from_secs(10);

/// Attempts of one operation that are told; of more, the last ones.
const ATTEMPTS: usize = 10;

/// Operations of one account.
#[derive(Debug)]
pub(super) struct Slow {
    limit: Duration,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Slow ones since then.
    others: u64,
}

impl Slow {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, told: Mutex::default() }
    }

    /// Looks at an operation that ended, one way or the other. `what` is `reading` or `writing`.
    pub(super) fn note(&self, what: &str, container: &str, operation: &DiagnosticsContext) {
        if operation.duration() < self.limit {
            return;
        }
        let Some(others) = self.due(Instant::now()) else { return };
        let attempts = operation.requests();
        let skipped = attempts.len().saturating_sub(ATTEMPTS);
        // In a few words each: no address, no body, no text of the service.
        let told = attempts.iter().skip(skipped).map(|attempt| {
            let status = attempt.status();
            let sub_status = status.sub_status().map_or(0, |sub| u32::from(sub.value()));
            let status = u16::from(status.status_code());
            let why = attempt.execution_context().as_str();
            let region = attempt.region().map_or("-", |region| region.as_str());
            let took = attempt.duration_ms();
            let server = attempt.server_duration_ms();
            let server = server.map_or_else(String::new, |ms| format!(", {ms:.0} of it there"));
            format!("{why} in {region}: {status}/{sub_status} after {took} ms{server}")
        });
        let told: Vec<_> = told.collect();
        warn!(
            container,
            seconds = operation.duration().as_secs_f64(),
            status = operation.effective_status().map(|status| u16::from(status.status_code())),
            ru = operation.total_request_charge().value(),
            activity_id = %operation.activity_id().as_str(),
            requests = operation.request_count(),
            attempts = told.join("; "),
            others,
            "{what} was slow"
        );
    }

    /// Whether to tell now, and how many were not told since the last time.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.at.is_some_and(|at| now - at < EVERY) {
            told.others += 1;
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.others))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::Slow;

    #[tokio::test(start_paused = true)]
    async fn when_everything_is_slow_one_line_counts_the_others() {
        let slow = Slow::new(Duration::from_secs(1));
        assert_eq!(slow.due(Instant::now()), Some(0));
        for _ in 0..9 {
            advance(Duration::from_secs(1)).await;
            assert_eq!(slow.due(Instant::now()), None);
        }
        advance(Duration::from_secs(1)).await;
        assert_eq!(slow.due(Instant::now()), Some(9));
    }
}
