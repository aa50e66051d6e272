//! Whether the broker accepts messages, and since when.

use std::time::Duration;

use tokio::time::Instant;

/// Whether the broker accepts messages.
#[derive(Debug)]
pub(crate) struct BrokerState {
    /// Why the broker accepts no messages now.
    pub(crate) blocked: Option<String>,
    since: Instant,
}

impl BrokerState {
    pub(crate) fn new(blocked: Option<String>) -> Self {
        Self { blocked, since: Instant::now() }
    }

    /// True if confirmations that a write stopped waiting for at `gave_up_at` will never come: the
    /// broker has accepted messages for `limit` since then, which was time enough to confirm.
    pub(crate) fn is_overdue(&self, gave_up_at: Instant, limit: Duration) -> bool {
        self.blocked.is_none() && gave_up_at.max(self.since).elapsed() >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_overdue_when_the_broker_was_unblocked_for_long_enough() {
        let limit = Duration::from_secs(30);
        // Seconds after which the write stops waiting, the state changes, and the state is read.
        let cases = [
            (0, 0, false, 29, false),
            (0, 0, false, 30, true),
            (0, 100, false, 129, false),
            (0, 100, false, 130, true),
            (200, 100, false, 229, false),
            (200, 100, false, 230, true),
            (0, 0, true, 1000, false),
        ];
        for (given_up, changed, is_blocked, looked, expected) in cases {
            let start = Instant::now();
            let after = |seconds| start + Duration::from_secs(seconds);
            let blocked = is_blocked.then(|| "low on disk".to_owned());
            let state = BrokerState { blocked, since: after(changed) };
            tokio::time::advance(Duration::from_secs(looked)).await;
            let found = state.is_overdue(after(given_up), limit);
            assert_eq!(found, expected, "{given_up} {changed} {looked}");
        }
    }
}
