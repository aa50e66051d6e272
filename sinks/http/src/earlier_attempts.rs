//! What became of the earlier attempts of events that the endpoint has not accepted yet.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use cosmos_bridge_sink::{Change, Mutex, Operation, Wait};
use tokio::time::Instant;

use crate::connection::Reply;

/// The status for an event that the endpoint has already, among others.
const CONFLICT: u16 = 409;

/// The number of events from which on those are forgotten that are not repeated any more.
const EVENTS_MAX: usize = 10_000;

/// After this time an event is not repeated: twice the longest pause that an endpoint can ask for.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(2);

/// What counts of the time between two attempts: an endpoint that asks for a longer pause is not asked more often
/// for that.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Events that an endpoint fails for alone are few. With more, it is rather the endpoint that fails.
const FEW: usize = 100;

/// What an attempt means for one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Delivered,
    Rejected(String),
    Deferred(String, Wait),
}

/// The events that were posted and are not accepted, by hash. Two with one hash share what is known.
#[derive(Debug)]
pub(crate) struct EarlierAttempts {
    give_up_after: Duration,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: HashMap<u64, Earlier>,
    /// True from an event that the endpoint accepted until it fails for one that it did not fail for before.
    /// A window that is full of events that fail has no others to show that the endpoint works.
    accepts: bool,
    /// When the endpoint last accepted an event.
    accepted_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Earlier {
    /// The endpoint may have it, although it did not say so.
    may_have_arrived: bool,
    /// How long the endpoint has failed for it while it accepted others.
    failing_for: Duration,
    last: Instant,
}

impl EarlierAttempts {
    /// An event for which the endpoint fails for `give_up_after`, and for no other, is rejected.
    pub(crate) fn new(give_up_after: Duration) -> Self {
        Self { give_up_after, hasher: RandomState::new(), state: Mutex::default() }
    }

    /// Notes a request with several events, each of which is now posted alone.
    pub(crate) fn note(&self, change: &Change, reply: &Reply) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if reply.result.as_ref().is_err_and(|failure| failure.may_have_arrived) {
            state.event(self.number(change), now).may_have_arrived = true;
        }
    }

    /// Notes the reply to an attempt of an event.
    pub(crate) fn judge(&self, change: &Change, reply: &Reply) -> Verdict {
        let (now, number) = (Instant::now(), self.number(change));
        let mut state = self.state.lock();
        let Err(failure) = &reply.result else {
            state.accept(now);
            state.events.remove(&number);
            return Verdict::Delivered;
        };
        let Some(wait) = failure.wait() else {
            let earlier = state.events.remove(&number);
            // An endpoint that refuses repeated ids: what it has is the earlier attempt of this event.
            let is_ours = reply.status == Some(CONFLICT)
                && earlier.is_some_and(|earlier| earlier.may_have_arrived);
            if is_ours {
                state.accept(now);
                return Verdict::Delivered;
            }
            return Verdict::Rejected(failure.reason.clone());
        };
        // Otherwise the endpoint may fail for each event, which is no reason to give one up.
        state.accepts &= state.events.contains_key(&number);
        let has_no_other = state.accepts && state.events.len() <= FEW;
        let accepted_at = state.accepted_at;
        let earlier = state.event(number, now);
        let others_are_accepted = accepted_at.is_some_and(|at| at > earlier.last);
        if reply.may_concern_one_event() && (others_are_accepted || has_no_other) {
            earlier.failing_for += (now - earlier.last).min(PAUSE_MAX);
        }
        earlier.may_have_arrived |= failure.may_have_arrived;
        earlier.last = now;
        if earlier.failing_for < self.give_up_after {
            return Verdict::Deferred(failure.reason.clone(), wait);
        }
        state.events.remove(&number);
        let after = self.give_up_after;
        let reason = &failure.reason;
        Verdict::Rejected(format!(
            "{reason}; it answered so to this event for `give_up_after` ({after:?}), and accepted others"
        ))
    }

    /// Of the event. A repetition has the same.
    fn number(&self, change: &Change) -> u64 {
        let origin = &change.origin;
        let is_delete = matches!(change.operation, Operation::Delete { .. });
        let version = (origin.lsn, origin.nth, origin.committed_at, is_delete);
        self.hasher.hash_one((change.document_id(), version))
    }
}

impl State {
    fn accept(&mut self, now: Instant) {
        self.accepts = true;
        self.accepted_at = Some(now);
    }

    fn event(&mut self, number: u64, now: Instant) -> &mut Earlier {
        if self.events.len() >= EVENTS_MAX && !self.events.contains_key(&number) {
            self.events.retain(|_, earlier| now - earlier.last < FORGOTTEN_AFTER);
        }
        let (may_have_arrived, failing_for) = (false, Duration::ZERO);
        let new = Earlier { may_have_arrived, failing_for, last: now };
        self.events.entry(number).or_insert(new)
    }
}

#[cfg(test)]
mod tests;
