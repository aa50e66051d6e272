//! The charges of a run over time, and figures from them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One charge: seconds since the start, partition, request units as charged and on average.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) at: f64,
    pub(crate) partition: u32,
    pub(crate) charge: f64,
    pub(crate) price: f64,
}

/// The charges of one run, in the order of the service.
pub(crate) struct Record {
    began: Instant,
    spent: Mutex<Vec<Spent>>,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), spent: Mutex::default() }
    }

    pub(crate) fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub(crate) fn add(&self, partition: u32, charge: f64, price: f64) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.push(Spent { at: self.now(), partition, charge, price });
    }

    pub(crate) async fn until(&self, seconds: f64) {
        tokio::time::sleep_until(self.began + Duration::from_secs_f64(seconds)).await;
    }

    pub(crate) fn spent(&self) -> Vec<Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Request units charged from one point in time to before another.
pub(crate) fn charged(spent: &[Spent], from: f64, to: f64) -> f64 {
    spent.iter().filter(|one| (from..to).contains(&one.at)).map(|one| one.charge).sum()
}

/// The smallest and the largest charge in any `length` seconds between two points in time. Windows slide by 10 ms.
pub(crate) fn extremes(spent: &[Spent], length: f64, from: f64, to: f64) -> (f64, f64) {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    let mut begin = from;
    while begin + length <= to {
        let sum = charged(spent, begin, begin + length);
        (least, most) = (least.min(sum), most.max(sum));
        begin += 0.01;
    }
    (least, most)
}
