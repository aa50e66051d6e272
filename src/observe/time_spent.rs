//! How readers and writers spend their time.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::Label;

/// What the reader of a feed range does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadActivity {
    /// A request is in flight.
    Request,
    /// Waits for the governor.
    Budget,
    /// Waits for memory or the window: delivery is behind.
    Room,
    /// The feed has nothing new.
    Idle,
    /// Waits after an error.
    Refused,
}

impl Label for ReadActivity {
    const ALL: &'static [Self] =
        &[Self::Request, Self::Budget, Self::Room, Self::Idle, Self::Refused];

    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Budget => "budget",
            Self::Room => "room",
            Self::Idle => "idle",
            Self::Refused => "refused",
        }
    }
}

/// What a task that writes to a sink does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteActivity {
    /// A request is in flight.
    Request,
    /// Waits for the governor.
    Budget,
    /// Waits because the sink's `concurrency` is in use.
    Turn,
    /// Waits after an error.
    Refused,
}

impl Label for WriteActivity {
    const ALL: &'static [Self] = &[Self::Request, Self::Budget, Self::Turn, Self::Refused];

    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Budget => "budget",
            Self::Turn => "turn",
            Self::Refused => "refused",
        }
    }
}

/// Time by activity, summed over all tasks of one kind that run in parallel.
///
/// An activity that has not ended counts up to the moment of the call, so that a long wait is visible
/// before it is over. That needs the number of running timers and the sum together, hence a lock; it is
/// taken twice per request and never held across a wait.
#[derive(Debug)]
pub struct TimeSpent<A> {
    sums: Mutex<BTreeMap<A, Sum>>,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    /// Up to `at`.
    spent: Duration,
    at: Instant,
    running: u32,
}

impl<A: Copy + Ord> TimeSpent<A> {
    /// Runs `work` and adds its duration to `activity`, also if it is dropped before its end.
    pub async fn during<T>(&self, activity: A, work: impl Future<Output = T>) -> T {
        let _timer = self.start(activity);
        work.await
    }

    /// Adds to `activity` until the timer is dropped.
    pub fn start(&self, activity: A) -> Timer<'_, A> {
        let now = Instant::now();
        let mut sums = self.sums.lock();
        let new = Sum { spent: Duration::ZERO, at: now, running: 0 };
        let sum = sums.entry(activity).or_insert(new);
        sum.advance(now);
        sum.running += 1;
        Timer { time_spent: self, activity }
    }

    /// Time by activity since the start of the process; it only grows.
    pub fn sums(&self) -> BTreeMap<A, Duration> {
        let now = Instant::now();
        let mut sums = self.sums.lock();
        let spent = |(activity, sum): (&A, &mut Sum)| {
            sum.advance(now);
            (*activity, sum.spent)
        };
        sums.iter_mut().map(spent).collect()
    }
}

impl<A> Default for TimeSpent<A> {
    fn default() -> Self {
        Self { sums: Mutex::default() }
    }
}

impl Sum {
    fn advance(&mut self, now: Instant) {
        self.spent += now.saturating_duration_since(self.at) * self.running;
        // Two threads may take the lock in another order than they read the clock.
        self.at = self.at.max(now);
    }
}

/// Adds the time of its life to one activity.
#[derive(Debug)]
#[must_use = "it counts only until it is dropped"]
pub struct Timer<'t, A: Copy + Ord> {
    time_spent: &'t TimeSpent<A>,
    activity: A,
}

impl<A: Copy + Ord> Drop for Timer<'_, A> {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(sum) = self.time_spent.sums.lock().get_mut(&self.activity) {
            sum.advance(now);
            sum.running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use tokio::time::{advance, sleep, timeout};

    use super::{ReadActivity, TimeSpent};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn time_is_added_to_its_activity_whether_work_ends_or_is_dropped() {
        let time_spent = TimeSpent::default();
        assert_eq!(time_spent.during(ReadActivity::Request, async { 7 }).await, 7);
        time_spent.during(ReadActivity::Room, sleep(SECOND)).await;
        timeout(SECOND, time_spent.during(ReadActivity::Idle, sleep(60 * SECOND)))
            .await
            .unwrap_err();
        time_spent.during(ReadActivity::Room, sleep(2 * SECOND)).await;
        let spent = [
            (ReadActivity::Request, Duration::ZERO),
            (ReadActivity::Room, 3 * SECOND),
            (ReadActivity::Idle, SECOND),
        ];
        // The timer counts in milliseconds, and is late by one at most.
        let seconds = |spent: BTreeMap<_, Duration>| -> Vec<_> {
            spent.into_iter().map(|(activity, time)| (activity, time.as_secs())).collect()
        };
        assert_eq!(seconds(time_spent.sums()), seconds(BTreeMap::from(spent)));
    }

    #[tokio::test(start_paused = true)]
    async fn running_timers_count_up_to_now_once_each() {
        let time_spent = TimeSpent::default();
        let one = time_spent.start(ReadActivity::Budget);
        advance(SECOND).await;
        let other = time_spent.start(ReadActivity::Budget);
        advance(SECOND).await;
        assert_eq!(time_spent.sums()[&ReadActivity::Budget], 3 * SECOND);
        drop(one);
        advance(SECOND).await;
        assert_eq!(time_spent.sums()[&ReadActivity::Budget], 4 * SECOND);
        drop(other);
        advance(SECOND).await;
        assert_eq!(time_spent.sums()[&ReadActivity::Budget], 4 * SECOND);
    }
}
