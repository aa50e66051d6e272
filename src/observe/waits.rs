//! What readers and writers spend their time on.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What the reader of a feed range spends its time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// A request is under way.
    Request,
    /// Waits for the governor.
    Budget,
    /// Waits for memory or the window: delivery is behind.
    Room,
    /// Nothing is new.
    Idle,
    /// Waits after an error.
    Refused,
}

/// What those who write to a sink spend their time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writing {
    /// A request is under way.
    Request,
    /// Waits for the governor.
    Budget,
    /// All turns are taken.
    Turn,
    /// Waits after an error.
    Refused,
}

/// Time spent by cause, summed over everybody who does the same side by side.
///
/// What is under way counts up to the moment of the look: a wait that lasts longer than the time
/// between two looks is seen by both. That takes the number of those who wait and the sum together,
/// hence a lock; it is taken twice per request and never held across a wait.
#[derive(Debug)]
pub struct Waits<C> {
    tallies: Mutex<BTreeMap<C, Tally>>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    /// Up to `at`.
    spent: Duration,
    at: Instant,
    under_way: u32,
}

impl<C: Copy + Ord> Waits<C> {
    /// Does `work`, and adds how long it took to `cause`, also when it is dropped before its end.
    pub async fn during<T>(&self, cause: C, work: impl Future<Output = T>) -> T {
        let _spell = self.begin(cause);
        work.await
    }

    /// Counts towards `cause` until dropped.
    pub fn begin(&self, cause: C) -> Spell<'_, C> {
        let now = Instant::now();
        let mut tallies = self.tallies.lock();
        let new = Tally { spent: Duration::ZERO, at: now, under_way: 0 };
        let tally = tallies.entry(cause).or_insert(new);
        tally.advance(now);
        tally.under_way += 1;
        Spell { waits: self, cause }
    }

    /// Time spent since the start, by cause; it only grows.
    pub fn spent(&self) -> BTreeMap<C, Duration> {
        let now = Instant::now();
        let mut tallies = self.tallies.lock();
        let spent = |(cause, tally): (&C, &mut Tally)| {
            tally.advance(now);
            (*cause, tally.spent)
        };
        tallies.iter_mut().map(spent).collect()
    }
}

impl<C> Default for Waits<C> {
    fn default() -> Self {
        Self { tallies: Mutex::default() }
    }
}

impl Tally {
    fn advance(&mut self, now: Instant) {
        self.spent += now.saturating_duration_since(self.at) * self.under_way;
        // Two threads may come in another order than they looked at the clock.
        self.at = self.at.max(now);
    }
}

/// Time that counts towards one cause while this lives.
#[derive(Debug)]
#[must_use = "it counts only while it lives"]
pub struct Spell<'w, C: Copy + Ord> {
    waits: &'w Waits<C>,
    cause: C,
}

impl<C: Copy + Ord> Drop for Spell<'_, C> {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(tally) = self.waits.tallies.lock().get_mut(&self.cause) {
            tally.advance(now);
            tally.under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use tokio::time::{advance, sleep, timeout};

    use super::{Reading, Waits};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_is_added_to_its_cause_whether_work_ends_or_is_dropped() {
        let waits = Waits::default();
        assert_eq!(waits.during(Reading::Request, async { 7 }).await, 7);
        waits.during(Reading::Room, sleep(SECOND)).await;
        timeout(SECOND, waits.during(Reading::Idle, sleep(60 * SECOND))).await.unwrap_err();
        waits.during(Reading::Room, sleep(2 * SECOND)).await;
        let spent = [
            (Reading::Request, Duration::ZERO),
            (Reading::Room, 3 * SECOND),
            (Reading::Idle, SECOND),
        ];
        // The timer counts in milliseconds, and is late by one at most.
        let seconds = |spent: BTreeMap<_, Duration>| -> Vec<_> {
            spent.into_iter().map(|(cause, time)| (cause, time.as_secs())).collect()
        };
        assert_eq!(seconds(waits.spent()), seconds(BTreeMap::from(spent)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_counts_up_to_now_once_for_each() {
        let waits = Waits::default();
        let one = waits.begin(Reading::Budget);
        advance(SECOND).await;
        let other = waits.begin(Reading::Budget);
        advance(SECOND).await;
        assert_eq!(waits.spent()[&Reading::Budget], 3 * SECOND);
        drop(one);
        advance(SECOND).await;
        assert_eq!(waits.spent()[&Reading::Budget], 4 * SECOND);
        drop(other);
        advance(SECOND).await;
        assert_eq!(waits.spent()[&Reading::Budget], 4 * SECOND);
    }
}
