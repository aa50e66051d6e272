//! The simulated service: a bucket of one second for each physical partition.

use std::time::Duration;

use crate::governor::Verdict;

/// The charge of a throttled request, as measured on the service.
const THROTTLED_CHARGE: f64 = 0.38;

pub(super) struct Service {
    rate: f64,
    partitions: Vec<Level>,
}

#[derive(Clone, Copy)]
struct Level {
    units: f64,
    at: Duration,
}

impl Service {
    /// `rate` is the throughput of one partition in request units per second.
    pub(super) fn new(partitions: usize, rate: f64) -> Self {
        Self { rate, partitions: vec![Level { units: rate, at: Duration::ZERO }; partitions] }
    }

    /// The charge of a request, and its result.
    pub(super) fn answer(
        &mut self,
        now: Duration,
        partition: usize,
        charge: f64,
    ) -> (f64, Verdict) {
        let level = &mut self.partitions[partition];
        let passed = now.saturating_sub(level.at).as_secs_f64();
        level.units = (level.units + passed * self.rate).min(self.rate);
        level.at = now;
        if level.units <= 0.0 {
            let wait = Duration::from_secs_f64((-level.units / self.rate).min(1.0) + 0.001);
            level.units -= THROTTLED_CHARGE;
            return (THROTTLED_CHARGE, Verdict::Throttled { wait });
        }
        level.units -= charge;
        (charge, Verdict::Done)
    }
}
