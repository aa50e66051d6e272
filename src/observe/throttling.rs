//! Throttling by the service: ordinary, without end, and told as seldom as what lasts.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::info;

use super::reminders::LogThrottle;

/// After so long without a throttled request it is over. Under a steady overload some requests in
/// between always go through.
const CALM: Duration = Duration::from_mins(1);

/// One direction of one container: the first throttled request is told, then a summary now and
/// again, then the end.
#[derive(Debug)]
pub struct Throttling {
    what: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reminders: LogThrottle,
    /// Since it was last told.
    recent: Counted,
    /// Since it began.
    all: Counted,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    requests: u64,
    throttled: u64,
}

impl Throttling {
    /// `what` completes the sentence "the service throttles ...": "writing to sink `a`".
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), state: Mutex::default() }
    }

    /// Counts requests that were answered, and how many of them the service refused for their rate.
    pub fn count(&self, requests: u32, throttled: u32) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if throttled > 0 {
            state.throttled(now, requests, throttled, &self.what);
        } else {
            state.passed(now, requests, &self.what);
        }
    }
}

impl State {
    fn throttled(&mut self, now: Instant, requests: u32, throttled: u32, what: &str) {
        self.add(requests, throttled);
        let Some(lasting) = self.reminders.happened(now) else { return };
        let Counted { requests, throttled } = std::mem::take(&mut self.recent);
        if lasting.is_told {
            let for_seconds = (now - lasting.since).as_secs();
            info!(throttled, requests, for_seconds, "the service still throttles {what}");
        } else {
            info!("the service throttles {what}; waiting as it asks");
        }
    }

    fn passed(&mut self, now: Instant, requests: u32, what: &str) {
        let Some(last) = self.reminders.last() else { return };
        if now - last < CALM {
            self.add(requests, 0);
            return;
        }
        let Counted { requests, throttled } = std::mem::take(&mut self.all);
        self.recent = Counted::default();
        if let Some(lasting) = self.reminders.over().filter(|lasting| lasting.is_told) {
            let after_seconds = (last - lasting.since).as_secs();
            info!(throttled, requests, after_seconds, "no longer throttled: {what}");
        }
    }

    fn add(&mut self, requests: u32, throttled: u32) {
        for counted in [&mut self.recent, &mut self.all] {
            counted.requests += u64::from(requests);
            counted.throttled += u64::from(throttled);
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
        let told = Lines::of(async {
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
        insta::assert_snapshot!(told.await, @r#"
        INFO the service throttles writing to sink `archive`; waiting as it asks
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
    async fn what_comes_and_goes_is_told_as_seldom() {
        for (every, most) in [(1, 9), (59, 9), (61, 18), (300, 18), (900, 16)] {
            let told = Lines::of(async {
                let throttling = Throttling::new("reading `a`");
                for second in 0..7200_u32 {
                    throttling.count(1, u32::from(second % every == 0));
                    advance(10 * TICK).await;
                }
            });
            let told = told.await;
            assert!(told.contains("the service throttles"), "{told}");
            assert!(told.lines().count() <= most, "every {every} s: {told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_where_nothing_is_throttled() {
        let told = Lines::of(async {
            let throttling = Throttling::new("reading `a`");
            for _ in 0..1000 {
                throttling.count(7, 0);
                advance(TICK).await;
            }
        });
        assert_eq!(told.await, "");
    }
}
