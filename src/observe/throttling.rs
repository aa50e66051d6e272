//! Logs throttling by the service (429). It is ordinary and may last for ever, so it is logged at growing
//! intervals.

use std::time::Duration;

use cosmos_bridge_sink::LogThrottle;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::info;

/// After this long without a throttled request, throttling has ended. Under a steady overload some
/// requests in between always succeed.
const CALM: Duration = Duration::from_mins(1);

/// One direction of one container: the first throttled request is logged, then summaries, then the end.
#[derive(Debug)]
pub struct Throttling {
    what: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    throttle: LogThrottle,
    since_last_line: Counts,
    since_start: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    throttled: u64,
}

impl Throttling {
    /// `what` completes the sentence "the service throttles ...": "writing to sink `a`".
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), state: Mutex::default() }
    }

    /// Counts requests that got a response, and those of them that the service throttled.
    pub fn count(&self, requests: u32, throttled: u32) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if throttled > 0 {
            state.on_throttled(now, requests, throttled, &self.what);
        } else {
            state.on_success(now, requests, &self.what);
        }
    }
}

impl State {
    fn on_throttled(&mut self, now: Instant, requests: u32, throttled: u32, what: &str) {
        self.add(requests, throttled);
        let Some(episode) = self.throttle.on_occurrence(now) else { return };
        let Counts { requests, throttled } = std::mem::take(&mut self.since_last_line);
        if episode.is_logged {
            let for_seconds = (now - episode.since).as_secs();
            info!(throttled, requests, for_seconds, "the service still throttles {what}");
        } else {
            info!("the service throttles {what}; waiting as long as it asks for");
        }
    }

    fn on_success(&mut self, now: Instant, requests: u32, what: &str) {
        let Some(last) = self.throttle.last_occurrence() else { return };
        if now - last < CALM {
            self.add(requests, 0);
            return;
        }
        let Counts { requests, throttled } = std::mem::take(&mut self.since_start);
        self.since_last_line = Counts::default();
        if let Some(episode) = self.throttle.end().filter(|episode| episode.is_logged) {
            let after_seconds = (last - episode.since).as_secs();
            info!(throttled, requests, after_seconds, "no longer throttled: {what}");
        }
    }

    fn add(&mut self, requests: u32, throttled: u32) {
        for counts in [&mut self.since_last_line, &mut self.since_start] {
            counts.requests += u64::from(requests);
            counts.throttled += u64::from(throttled);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::lines::Lines;
    use super::Throttling;

    const TICK: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_throttling_is_a_handful_of_lines() {
        let log = Lines::of(async {
            let throttling = Throttling::new("writing to sink `archive`");
            for request in 0..36_000_u32 {
                throttling.count(1, u32::from(request % 3 == 0));
                advance(TICK).await;
            }
            for _ in 0..36_000 {
                throttling.count(1, 0);
                advance(TICK).await;
            }
        });
        insta::assert_snapshot!(log.await, @r#"
        INFO the service throttles writing to sink `archive`; waiting as long as it asks for
        INFO the service still throttles writing to sink `archive` throttled=100 requests=300 for_seconds=30
        INFO the service still throttles writing to sink `archive` throttled=200 requests=600 for_seconds=90
        INFO the service still throttles writing to sink `archive` throttled=400 requests=1200 for_seconds=210
        INFO the service still throttles writing to sink `archive` throttled=800 requests=2400 for_seconds=450
        INFO the service still throttles writing to sink `archive` throttled=1600 requests=4800 for_seconds=930
        INFO the service still throttles writing to sink `archive` throttled=3200 requests=9600 for_seconds=1890
        INFO no longer throttled: writing to sink `archive` throttled=12000 requests=36597 after_seconds=3599
        "#);
    }

    /// Rows: seconds between throttled requests, over two hours, and the lines at most.
    #[tokio::test(start_paused = true)]
    async fn throttling_that_comes_and_goes_is_logged_as_rarely() {
        for (every, most) in [(1, 9), (59, 9), (61, 18), (300, 18), (900, 16)] {
            let log = Lines::of(async {
                let throttling = Throttling::new("reading `a`");
                for second in 0..7200_u32 {
                    throttling.count(1, u32::from(second % every == 0));
                    advance(10 * TICK).await;
                }
            });
            let log = log.await;
            assert!(log.contains("the service throttles"), "{log}");
            assert!(log.lines().count() <= most, "every {every} s: {log}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_logged_without_throttling() {
        let log = Lines::of(async {
            let throttling = Throttling::new("reading `a`");
            for _ in 0..1000 {
                throttling.count(7, 0);
                advance(TICK).await;
            }
        });
        assert_eq!(log.await, "");
    }
}
