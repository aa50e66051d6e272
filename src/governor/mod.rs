//! Limits the use of request units to a budget, in one direction of one container.
//!
//! A request is admitted before it is sent, and settled with its charge when the response is there. The
//! ledger decides when a request may be sent and has no clock; this file adds the clock and the waiting
//! tasks.

mod admission;
mod bucket;
mod charges;
mod flow;
mod latency;
mod ledger;
mod partition;
mod pressure;
mod settlement;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
mod total;

use std::collections::HashMap;
use std::time::Duration;

use cosmos_bridge_sink::RequestUnits;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use admission::Admission;
pub use charges::{Kind, Operation};
pub use ledger::HeldBy;
pub use pressure::YieldPolicy;
pub use settlement::{Settlement, Verdict};

use charges::Charges;
use ledger::Ledger;
use partition::Ticket;

use crate::model::PartitionId;

/// A timer that fires this much late means that the machine is busy. Timers have a resolution of 1 ms.
const LATE: Duration = Duration::from_millis(10);

/// The least charge that a page may have, however small the budget is: each request for a page costs one
/// unit in itself, and with smaller pages that would be a large part of the budget.
const MIN_PAGE_CHARGE: RequestUnits = 10.0;

/// The budget of one direction of one container.
#[derive(Debug)]
pub struct Governor {
    began: Instant,
    state: Mutex<State>,
    /// Wakes the driver: a grant may be possible before its timer fires.
    wake_driver: Notify,
    /// Held by the driver: one of the waiting tasks runs the timer for all of them.
    driver: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    charges: Charges,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// When the driver's timer fires.
    next_check: Option<Duration>,
    /// The size that a request may have, relative to its usual size; 0 to 1.
    shrink: f64,
    /// The average charge of a document; `None` before the first one.
    per_document: Option<RequestUnits>,
    usage: Usage,
    /// What holds requests back, since the last change of it.
    held_by: Option<HeldBy>,
    held_since: Duration,
}

/// The use of the budget, and what held requests back. All values except the rate only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Request units per second that may be used; `None` is unlimited.
    pub rate: Option<f64>,
    pub requests: u64,
    /// Attempts that the service throttled.
    pub throttled: u64,
    /// Request units, as charged and as predicted.
    pub charged: RequestUnits,
    pub expected: RequestUnits,
    /// How long requests waited for each cause alone.
    pub held: HashMap<HeldBy, Duration>,
}

impl Governor {
    /// `rate` in request units per second, `None` is unlimited; `concurrency` is the number of requests that
    /// may be in flight to one partition.
    pub fn new(rate: Option<f64>, policy: YieldPolicy, concurrency: usize) -> Self {
        let state = State {
            ledger: Ledger::new(rate, policy, concurrency),
            charges: Charges::default(),
            waiting: HashMap::new(),
            next_check: None,
            shrink: 1.0,
            per_document: None,
            usage: Usage::default(),
            held_by: None,
            held_since: Duration::ZERO,
        };
        Self {
            began: Instant::now(),
            state: Mutex::new(state),
            wake_driver: Notify::new(),
            driver: tokio::sync::Mutex::default(),
        }
    }

    /// Changes the budget. It applies to waiting requests immediately.
    pub fn set_rate(&self, rate: Option<f64>) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.set_rate(now, rate);
        self.dispatch(&mut state, now);
    }

    /// Sets the throughput of one physical partition, if it is known: no partition gets more than that, even
    /// if other partitions leave budget unused.
    pub fn set_ceiling(&self, units_per_second: Option<f64>) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.set_ceiling(units_per_second);
        self.dispatch(&mut state, now);
    }

    /// Changes how a partition reduces its rate after throttling, and raises it again.
    pub fn set_yield_policy(&self, policy: YieldPolicy) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.set_yield_policy(now, policy);
        self.dispatch(&mut state, now);
    }

    /// Waits until a request with these operations may be sent to a partition.
    ///
    /// The future has to be polled or dropped, not kept: one of the waiting tasks runs the timer for all of
    /// them.
    pub async fn admit(&self, partition: PartitionId, operations: Vec<Operation>) -> Admission<'_> {
        let (admission, granted) = {
            let now = self.now();
            let mut state = self.state.lock();
            let expected = state.charges.predict(&operations);
            let ticket = state.ledger.enqueue(partition, expected);
            let admission = Admission {
                governor: self,
                ticket,
                partition,
                operations,
                expected,
                is_settled: false,
            };
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(ticket, sender);
            self.dispatch(&mut state, now);
            (admission, receiver)
        };
        self.wait(granted).await;
        admission
    }

    /// How many of `usual` documents one request may contain, at least one: as many as keep the use even, and
    /// fewer after the service has throttled.
    pub fn fitting(&self, usual: usize) -> usize {
        self.fitting_at_least(usual, 0.0)
    }

    /// The same for the documents of a page.
    pub fn fitting_page(&self, usual: usize) -> usize {
        self.fitting_at_least(usual, MIN_PAGE_CHARGE)
    }

    fn fitting_at_least(&self, usual: usize, min_charge: RequestUnits) -> usize {
        let state = self.state.lock();
        let per_document = state.per_document.unwrap_or(UNKNOWN_DOCUMENT);
        let even = state.ledger.request_size().unwrap_or(f64::INFINITY).max(min_charge);
        #[expect(clippy::cast_precision_loss, reason = "documents of one request are few")]
        let usual = usual as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to usual")]
        let fitting = (even / per_document).min(usual * state.shrink).max(1.0) as usize;
        fitting
    }

    /// How many of these operations, counted from the first, one request to a partition may contain so that
    /// the use stays even; at least one, if there is one. Unlike [`Governor::fitting`] it adds up the predicted
    /// charges: a few large documents cost as much as many of the usual size.
    pub fn affordable(&self, partition: PartitionId, operations: &[Operation]) -> usize {
        let now = self.now();
        let state = self.state.lock();
        let even = state.ledger.request_size();
        let found = state.ledger.found_request_size(now, partition);
        let Some(mut left) = even.into_iter().chain(found).reduce(f64::min) else {
            return operations.len();
        };
        let mut pay = |operation| {
            left -= state.charges.predict(std::slice::from_ref(operation));
            left >= 0.0
        };
        let count = operations.iter().take_while(|operation| pay(operation)).count();
        count.max(1).min(operations.len())
    }

    /// True if the partition of a request matters: a budget is shared, or the service has throttled.
    pub fn is_strained(&self) -> bool {
        let state = self.state.lock();
        state.ledger.rate().is_some() || state.usage.throttled > 0
    }

    /// Request units per second that may be used; `None` is unlimited.
    pub fn rate(&self) -> Option<f64> {
        self.state.lock().ledger.rate()
    }

    pub fn usage(&self) -> Usage {
        let now = self.now();
        let mut state = self.state.lock();
        state.note_held(now);
        Usage { rate: state.ledger.rate(), ..state.usage.clone() }
    }

    async fn wait(&self, mut granted: oneshot::Receiver<()>) {
        tokio::select! {
            biased;
            _ = &mut granted => {}
            _driver = self.driver.lock() => loop {
                let next = self.check();
                let timer = async {
                    match next {
                        Some(next) => tokio::time::sleep_until(self.began + next).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    _ = &mut granted => break,
                    () = self.wake_driver.notified() => {}
                    () = timer => self.on_timer(next),
                }
            },
        }
    }

    /// Tells the ledger if the timer fired late.
    fn on_timer(&self, due: Option<Duration>) {
        let now = self.now();
        if due.is_some_and(|due| now >= due + LATE) {
            self.state.lock().ledger.on_late_timer(now);
        }
    }

    /// Grants the requests that may be sent. Returns when to check again.
    fn check(&self) -> Option<Duration> {
        let now = self.now();
        let mut state = self.state.lock();
        // `dispatch` need not wake the driver: this is the driver.
        state.next_check = None;
        let next = self.dispatch(&mut state, now);
        state.next_check = Some(next.unwrap_or(Duration::MAX));
        next
    }

    /// Grants the requests that may be sent. Returns when more may be possible.
    fn dispatch(&self, state: &mut State, now: Duration) -> Option<Duration> {
        while let Some(ticket) = state.ledger.grant(now) {
            let granted = state.waiting.remove(&ticket).map(|waiting| waiting.send(()));
            if !matches!(granted, Some(Ok(()))) {
                state.ledger.settle(now, ticket, 0.0, Verdict::Other);
            }
        }
        let next = state.note_held(now)?;
        if state.next_check.is_some_and(|check| next < check) {
            self.wake_driver.notify_one();
        }
        Some(next)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl State {
    /// Adds the time since the last call to the cause that held requests back. Returns when the cause may
    /// change if no response comes first.
    fn note_held(&mut self, now: Duration) -> Option<Duration> {
        if let Some(cause) = self.held_by {
            *self.usage.held.entry(cause).or_default() += now.saturating_sub(self.held_since);
        }
        let held = self.ledger.held_by(now);
        self.held_by = held.map(|(cause, _)| cause);
        self.held_since = now;
        held.and_then(|(_, next)| next)
    }

    fn learn_documents(&mut self, charge: RequestUnits, documents: usize) {
        if documents > 0 {
            #[expect(clippy::cast_precision_loss, reason = "documents of one request are few")]
            let each = charge / documents as f64;
            let mean = self.per_document.get_or_insert(each);
            *mean += DOCUMENT_WEIGHT * (each - *mean);
        }
    }

    /// Halves the size of requests after throttling; 50 successes restore it.
    fn resize(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Throttled { .. } | Verdict::Slowed => {
                self.shrink = (self.shrink / 2.0).max(SHRINK_MIN);
            }
            Verdict::Done => self.shrink = (self.shrink + SHRINK_STEP).min(1.0),
            Verdict::Other => {}
        }
    }
}

/// The smallest size of requests, and its growth with each success.
const SHRINK_MIN: f64 = 1.0 / 16.0;
const SHRINK_STEP: f64 = 0.02;

/// The assumed charge of a document before the first one: that of writing a few KB.
const UNKNOWN_DOCUMENT: RequestUnits = 10.0;

/// The weight of a new request in the average charge of a document.
const DOCUMENT_WEIGHT: f64 = 0.1;
