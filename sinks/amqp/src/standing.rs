//! Whether the broker takes messages, and since when.

use std::time::Duration;

use tokio::time::Instant;

/// How the broker is.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Why it takes nothing at the moment.
    pub(crate) blocked: Option<String>,
    since: Instant,
}

impl Standing {
    pub(crate) fn new(blocked: Option<String>) -> Self {
        Self { blocked, since: Instant::now() }
    }

    /// Whether answers that are awaited in vain since then will never come: a broker that is well again
    /// has had the time for them.
    pub(crate) fn is_overdue(&self, settling: Instant, limit: Duration) -> bool {
        self.blocked.is_none() && settling.max(self.since).elapsed() >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_overdue_when_the_broker_was_well_for_long_enough() {
        let limit = Duration::from_secs(30);
        // Seconds after which the wait is given up, the standing changes, and it is looked at.
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
            let standing = Standing { blocked, since: after(changed) };
            tokio::time::advance(Duration::from_secs(looked)).await;
            let found = standing.is_overdue(after(given_up), limit);
            assert_eq!(found, expected, "{given_up} {changed} {looked}");
        }
    }
}
