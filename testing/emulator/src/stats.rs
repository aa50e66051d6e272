//! Exact counters of what was asked and what it cost.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hyper::HeaderMap;
use serde::Serialize;

use crate::answer::Answer;
use crate::usage::{Seen, Usage, client_of, named};

/// Seconds for which the cost per second is kept.
const SECONDS_KEPT: usize = 120;

/// Counters of one kind of request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counters {
    pub requests: u64,
    pub throttled: u64,
    pub errors: u64,
    pub request_units: f64,
    pub documents: u64,
    pub bytes: u64,
}

/// Counters of one container, or of an account's metadata.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ContainerStats {
    pub kinds: BTreeMap<&'static str, Counters>,
    /// Request units per second of the clock, for each physical range.
    pub seconds: VecDeque<Second>,
    /// Who asked for documents, by [`client_of`].
    pub clients: BTreeMap<String, Usage>,
    /// Headers of all requests, also of those about metadata.
    #[serde(flatten)]
    pub seen: Seen,
}

/// The cost of one second.
#[derive(Clone, Debug, Serialize)]
pub struct Second {
    pub at: u32,
    pub ranges: BTreeMap<String, f64>,
}

/// When a request was answered.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Unix seconds of the clock that tests can move.
    pub now: u32,
    /// Since the container, or the account, was made; never moved.
    pub at: Duration,
}

impl ContainerStats {
    /// Counts one answered request with these headers.
    pub fn count(
        &mut self,
        kind: &'static str,
        headers: &HeaderMap,
        answer: &Answer,
        when: Moment,
    ) {
        let counters = self.kinds.entry(kind).or_default();
        counters.requests += 1;
        counters.throttled += u64::from(answer.status == 429);
        counters.errors += u64::from(answer.status >= 400 && answer.status != 429);
        counters.request_units += answer.charge;
        counters.documents += answer.documents as u64;
        counters.bytes += answer.body.len() as u64;
        self.seen.count(headers);
        if kind != "metadata" {
            named(&mut self.clients, client_of(headers)).count(headers, answer, when.at);
        }
        self.count_second(answer, when.now);
    }

    fn count_second(&mut self, answer: &Answer, now: u32) {
        let Some(range) = &answer.range else { return };
        if self.seconds.back().is_none_or(|second| second.at != now) {
            self.seconds.push_back(Second { at: now, ranges: BTreeMap::new() });
            if self.seconds.len() > SECONDS_KEPT {
                self.seconds.pop_front();
            }
        }
        if let Some(second) = self.seconds.back_mut() {
            *second.ranges.entry(range.clone()).or_default() += answer.charge;
        }
    }

    /// Request units of one client in every sliding window, over all ranges; see
    /// [`Usage::windows`]. Empty when the client has asked for nothing.
    pub fn windows(
        &self,
        client: &str,
        window: Duration,
        from: Duration,
        to: Duration,
    ) -> Vec<f64> {
        let usage = self.clients.get(client);
        usage.map(|usage| usage.windows(None, window, from, to)).unwrap_or_default()
    }
}
