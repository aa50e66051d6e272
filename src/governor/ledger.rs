//! Decides which request may be sent now. Pure: no clock, no task, no randomness.
//!
//! Requests wait in one queue per physical partition. While the container's bucket is open, the partition
//! that has been served the least sends next (start-time fair queueing, Goyal, Vin and Cheng 1996): a hot
//! partition gets the budget that the others do not need, and none of what they need. The predicted charge
//! is taken before a request is sent, and corrected by its response.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::partition::{Closed, Partition, Ticket};
use super::pressure::YieldPolicy;
use super::settlement::Verdict;
use super::total::Total;
use crate::model::{Label, PartitionId};

/// What holds requests back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeldBy {
    /// The budget is used up.
    Budget,
    /// Requests wait only for partitions whose share of the throughput is used up.
    HotPartition,
    /// The maximum number of requests is in flight.
    Concurrency,
    /// The rate that throttling has left is used up: few requests are throttled because of it.
    FoundLimit,
    /// The service throttles requests.
    Throttled,
}

impl Label for HeldBy {
    const ALL: &'static [Self] =
        &[Self::Budget, Self::HotPartition, Self::Concurrency, Self::FoundLimit, Self::Throttled];

    fn name(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::HotPartition => "hot_partition",
            Self::Concurrency => "concurrency",
            Self::FoundLimit => "found_limit",
            Self::Throttled => "throttled",
        }
    }
}

/// The burst after a pause, in seconds of the budget. In any second at most the budget, this burst and one
/// request are spent.
const BURST: f64 = 0.02;

/// Rate cuts on several partitions within this time have a common cause, if at least one in
/// `PARTITIONS_PER_CUT` partitions was cut.
const CUT_WINDOW: Duration = Duration::from_secs(3);
const PARTITIONS_PER_CUT: usize = 5;

/// The largest predicted charge of one request, as a share of one second of the budget: larger requests
/// make the use uneven. Pages and batches are made to fit. Together with the burst, every second stays
/// within 110 % of the budget, even if charges vary by 50 %.
const REQUEST_SHARE: f64 = 0.04;

/// The same for a good neighbour, relative to the budget of one partition: until a partition has recovered
/// from a request, the service throttles every client there.
const SMALL_REQUEST_SHARE: f64 = 0.01;

/// The same for a partition that has throttled, relative to the rate that throttling has left there: of a request
/// for more than the partition has, a part is throttled each time.
const PARTITION_SHARE: f64 = 0.1;

/// A good neighbour sends in pulses of this many seconds of the budget.
const PULSE: f64 = 0.07;

#[derive(Debug)]
pub(super) struct Ledger {
    policy: YieldPolicy,
    /// The maximum number of requests in flight to one partition.
    concurrency: usize,
    total: Total,
    ceiling: Option<f64>,
    partitions: BTreeMap<PartitionId, Partition>,
    /// How many partitions have waiting requests.
    backlogged: usize,
    /// The `served` value of the last partition that was granted a request, before that grant.
    virtual_time: f64,
    sent: HashMap<Ticket, Sent>,
    last_ticket: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    partition: PartitionId,
    expected: f64,
    /// What was taken from the partition's own bucket.
    taken: f64,
    /// When it was sent; `None` while it waits.
    at: Option<Duration>,
}

/// The burst and the pulse of the whole budget.
fn shape(policy: YieldPolicy) -> (f64, f64) {
    match policy {
        YieldPolicy::Normal => (BURST, 0.0),
        YieldPolicy::GoodNeighbour => (PULSE, PULSE),
    }
}

fn total(rate: Option<f64>, policy: YieldPolicy) -> Total {
    let (burst, pulse) = shape(policy);
    let mut total = Total::new(rate, burst);
    total.set_shape(Duration::ZERO, burst, pulse);
    total
}

impl Ledger {
    pub(super) fn new(rate: Option<f64>, policy: YieldPolicy, concurrency: usize) -> Self {
        Self {
            policy,
            concurrency,
            total: total(rate, policy),
            ceiling: None,
            partitions: BTreeMap::new(),
            backlogged: 0,
            virtual_time: 0.0,
            sent: HashMap::new(),
            last_ticket: 0,
        }
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.total.rate()
    }

    /// Request units per second over all partitions; `None` is unlimited.
    pub(super) fn set_rate(&mut self, now: Duration, rate: Option<f64>) {
        self.total.set_rate(now, rate);
    }

    /// Sets the throughput of one partition, if it is known.
    pub(super) fn set_ceiling(&mut self, ceiling: Option<f64>) {
        self.ceiling = ceiling;
        for partition in self.partitions.values_mut() {
            partition.ceiling = ceiling;
        }
    }

    pub(super) fn set_yield_policy(&mut self, now: Duration, policy: YieldPolicy) {
        self.policy = policy;
        let (burst, pulse) = shape(policy);
        self.total.set_shape(now, burst, pulse);
        for partition in self.partitions.values_mut() {
            partition.set_yield_policy(now, policy);
        }
    }

    /// Queues a request; [`Ledger::grant`] returns it when it may be sent.
    pub(super) fn enqueue(&mut self, partition: PartitionId, expected: f64) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let (policy, ceiling) = (self.policy, self.ceiling);
        let entry = self.partitions.entry(partition);
        let queue = entry.or_insert_with(|| Partition::new(policy, ceiling));
        if queue.queue.is_empty() {
            // A partition that had no requests has no claim on what others got meanwhile.
            queue.served = queue.served.max(self.virtual_time);
            self.backlogged += 1;
        }
        queue.queue.push_back((ticket, expected));
        self.sent.insert(ticket, Sent { partition, expected, taken: 0.0, at: None });
        ticket
    }

    /// The next request that may be sent now.
    pub(super) fn grant(&mut self, now: Duration) -> Option<Ticket> {
        if self.backlogged == 0 || !self.total.is_open(now) {
            return None;
        }
        // A partition that is closed keeps a claim of at most one second's share on what others get
        // meanwhile: otherwise it would starve them for a long time after a long throttling.
        #[expect(clippy::cast_precision_loss, reason = "physical partitions are few")]
        let share = self.total.rate().unwrap_or(0.0) / self.backlogged as f64;
        let claim = self.virtual_time - share;
        let waiting = self.partitions.values_mut().filter(|one| !one.queue.is_empty());
        let open = waiting.filter_map(|partition| {
            if partition.closed(now).is_none() {
                return Some(partition);
            }
            partition.served = partition.served.max(claim);
            None
        });
        let partition = open.min_by(|one, other| one.served.total_cmp(&other.served))?;
        self.virtual_time = self.virtual_time.max(partition.served);
        let (ticket, expected) = partition.queue.pop_front()?;
        let taken = partition.send(now, expected);
        self.backlogged -= usize::from(partition.queue.is_empty());
        self.total.take(now, expected);
        if let Some(sent) = self.sent.get_mut(&ticket) {
            sent.at = Some(now);
            sent.taken = taken;
        }
        Some(ticket)
    }

    /// What holds back the waiting requests, and when that may change if no response comes first. `None` if
    /// no request waits, or the next one can be granted.
    pub(super) fn held_by(&mut self, now: Duration) -> Option<(HeldBy, Option<Duration>)> {
        let held = self.cause(now);
        // While requests wait only for the budget, unused budget may be spent a little later.
        self.total.set_wanted(now, matches!(held, Some((HeldBy::Budget, _))));
        let (cause, next) = held?;
        let is_even = cause == HeldBy::HotPartition && self.is_used_evenly();
        Some((if is_even { HeldBy::Budget } else { cause }, next))
    }

    /// True if the partitions with waiting requests have the whole budget together: none of them is hotter
    /// than the others.
    fn is_used_evenly(&self) -> bool {
        let (Some(rate), Some(ceiling)) = (self.total.rate(), self.ceiling) else { return false };
        #[expect(clippy::cast_precision_loss, reason = "physical partitions are few")]
        let throughput = ceiling * self.backlogged as f64;
        // The throughput was divided by the number of partitions.
        throughput * (1.0 + f64::EPSILON * 8.0) >= rate
    }

    fn cause(&mut self, now: Duration) -> Option<(HeldBy, Option<Duration>)> {
        if self.backlogged == 0 {
            return None;
        }
        let budget = self.total.opens_at(now);
        let mut closed: Option<Closed> = None;
        let mut soonest: Option<Duration> = None;
        for partition in self.partitions.values_mut().filter(|one| !one.queue.is_empty()) {
            match partition.closed(now) {
                None if budget > now => return Some((HeldBy::Budget, Some(budget))),
                None => return None,
                Some((why, opens)) => {
                    closed = closed.max(Some(why));
                    soonest = soonest.into_iter().chain(opens).min();
                }
            }
        }
        let cause = match closed? {
            Closed::Throttled => HeldBy::Throttled,
            Closed::Full => HeldBy::HotPartition,
            Closed::FoundLimit => HeldBy::FoundLimit,
            Closed::Concurrency => HeldBy::Concurrency,
        };
        Some((cause, soonest.map(|soonest| soonest.max(budget))))
    }

    /// A granted request is sent now; before that it waited inside the bridge.
    pub(super) fn mark_sent(&mut self, now: Duration, ticket: Ticket) {
        if let Some(Sent { at: Some(at), .. }) = self.sent.get_mut(&ticket) {
            *at = now;
        }
    }

    /// A timer of this process fired late, so latencies measured around now say nothing about the service.
    pub(super) fn on_late_timer(&mut self, now: Duration) {
        for partition in self.partitions.values_mut() {
            partition.on_late_timer(now);
        }
    }

    /// The largest charge of a request that keeps the use even; `None` without a budget.
    pub(super) fn request_size(&self) -> Option<f64> {
        let rate = self.total.rate()?;
        Some(match self.policy {
            YieldPolicy::Normal => rate * REQUEST_SHARE,
            YieldPolicy::GoodNeighbour => {
                #[expect(clippy::cast_precision_loss, reason = "partitions are few")]
                let partitions = self.partitions.len().max(1) as f64;
                rate * SMALL_REQUEST_SHARE / partitions
            }
        })
    }

    /// The largest charge of a request to a partition that has throttled; `None` if none has lately.
    pub(super) fn found_request_size(&self, now: Duration, partition: PartitionId) -> Option<f64> {
        Some(self.partitions.get(&partition)?.found_limit(now)? * PARTITION_SHARE)
    }

    /// Books a response.
    pub(super) fn settle(&mut self, now: Duration, ticket: Ticket, charge: f64, verdict: Verdict) {
        let Some(Sent { partition, expected, taken, at: Some(at) }) = self.sent.remove(&ticket)
        else {
            return;
        };
        self.total.take(now, charge - expected);
        let Some(partition) = self.partitions.get_mut(&partition) else { return };
        partition.on_response(now, charge, expected, taken);
        let mut is_cut = false;
        match verdict {
            Verdict::Done => {
                let answer = self.total.rate().is_none().then_some((at, charge));
                partition.widen(now, answer, self.concurrency);
                is_cut = partition.on_success(now, at, charge);
            }
            Verdict::Throttled { wait } => is_cut = partition.on_throttled(now, at, wait),
            Verdict::Slowed => partition.on_slowed(now, at),
            Verdict::Other => {}
        }
        if is_cut && self.policy == YieldPolicy::GoodNeighbour {
            self.yield_everywhere(now);
        }
    }

    /// Cuts the rate on every partition if several were cut: a client that uses several partitions is about
    /// to need the others too. A partition that has not throttled yet would do so next, and throttle other
    /// clients as often as the bridge. A single partition is hot for reasons of its data.
    fn yield_everywhere(&mut self, now: Duration) {
        let is_recent = |at: Duration| now.saturating_sub(at) < CUT_WINDOW;
        let cut = self.partitions.values().filter(|one| one.cut_at().is_some_and(is_recent));
        let cut = cut.count();
        if cut < 2 || cut * PARTITIONS_PER_CUT < self.partitions.len() {
            return;
        }
        for partition in self.partitions.values_mut() {
            if !partition.cut_at().is_some_and(is_recent) {
                partition.reduce(now, now);
            }
        }
    }

    /// Removes a request without a result: a waiting one costs nothing, a sent one its predicted charge.
    pub(super) fn forget(&mut self, now: Duration, ticket: Ticket) {
        let Some(sent) = self.sent.get(&ticket).copied() else { return };
        if sent.at.is_some() {
            self.settle(now, ticket, sent.expected, Verdict::Other);
            return;
        }
        self.sent.remove(&ticket);
        if let Some(partition) = self.partitions.get_mut(&sent.partition) {
            partition.queue.retain(|(waiting, _)| *waiting != ticket);
            self.backlogged -= usize::from(partition.queue.is_empty());
        }
    }

    /// No request waits or is in flight.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_empty()
            && self.backlogged == 0
            && self.partitions.values().all(Partition::is_idle)
    }

    #[cfg(test)]
    pub(super) fn served(&self, partition: PartitionId) -> f64 {
        self.partitions.get(&partition).map_or(0.0, |partition| partition.served)
    }
}
