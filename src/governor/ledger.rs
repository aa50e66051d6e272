//! Who may send now. Values in, values out: no clock, no task, no chance.
//!
//! Requests wait in one queue for each physical partition. While the container's bucket is open, the
//! partition that has been given the least so far sends next (start-time fair queueing, Goyal, Vin
//! and Cheng 1996): a hot partition gets everything that the others do not need and nothing of what
//! they do. Costs are taken out before a request is sent, as expected, and put right by its answer.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::Verdict;
use super::partition::{Closed, Partition};
use super::pressure::Manners;
use super::total::Total;
use crate::model::PartitionId;

/// Names one request from the moment it asks to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What keeps requests waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Held {
    /// The budget is used up.
    Budget,
    /// Only partitions that have used all that the service provides for one.
    HotPartition,
    /// As many requests are under way as may be.
    Concurrency,
    /// The service refuses requests.
    Throttled,
}

/// What may be spent at once after a pause, in seconds of the budget. In any second at most this much
/// more than the budget is spent, and one request.
const BURST: f64 = 0.02;

/// Cuts on several partitions within this time have one reason; one partition in so many is enough.
const TOGETHER: Duration = Duration::from_secs(3);
const FEW: usize = 5;

/// What one request may be expected to cost, as a share of one second of the budget: requests that are
/// larger make use uneven. Pages and batches are made to fit. With what may be spent at once, a second
/// stays within 110 % of the budget, also where charges vary by half.
const REQUEST_SHARE: f64 = 0.04;

/// The same for a good neighbour, of the budget's part for one partition: as long as the last one is
/// not paid for, everybody is refused.
const SMALL_REQUEST_SHARE: f64 = 0.01;

/// A good neighbour spends in pulses of so many seconds of the budget.
const PULSE: f64 = 0.07;

#[derive(Debug)]
pub(super) struct Ledger {
    manners: Manners,
    /// Requests of one partition that may be under way.
    concurrency: usize,
    total: Total,
    ceiling: Option<f64>,
    partitions: BTreeMap<PartitionId, Partition>,
    /// How many of them have requests waiting.
    backlogged: usize,
    /// What the partition that was served last had been given before.
    virtual_time: f64,
    sent: HashMap<Ticket, Sent>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    partition: PartitionId,
    expected: f64,
    /// Out of the partition's own bucket.
    taken: f64,
    /// `None` while it waits.
    at: Option<Duration>,
}

/// The burst and the pulse of the whole budget.
fn shape(manners: Manners) -> (f64, f64) {
    match manners {
        Manners::Usual => (BURST, 0.0),
        Manners::GoodNeighbour => (PULSE, PULSE),
    }
}

fn total(rate: Option<f64>, manners: Manners) -> Total {
    let (burst, pulse) = shape(manners);
    let mut total = Total::new(rate, burst);
    total.set_shape(Duration::ZERO, burst, pulse);
    total
}

impl Ledger {
    pub(super) fn new(rate: Option<f64>, manners: Manners, concurrency: usize) -> Self {
        Self {
            manners,
            concurrency,
            total: total(rate, manners),
            ceiling: None,
            partitions: BTreeMap::new(),
            backlogged: 0,
            virtual_time: 0.0,
            sent: HashMap::new(),
            last: 0,
        }
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.total.rate()
    }

    /// Request units per second over all partitions; `None` is unlimited.
    pub(super) fn set_rate(&mut self, now: Duration, rate: Option<f64>) {
        self.total.set_rate(now, rate);
    }

    /// What the service provides for each partition, where that is known.
    pub(super) fn set_ceiling(&mut self, ceiling: Option<f64>) {
        self.ceiling = ceiling;
        for partition in self.partitions.values_mut() {
            partition.ceiling = ceiling;
        }
    }

    pub(super) fn set_manners(&mut self, now: Duration, manners: Manners) {
        self.manners = manners;
        let (burst, pulse) = shape(manners);
        self.total.set_shape(now, burst, pulse);
        for partition in self.partitions.values_mut() {
            partition.set_manners(now, manners);
        }
    }

    /// Queues a request; [`Ledger::grant`] says when it may be sent.
    pub(super) fn ask(&mut self, partition: PartitionId, expected: f64) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let (manners, ceiling) = (self.manners, self.ceiling);
        let entry = self.partitions.entry(partition);
        let queue = entry.or_insert_with(|| Partition::new(manners, ceiling));
        if queue.queue.is_empty() {
            // Who was away has no claim on what was given to others meanwhile.
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
        // Who cannot be served has no claim on what the others get meanwhile, but for a second's
        // share: a long refusal would otherwise be followed by a long time for nobody else.
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

    /// What keeps the requests that wait, and when that may change unless an answer comes first.
    /// `None` when nothing waits that could not be granted.
    pub(super) fn held(&mut self, now: Duration) -> Option<(Held, Option<Duration>)> {
        let held = self.look(now);
        // What is not spent because only the budget is waited for may be spent a little later.
        self.total.set_wanted(now, matches!(held, Some((Held::Budget, _))));
        held
    }

    fn look(&mut self, now: Duration) -> Option<(Held, Option<Duration>)> {
        if self.backlogged == 0 {
            return None;
        }
        let budget = self.total.opens_at(now);
        let mut why_closed = [false; 3];
        let mut soonest: Option<Duration> = None;
        for partition in self.partitions.values_mut().filter(|one| !one.queue.is_empty()) {
            match partition.closed(now) {
                None if budget > now => return Some((Held::Budget, Some(budget))),
                None => return None,
                Some((why, opens)) => {
                    why_closed[why as usize] = true;
                    soonest = soonest.into_iter().chain(opens).min();
                }
            }
        }
        let held = if why_closed[Closed::Refused as usize] {
            Held::Throttled
        } else if why_closed[Closed::Full as usize] {
            Held::HotPartition
        } else {
            Held::Concurrency
        };
        Some((held, soonest.map(|soonest| soonest.max(budget))))
    }

    /// A request that was granted leaves only now: until here it waited for something of ours.
    pub(super) fn leaves(&mut self, now: Duration, ticket: Ticket) {
        if let Some(Sent { at: Some(at), .. }) = self.sent.get_mut(&ticket) {
            *at = now;
        }
    }

    /// This process was late, so what it measures around now is its own trouble.
    pub(super) fn was_late(&mut self, now: Duration) {
        for partition in self.partitions.values_mut() {
            partition.was_late(now);
        }
    }

    /// What a request may cost so that use stays even; `None` where nothing asks for that.
    pub(super) fn request_size(&self) -> Option<f64> {
        let rate = self.total.rate()?;
        Some(match self.manners {
            Manners::Usual => rate * REQUEST_SHARE,
            Manners::GoodNeighbour => {
                #[expect(clippy::cast_precision_loss, reason = "partitions are few")]
                let partitions = self.partitions.len().max(1) as f64;
                rate * SMALL_REQUEST_SHARE / partitions
            }
        })
    }

    /// Books an answer.
    pub(super) fn settle(&mut self, now: Duration, ticket: Ticket, charge: f64, verdict: Verdict) {
        let Some(Sent { partition, expected, taken, at: Some(at) }) = self.sent.remove(&ticket)
        else {
            return;
        };
        self.total.take(now, charge - expected);
        let Some(partition) = self.partitions.get_mut(&partition) else { return };
        partition.answered(now, charge, expected, taken);
        let mut is_cut = false;
        match verdict {
            Verdict::Done => {
                partition.accepted(now, self.concurrency);
                is_cut = partition.took(now, at, charge);
            }
            Verdict::Throttled { wait } => is_cut = partition.refused(now, at, wait),
            Verdict::Slowed => partition.slowed(now, at),
            Verdict::Other => {}
        }
        if is_cut && self.manners == Manners::GoodNeighbour {
            self.yield_everywhere(now);
        }
    }

    /// Whoever uses several partitions is about to need the others too: one that has not refused
    /// yet would do so next, and refuse others as often as the bridge. One partition alone is hot
    /// for its own reasons.
    fn yield_everywhere(&mut self, now: Duration) {
        let is_recent = |at: Duration| now.saturating_sub(at) < TOGETHER;
        let cut = self.partitions.values().filter(|one| one.cut_at().is_some_and(is_recent));
        let cut = cut.count();
        if cut < 2 || cut * FEW < self.partitions.len() {
            return;
        }
        for partition in self.partitions.values_mut() {
            if !partition.cut_at().is_some_and(is_recent) {
                partition.yields(now, now);
            }
        }
    }

    /// Forgets a request: one that waits costs nothing, one that was sent what was expected.
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

    #[cfg(test)]
    pub(super) fn served(&self, partition: PartitionId) -> f64 {
        self.partitions.get(&partition).map_or(0.0, |partition| partition.served)
    }
}
