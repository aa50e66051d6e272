//! Who used a container, when, and what it cost: fine enough to judge a client's budget.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hyper::HeaderMap;
use serde::Serialize;

use crate::answer::Answer;

/// The length of a slot, in milliseconds.
pub const SLOT_MS: u64 = 100;

/// Slots are kept for 120 seconds.
const SLOTS_KEPT: u64 = 1200;

/// The largest number of distinct names, of clients and of values of a header. More than a test has, and a limit
/// to the memory that a client with random names can take.
const NAMES_MAX: usize = 64;

/// Where everything beyond [`NAMES_MAX`] is counted.
const OTHERS: &str = "others";

/// The use of one container by one client: its requests about documents. Requests about metadata
/// are left out, because they use none of the container's throughput.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    pub requests: u64,
    pub throttled: u64,
    pub request_units: f64,
    #[serde(flatten)]
    pub seen: Seen,
    /// In the order of time; only slots in which there was something.
    pub slots: VecDeque<Slot>,
}

/// The use of one physical range during [`SLOT_MS`] milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slot {
    /// The start of the slot, in milliseconds since the container was made.
    pub at_ms: u64,
    /// Empty where a request was refused before its range was known.
    pub range: String,
    pub request_units: f64,
    pub requests: u64,
    pub throttled: u64,
}

/// How many requests carried each value of the headers that ask for less than full service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// By `x-ms-cosmos-priority-level`.
    pub priority_levels: BTreeMap<String, u64>,
    /// By `x-ms-cosmos-throughput-bucket`.
    pub throughput_buckets: BTreeMap<String, u64>,
}

impl Seen {
    pub fn count(&mut self, headers: &HeaderMap) {
        for (values, header) in [
            (&mut self.priority_levels, "x-ms-cosmos-priority-level"),
            (&mut self.throughput_buckets, "x-ms-cosmos-throughput-bucket"),
        ] {
            if let Some(value) = text(headers, header) {
                *named(values, value) += 1;
            }
        }
    }
}

/// The entry of a name, or of [`OTHERS`] when there are too many names.
pub(crate) fn named<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    let name = if map.len() < NAMES_MAX || map.contains_key(name) { name } else { OTHERS };
    map.entry(name.to_owned()).or_default()
}

/// The name that identifies a client: the last word of its user agent outside parentheses,
/// without a version. SDKs put the application's own suffix there, as `cosmos-bridge`; without a
/// suffix it is the SDK's name, as `azsdk-rust-cosmos`. `unknown` when there is no user agent.
pub fn client_of(headers: &HeaderMap) -> &str {
    let agent = text(headers, "user-agent").unwrap_or_default();
    let mut depth = 0_usize;
    let outside = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth > 0 || c.is_whitespace(),
        }
        true
    };
    // Not `rfind`: it would walk backwards, and meet the closing parenthesis first.
    let words = agent.split(outside).filter(|word| !word.is_empty());
    let word = words.reduce(|_, later| later).unwrap_or("unknown");
    word.rsplit_once('/').map_or(word, |(name, _)| name)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl Usage {
    /// Counts an answer; `at` is the time since the container was made.
    pub fn count(&mut self, headers: &HeaderMap, answer: &Answer, at: Duration) {
        let throttled = u64::from(answer.status == 429);
        self.requests += 1;
        self.throttled += throttled;
        self.request_units += answer.charge;
        self.seen.count(headers);
        let slot = self.slot(slot_at(at) * SLOT_MS, answer.range.as_deref().unwrap_or_default());
        slot.requests += 1;
        slot.throttled += throttled;
        slot.request_units += answer.charge;
    }

    fn slot(&mut self, at_ms: u64, range: &str) -> &mut Slot {
        // Answers are counted in the order they are given, up to a race that is shorter than a slot.
        let at_ms = self.slots.back().map_or(at_ms, |last| last.at_ms.max(at_ms));
        while self.slots.front().is_some_and(|first| first.at_ms + SLOTS_KEPT * SLOT_MS <= at_ms) {
            self.slots.pop_front();
        }
        let latest = self.slots.iter().rev().take_while(|slot| slot.at_ms == at_ms);
        let found = latest.enumerate().find(|(_, slot)| slot.range == range).map(|(back, _)| back);
        let index = if let Some(back) = found {
            self.slots.len() - 1 - back
        } else {
            let range = range.to_owned();
            self.slots.push_back(Slot {
                at_ms,
                range,
                request_units: 0.0,
                requests: 0,
                throttled: 0,
            });
            self.slots.len() - 1
        };
        &mut self.slots[index]
    }

    /// Request units in every window of a length, sliding by one slot, that lies between two times
    /// since the container was made; of one physical range or of all.
    ///
    /// Times and the length are cut down to whole slots. Windows that begin before the oldest time
    /// still kept, 120 seconds before the client's last request, are left out, not given as 0.
    pub fn windows(
        &self,
        range: Option<&str>,
        window: Duration,
        from: Duration,
        to: Duration,
    ) -> Vec<f64> {
        let last = self.slots.back().map_or(0, |slot| slot.at_ms / SLOT_MS);
        let from = slot_at(from).max((last + 1).saturating_sub(SLOTS_KEPT));
        let length = index(slot_at(window).max(1));
        let mut units = vec![0.0; index(slot_at(to).saturating_sub(from))];
        let wanted = |slot: &&Slot| range.is_none_or(|range| slot.range == range);
        for slot in self.slots.iter().filter(wanted) {
            let at = (slot.at_ms / SLOT_MS).checked_sub(from).map(index);
            if let Some(sum) = at.and_then(|at| units.get_mut(at)) {
                *sum += slot.request_units;
            }
        }
        units.windows(length).map(|window| window.iter().sum()).collect()
    }
}

fn slot_at(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX) / SLOT_MS
}

fn index(slots: u64) -> usize {
    usize::try_from(slots).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
