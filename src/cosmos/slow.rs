//! Logs slow operations, with the diagnostics of the SDK.

use std::time::Duration;

use azure_data_cosmos::diagnostics::DiagnosticsContext;
use cosmos_bridge_sink::{Due, EventLog};
use tracing::warn;

use crate::observe::{hundredths, tenths};

/// At most this many attempts of one operation are logged, the last ones.
const ATTEMPTS_MAX: usize = 10;

/// Logs the slow operations of one account.
#[derive(Debug)]
pub(super) struct SlowOperations {
    limit: Duration,
    /// When everything is slow, one line is enough.
    reading: EventLog,
    writing: EventLog,
}

impl SlowOperations {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, reading: EventLog::default(), writing: EventLog::default() }
    }

    /// Logs an operation that succeeded or failed, if it was slow. `activity` is `reading` or
    /// `writing`.
    pub(super) fn note(&self, activity: &str, container: &str, operation: &DiagnosticsContext) {
        if operation.duration() < self.limit {
            return;
        }
        let log = if activity == "writing" { &self.writing } else { &self.reading };
        let Some(Due { not_logged }) = log.due() else { return };
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
            not_logged,
            "{activity} was slow"
        );
    }
}
