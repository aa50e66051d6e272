//! One physical partition: who waits for it, and what it may still take.

use std::collections::VecDeque;
use std::time::Duration;

use super::bucket::Bucket;
use super::latency::Latency;
use super::ledger::Ticket;
use super::pressure::{Manners, Pressure};

/// After so long without a refusal, requests under way may double with each round trip again.
const QUIET: Duration = Duration::from_secs(1);

/// What a partition may take at once after a pause, in seconds of what the service provides for it:
/// the service itself saves up one.
const BURST: f64 = 0.5;

/// A good neighbour sends in pulses of so many seconds of a partition's rate. Where a partition runs
/// out of units, the last of a pulse is refused before anybody else is: others meet a partition
/// without units only if they come between the end of a pulse and the next few units.
const PULSE: f64 = 0.1;

/// Of what the service provides for a partition that is used: requests that overtake each other on
/// their way must not meet a partition that is still paying for the last one.
const OF_CEILING: f64 = 0.98;

/// While a request is under way it counts as so much dearer than expected: charges of one size vary
/// by half, and what follows must not meet a partition that has more to pay than was thought.
const CAUTION: f64 = 1.5;

/// Why a partition that has requests waiting sends none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The service asked to be left alone, or refused what was sent side by side.
    Refused,
    /// As many requests are under way as may be.
    Concurrency,
    /// It has used what the service provides for one partition.
    Full,
}

/// Requests waiting for one physical partition, and its limits.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) queue: VecDeque<(Ticket, f64)>,
    /// What it has been given so far, in the units of the ledger's virtual time: the partition with
    /// the least is served next.
    pub(super) served: f64,
    /// The least of the service's own limit and what refusals taught.
    bucket: Bucket,
    /// What the service provides for one partition, where that is known; request units per second.
    pub(super) ceiling: Option<f64>,
    pressure: Pressure,
    /// Only a good neighbour looks at it.
    latency: Option<Latency>,
    /// Nothing is sent before.
    gate: Duration,
    in_flight: usize,
    /// Requests that may be under way; grows by additions and shrinks by halves.
    window: f64,
    refused_at: Option<Duration>,
}

impl Partition {
    pub(super) fn new(manners: Manners, ceiling: Option<f64>) -> Self {
        let mut new = Self {
            queue: VecDeque::new(),
            served: 0.0,
            bucket: Bucket::new(None, BURST),
            ceiling,
            pressure: Pressure::new(manners),
            latency: None,
            gate: Duration::ZERO,
            in_flight: 0,
            // One at first, and twice as many with each round trip.
            window: 1.0,
            refused_at: None,
        };
        new.set_manners(Duration::ZERO, manners);
        new
    }

    pub(super) fn set_manners(&mut self, now: Duration, manners: Manners) {
        let is_good = manners == Manners::GoodNeighbour;
        self.pressure.set_manners(manners);
        self.bucket.set_shape(now, BURST, if is_good { PULSE } else { 0.0 });
        match (is_good, &self.latency) {
            (true, None) => self.latency = Some(Latency::default()),
            (false, _) => self.latency = None,
            (true, Some(_)) => {}
        }
    }

    /// Why nothing may be sent now, and when that may change; with no time, when an answer comes.
    pub(super) fn closed(&mut self, now: Duration) -> Option<(Closed, Option<Duration>)> {
        if now < self.gate {
            return Some((Closed::Refused, Some(self.gate)));
        }
        if float(self.in_flight) + 1.0 > self.window.max(1.0) {
            let why = if self.is_quiet(now) { Closed::Concurrency } else { Closed::Refused };
            return Some((why, None));
        }
        self.follow_limits(now);
        let opens = self.bucket.opens_at(now);
        (opens > now).then_some((Closed::Full, Some(opens)))
    }

    /// Takes out what a request is expected to cost; says how much was taken out of the
    /// partition's own bucket, which there may not have been.
    pub(super) fn send(&mut self, now: Duration, expected: f64) -> f64 {
        let taken = self.bucket.take(now, expected * CAUTION);
        self.served += expected;
        self.in_flight += 1;
        taken
    }

    /// An answer came, whatever it said. `charge` is what it cost; `expected` and `taken` are what
    /// was thought when it was sent.
    pub(super) fn answered(&mut self, now: Duration, charge: f64, expected: f64, taken: f64) {
        self.in_flight -= 1;
        self.bucket.take(now, charge - taken);
        self.served += charge - expected;
        self.pressure.spent(now, charge);
    }

    /// The last answer was a success. `most` is how many requests may ever be under way.
    pub(super) fn accepted(&mut self, now: Duration, most: usize) {
        let step = if self.is_quiet(now) { 1.0 } else { 1.0 / self.window.max(1.0) };
        self.window = (self.window + step).min(float(most));
    }

    /// The last answer, to a request sent at `sent`, was that the partition has no units left.
    ///
    /// Says whether the rate was cut.
    pub(super) fn refused(&mut self, now: Duration, sent: Duration, wait: Duration) -> bool {
        let is_cut = self.yields(now, sent);
        self.slowed(now, sent);
        self.gate = self.gate.max(now + wait);
        is_cut
    }

    /// Cuts the rate, for others have need of it: a request sent at `sent` has shown that.
    pub(super) fn yields(&mut self, now: Duration, sent: Duration) -> bool {
        let is_cut = self.pressure.refused(now, sent);
        if is_cut {
            // The service has nothing left, so nothing is left here either.
            self.follow_limits(now);
            self.bucket.empty(now);
        }
        is_cut
    }

    /// The last answer, to a request sent at `sent`, was a success. Says whether the rate was cut,
    /// because answers take so long that others must need the partition.
    pub(super) fn took(&mut self, now: Duration, sent: Duration, charge: f64) -> bool {
        let took = now.saturating_sub(sent);
        let is_slow = self.latency.as_mut().is_some_and(|one| one.answered(now, took, charge));
        is_slow && self.yields(now, sent)
    }

    /// This process was late, so answers seem to be.
    pub(super) fn was_late(&mut self, now: Duration) {
        if let Some(latency) = &mut self.latency {
            latency.was_late(now);
        }
    }

    /// When the rate was last cut.
    pub(super) fn cut_at(&self) -> Option<Duration> {
        self.pressure.cut_at()
    }

    /// The service has trouble of its own: fewer requests side by side, whatever they cost.
    pub(super) fn slowed(&mut self, now: Duration, sent: Duration) {
        // One halving for all that were under way together.
        if self.refused_at.is_none_or(|at| sent >= at) {
            self.window = (float(self.in_flight + 1) / 2.0).max(1.0);
            self.refused_at = Some(now);
        }
    }

    fn is_quiet(&self, now: Duration) -> bool {
        self.refused_at.is_none_or(|at| now.saturating_sub(at) >= QUIET)
    }

    fn follow_limits(&mut self, now: Duration) {
        let ceiling = self.ceiling.map(|ceiling| ceiling * OF_CEILING);
        let limit = match (ceiling, self.pressure.limit(now)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.bucket.set_rate(now, limit);
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests under way are few")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Closed, Manners, Partition};

    #[test]
    fn what_was_sent_before_there_was_a_limit_gives_no_credit_once_there_is_one() {
        let mut partition = Partition::new(Manners::Usual, None);
        let at = Duration::from_secs;
        let taken: Vec<f64> = (0..100).map(|_| partition.send(at(1), 100.0)).collect();
        partition.answered(at(1), 100.0, 100.0, taken[0]);
        partition.refused(at(1), at(1), Duration::ZERO);
        // A limit is set now; what is answered is paid for, and not paid back.
        for taken in &taken[1..] {
            partition.answered(at(1), 100.0, 100.0, *taken);
        }
        assert!(matches!(partition.closed(at(1)), Some((Closed::Full, Some(_)))));
    }
}
