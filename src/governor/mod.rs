//! Holds spending to a budget of request units, in one direction of one container.
//!
//! A request asks before it is sent and tells what it cost when it is answered. What may be sent
//! when is decided by the ledger, which knows no clock; here are the clock and those who wait.

mod admission;
mod bucket;
mod charges;
mod latency;
mod ledger;
mod partition;
mod pressure;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod total;

use std::collections::HashMap;
use std::time::Duration;

use cosmos_bridge_sink::RequestUnits;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use admission::{Admission, Settlement, Verdict};
pub use charges::{Kind, Operation};
pub use ledger::Held;
pub use pressure::Manners;

use charges::Charges;
use ledger::{Ledger, Ticket};

use crate::model::PartitionId;

/// Who is woken so much later than asked for is on a busy machine. The clock ticks in milliseconds.
const LATE: Duration = Duration::from_millis(10);

/// What a page may cost however small the budget is: one unit of it is paid for asking, and smaller
/// pages would spend much of a budget on that.
const PAGE_LEAST: RequestUnits = 10.0;

/// The budget of one direction of one container.
#[derive(Debug)]
pub struct Governor {
    began: Instant,
    state: Mutex<State>,
    /// Something may be granted earlier than the one who drives thinks.
    sooner: Notify,
    /// One of those who wait watches the clock for all of them.
    seat: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    charges: Charges,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// When the one who drives looks again.
    looks_at: Option<Duration>,
    /// Largest part of its usual size that a request may have, 0 to 1.
    shrink: f64,
    /// What a document costs on average, once there was one.
    per_document: Option<RequestUnits>,
    usage: Usage,
    /// Since when what holds requests back has not changed.
    held: Option<Held>,
    held_since: Duration,
}

/// What was used, and what held requests back; all but the rate only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Request units per second that may be used; `None` is unlimited.
    pub rate: Option<f64>,
    pub requests: u64,
    /// Requests that the service refused for their rate.
    pub throttled: u64,
    /// Request units, as charged and as they were expected.
    pub charged: RequestUnits,
    pub expected: RequestUnits,
    /// How long requests waited for nothing else.
    pub held: HashMap<Held, Duration>,
}

impl Governor {
    /// `rate` in request units per second, `None` is unlimited; `concurrency` is how many requests
    /// one partition may have under way.
    pub fn new(rate: Option<f64>, manners: Manners, concurrency: usize) -> Self {
        let state = State {
            ledger: Ledger::new(rate, manners, concurrency),
            charges: Charges::default(),
            waiting: HashMap::new(),
            looks_at: None,
            shrink: 1.0,
            per_document: None,
            usage: Usage::default(),
            held: None,
            held_since: Duration::ZERO,
        };
        Self {
            began: Instant::now(),
            state: Mutex::new(state),
            sooner: Notify::new(),
            seat: tokio::sync::Mutex::default(),
        }
    }

    /// Changes the budget; whoever waits feels it at once.
    pub fn set_rate(&self, rate: Option<f64>) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.set_rate(now, rate);
        self.dispatch(&mut state, now);
    }

    /// What the service provides for each physical partition, where that is known: no partition is
    /// sent more, however much of the budget the others leave.
    pub fn set_ceiling(&self, units_per_second: Option<f64>) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.set_ceiling(units_per_second);
        self.dispatch(&mut state, now);
    }

    /// Changes how a partition gives way to refusals, and comes back after one.
    pub fn set_manners(&self, manners: Manners) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.set_manners(now, manners);
        self.dispatch(&mut state, now);
    }

    /// Waits until a request of these operations may be sent to a partition.
    ///
    /// The future has to be polled or dropped, not kept: one of those who wait watches the clock for
    /// all of them.
    pub async fn admit(&self, partition: PartitionId, operations: Vec<Operation>) -> Admission<'_> {
        let (admission, granted) = {
            let now = self.now();
            let mut state = self.state.lock();
            let expected = state.charges.predict(&operations);
            let ticket = state.ledger.ask(partition, expected);
            let admission =
                Admission { governor: self, ticket, operations, expected, is_settled: false };
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(ticket, sender);
            self.dispatch(&mut state, now);
            (admission, receiver)
        };
        self.wait(granted).await;
        admission
    }

    /// How many of `usual` documents one request may hold, at least one: so many that use stays
    /// even, and fewer when the service refuses requests.
    pub fn fitting(&self, usual: usize) -> usize {
        self.fitting_at_least(usual, 0.0)
    }

    /// The same for the documents of a page.
    pub fn fitting_page(&self, usual: usize) -> usize {
        self.fitting_at_least(usual, PAGE_LEAST)
    }

    fn fitting_at_least(&self, usual: usize, least: RequestUnits) -> usize {
        let state = self.state.lock();
        let per_document = state.per_document.unwrap_or(UNKNOWN_DOCUMENT);
        let even = state.ledger.request_size().unwrap_or(f64::INFINITY).max(least);
        #[expect(clippy::cast_precision_loss, reason = "documents of one request are few")]
        let usual = usual as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to usual")]
        let fitting = (even / per_document).min(usual * state.shrink).max(1.0) as usize;
        fitting
    }

    /// How many of these operations, from the first on, one request may hold so that use stays even;
    /// at least one, if there is one. Unlike [`Governor::fitting`] it looks at what each is expected
    /// to cost: a few large documents cost as much as many of the usual size.
    pub fn affordable(&self, operations: &[Operation]) -> usize {
        let state = self.state.lock();
        let Some(mut left) = state.ledger.request_size() else { return operations.len() };
        let mut pay = |operation| {
            left -= state.charges.predict(std::slice::from_ref(operation));
            left >= 0.0
        };
        let count = operations.iter().take_while(|operation| pay(operation)).count();
        count.max(1).min(operations.len())
    }

    /// Whether it matters which partition a request goes to: there is a budget to be shared, or the
    /// service has refused requests.
    pub fn is_strained(&self) -> bool {
        let state = self.state.lock();
        state.ledger.rate().is_some() || state.usage.throttled > 0
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
            _seat = self.seat.lock() => loop {
                let next = self.look();
                let look_again = async {
                    match next {
                        Some(next) => tokio::time::sleep_until(self.began + next).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    _ = &mut granted => break,
                    () = self.sooner.notified() => {}
                    () = look_again => self.woken(next),
                }
            },
        }
    }

    /// Notes it when somebody who asked to be woken was woken late.
    fn woken(&self, asked: Option<Duration>) {
        let now = self.now();
        if asked.is_some_and(|asked| now >= asked + LATE) {
            self.state.lock().ledger.was_late(now);
        }
    }

    /// Grants what can be granted; says when to look again.
    fn look(&self) -> Option<Duration> {
        let now = self.now();
        let mut state = self.state.lock();
        // Nobody has to be told of what is seen here.
        state.looks_at = None;
        let next = self.dispatch(&mut state, now);
        state.looks_at = Some(next.unwrap_or(Duration::MAX));
        next
    }

    /// Grants what can be granted; says when there may be more to grant.
    fn dispatch(&self, state: &mut State, now: Duration) -> Option<Duration> {
        while let Some(ticket) = state.ledger.grant(now) {
            let told = state.waiting.remove(&ticket).map(|waiting| waiting.send(()));
            if !matches!(told, Some(Ok(()))) {
                state.ledger.settle(now, ticket, 0.0, Verdict::Other);
            }
        }
        let next = state.note_held(now)?;
        if state.looks_at.is_some_and(|looks_at| next < looks_at) {
            self.sooner.notify_one();
        }
        Some(next)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl State {
    /// Adds the time since the last change to what held requests back in it. Says when that may
    /// change, unless an answer comes first.
    fn note_held(&mut self, now: Duration) -> Option<Duration> {
        if let Some(held) = self.held {
            *self.usage.held.entry(held).or_default() += now.saturating_sub(self.held_since);
        }
        let held = self.ledger.held(now);
        self.held = held.map(|(held, _)| held);
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

    /// Halves what a request may hold after a refusal; half a hundred successes bring it back.
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

/// How small requests are made at most, and how they grow again with each success.
const SHRINK_MIN: f64 = 1.0 / 16.0;
const SHRINK_STEP: f64 = 0.02;

/// What a document is taken to cost before there was one: as much as writing a few KB.
const UNKNOWN_DOCUMENT: RequestUnits = 10.0;

/// The weight of one more request in the average charge of a document.
const DOCUMENT_WEIGHT: f64 = 0.1;
