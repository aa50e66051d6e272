//! Provisioned throughput: one bucket per physical range, for all kinds of requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Provisioned throughput, in request units per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throughput {
    Manual(u32),
    /// The maximum. The service charges for what was used; a client is throttled at the maximum.
    Autoscale(u32),
}

impl Throughput {
    /// Where throttling begins, in request units per second.
    pub fn limit(self) -> u32 {
        match self {
            Self::Manual(units) | Self::Autoscale(units) => units,
        }
    }
}

/// The throughput of a container, shared evenly by its physical ranges.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Of the whole container; none: no limit.
    offered: Option<Throughput>,
    ranges: usize,
    buckets: BTreeMap<String, Bucket>,
}

/// A bucket holds one second of its rate. The charge of a request is known only afterwards, so a
/// request starts when the bucket is not in debt, and may leave it in debt.
#[derive(Debug)]
struct Bucket {
    units: f64,
    at: Instant,
}

/// The longest retry-after in an answer, in milliseconds.
const RETRY_AFTER_MAX: f64 = 1000.0;

impl Throttle {
    /// Where throttling begins, in request units per second; none: no limit.
    pub fn throughput(&self) -> Option<u32> {
        self.offered().map(Throughput::limit)
    }

    pub fn offered(&self) -> Option<Throughput> {
        self.lock().offered
    }

    /// Provisions by hand.
    pub fn set_throughput(&self, throughput: Option<u32>) {
        self.offer(throughput.map(Throughput::Manual));
    }

    pub fn offer(&self, offered: Option<Throughput>) {
        let mut state = self.lock();
        state.offered = offered;
        state.buckets.clear();
    }

    pub fn set_ranges(&self, ranges: usize) {
        let mut state = self.lock();
        state.ranges = ranges;
        state.buckets.clear();
    }

    /// Whether a request to a range may start; otherwise the milliseconds to wait.
    pub fn admit(&self, range: &str) -> Result<(), u64> {
        self.admit_after(range, 0.0)
    }

    /// The same for a part of a request whose other parts have cost `units`, which are not booked yet.
    pub fn admit_after(&self, range: &str, units: f64) -> Result<(), u64> {
        let mut state = self.lock();
        let Some(rate) = state.rate() else { return Ok(()) };
        let left = state.bucket(range, rate).units - units;
        if left > 0.0 {
            return Ok(());
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1000")]
        let wait = (-left / rate * 1000.0).ceil().clamp(1.0, RETRY_AFTER_MAX) as u64;
        Err(wait)
    }

    /// Books what a request cost.
    pub fn charge(&self, range: &str, units: f64) {
        let mut state = self.lock();
        if let Some(rate) = state.rate() {
            state.bucket(range, rate).units -= units;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[allow(clippy::cast_precision_loss, reason = "a handful of ranges")]
    fn rate(&self) -> Option<f64> {
        self.offered.map(|offered| f64::from(offered.limit()) / self.ranges.max(1) as f64)
    }

    fn bucket(&mut self, range: &str, rate: f64) -> &mut Bucket {
        let now = Instant::now();
        if !self.buckets.contains_key(range) {
            self.buckets.insert(range.to_owned(), Bucket { units: rate, at: now });
        }
        let bucket =
            self.buckets.entry(range.to_owned()).or_insert(Bucket { units: rate, at: now });
        let refill = now.duration_since(bucket.at).as_secs_f64() * rate;
        bucket.units = (bucket.units + refill).min(rate);
        bucket.at = now;
        bucket
    }
}
