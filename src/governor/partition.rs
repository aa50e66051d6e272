//! One physical partition: its waiting requests and its limits.

use std::collections::VecDeque;
use std::time::Duration;

use super::bucket::Bucket;
use super::flow::Flow;
use super::latency::Latency;
use super::pressure::{Pressure, YieldPolicy};

/// After this long without throttling, the window may double with each round trip again.
const QUIET: Duration = Duration::from_secs(1);

/// The burst of a partition after a pause, in seconds of its throughput: the service itself allows one
/// second.
const BURST: f64 = 0.5;

/// A good neighbour sends in pulses of this many seconds of a partition's rate. If the partition runs out of
/// units, the last request of a pulse is throttled first: other clients find a partition without units
/// only between the end of a pulse and the next few units.
const PULSE: f64 = 0.1;

/// The share of a partition's throughput that is used: requests that overtake each other on the network must
/// not arrive while the partition is still in debt for the last one.
const OF_CEILING: f64 = 0.98;

/// A request in flight counts as its predicted charge times this factor: charges of one size vary by 50 %,
/// and the next request must not arrive while the partition has more debt than predicted.
const CAUTION: f64 = 1.5;

/// Names one request from the moment it is queued to its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(pub(super) u64);

/// Why a partition with waiting requests sends none. In ascending order of what is reported if several
/// partitions are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closed {
    /// The maximum number of requests is in flight.
    Concurrency,
    /// The throughput of one partition is used up.
    Full,
    /// The rate that throttling has left is used up.
    FoundLimit,
    /// The service asked for a pause, or throttled parallel requests.
    Throttled,
}

/// Requests waiting for one physical partition, and its limits.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) queue: VecDeque<(Ticket, f64)>,
    /// The request units that it got so far, in the ledger's virtual time: the partition with the lowest value
    /// is served next.
    pub(super) served: f64,
    /// Its rate is the lower one of the service's limit and the limit learned from throttling.
    bucket: Bucket,
    /// The throughput of one partition in request units per second, if it is known.
    pub(super) ceiling: Option<f64>,
    pressure: Pressure,
    /// Measured for a good neighbour only.
    latency: Option<Latency>,
    /// No request is sent before this time.
    blocked_until: Duration,
    in_flight: usize,
    /// The maximum number of requests in flight; throttling halves it.
    window: f64,
    flow: Flow,
    throttled_at: Option<Duration>,
}

impl Partition {
    pub(super) fn new(policy: YieldPolicy, ceiling: Option<f64>) -> Self {
        let mut new = Self {
            queue: VecDeque::new(),
            served: 0.0,
            bucket: Bucket::new(None, BURST),
            ceiling,
            pressure: Pressure::new(policy),
            latency: None,
            blocked_until: Duration::ZERO,
            in_flight: 0,
            // Starts with one and doubles with each round trip.
            window: 1.0,
            flow: Flow::default(),
            throttled_at: None,
        };
        new.set_yield_policy(Duration::ZERO, policy);
        new
    }

    pub(super) fn set_yield_policy(&mut self, now: Duration, policy: YieldPolicy) {
        let is_good = policy == YieldPolicy::GoodNeighbour;
        self.pressure.set_yield_policy(policy);
        self.bucket.set_shape(now, BURST, if is_good { PULSE } else { 0.0 });
        match (is_good, &self.latency) {
            (true, None) => self.latency = Some(Latency::default()),
            (false, _) => self.latency = None,
            (true, Some(_)) => {}
        }
    }

    /// Why no request may be sent now, and when that may change; without a time, it changes with a response.
    pub(super) fn closed(&mut self, now: Duration) -> Option<(Closed, Option<Duration>)> {
        if now < self.blocked_until {
            return Some((Closed::Throttled, Some(self.blocked_until)));
        }
        if float(self.in_flight) + 1.0 > self.window.max(1.0) {
            let why = if self.is_quiet(now) { Closed::Concurrency } else { Closed::Throttled };
            return Some((why, None));
        }
        let why = self.follow_limits(now);
        let opens = self.bucket.opens_at(now);
        (opens > now).then_some((why, Some(opens)))
    }

    /// Takes the predicted charge of a request. Returns what was taken from the partition's own bucket: zero
    /// if that has no limit.
    pub(super) fn send(&mut self, now: Duration, expected: f64) -> f64 {
        let taken = self.bucket.take(now, expected * CAUTION);
        self.served += expected;
        self.in_flight += 1;
        taken
    }

    /// Books a response of any kind. `charge` is the real charge; `expected` and `taken` are the values from
    /// when the request was sent.
    pub(super) fn on_response(&mut self, now: Duration, charge: f64, expected: f64, taken: f64) {
        self.in_flight -= 1;
        self.bucket.take(now, charge - taken);
        self.served += charge - expected;
        self.pressure.spent(now, charge);
    }

    /// Widens the window after a success, up to `max` requests. Without a budget, which limits requests
    /// better, it follows the latency: `answer` is when the request was sent, and its charge.
    pub(super) fn widen(&mut self, now: Duration, answer: Option<(Duration, f64)>, max: usize) {
        let step = if self.is_quiet(now) { 1.0 } else { 1.0 / self.window.max(1.0) };
        let window = match answer {
            Some((sent, charge)) => self.flow.window(now, sent, charge, (self.window, step)),
            None => self.window + step,
        };
        self.window = window.min(float(max));
    }

    /// A request that was sent at `sent` was throttled. Returns true if the rate was cut.
    pub(super) fn on_throttled(&mut self, now: Duration, sent: Duration, wait: Duration) -> bool {
        let is_cut = self.reduce(now, sent);
        self.on_slowed(now, sent);
        self.blocked_until = self.blocked_until.max(now + wait);
        is_cut
    }

    /// Cuts the rate, because a request sent at `sent` has shown that others need the partition. Returns true
    /// if the rate was cut.
    pub(super) fn reduce(&mut self, now: Duration, sent: Duration) -> bool {
        let is_cut = self.pressure.on_throttled(now, sent);
        if is_cut {
            // The service has no units left, so the bucket is emptied too.
            self.follow_limits(now);
            self.bucket.empty(now);
        }
        is_cut
    }

    /// A request that was sent at `sent` succeeded. Returns true if the rate was cut, because responses are so
    /// slow that others must need the partition.
    pub(super) fn on_success(&mut self, now: Duration, sent: Duration, charge: f64) -> bool {
        let duration = now.saturating_sub(sent);
        let is_slow =
            self.latency.as_mut().is_some_and(|latency| latency.is_slow(now, duration, charge));
        is_slow && self.reduce(now, sent)
    }

    /// A timer of this process fired late, so responses seem to be slow.
    pub(super) fn on_late_timer(&mut self, now: Duration) {
        if let Some(latency) = &mut self.latency {
            latency.on_late_timer(now);
        }
    }

    /// The rate that throttling has left, in request units per second; `None` is no limit.
    pub(super) fn found_limit(&self, now: Duration) -> Option<f64> {
        self.pressure.limit(now)
    }

    /// When the rate was last cut.
    pub(super) fn cut_at(&self) -> Option<Duration> {
        self.pressure.cut_at()
    }

    /// The service is overloaded: fewer requests in parallel, independent of their charge.
    pub(super) fn on_slowed(&mut self, now: Duration, sent: Duration) {
        // One halving for all requests that were in flight together.
        if self.throttled_at.is_none_or(|at| sent >= at) {
            self.window = (float(self.in_flight + 1) / 2.0).max(1.0);
            self.throttled_at = Some(now);
        }
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.queue.is_empty()
    }

    fn is_quiet(&self, now: Duration) -> bool {
        self.throttled_at.is_none_or(|at| now.saturating_sub(at) >= QUIET)
    }

    /// Sets the lower one of the limits. Returns why the partition is closed once that is used up.
    fn follow_limits(&mut self, now: Duration) -> Closed {
        let ceiling = self.ceiling.map(|ceiling| ceiling * OF_CEILING);
        let found = self.pressure.limit(now);
        let found = found.filter(|found| ceiling.is_none_or(|ceiling| *found < ceiling));
        self.bucket.set_rate(now, found.or(ceiling));
        if found.is_some() { Closed::FoundLimit } else { Closed::Full }
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests in flight are few")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Closed, Partition, YieldPolicy};

    #[test]
    fn requests_sent_before_there_was_a_limit_give_no_credit_later() {
        let mut partition = Partition::new(YieldPolicy::Normal, None);
        let at = Duration::from_secs;
        let taken: Vec<f64> = (0..100).map(|_| partition.send(at(1), 100.0)).collect();
        partition.on_response(at(1), 100.0, 100.0, taken[0]);
        partition.on_throttled(at(1), at(1), Duration::ZERO);
        // There is a limit now; responses are paid for, and not refunded.
        for taken in &taken[1..] {
            partition.on_response(at(1), 100.0, 100.0, *taken);
        }
        assert!(matches!(partition.closed(at(1)), Some((Closed::FoundLimit, Some(_)))));
    }
}
