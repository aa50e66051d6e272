//! Checks the rules that a run has to keep.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Case, SECONDS};

/// Limits relative to the budget, in every window of ten seconds and of one second.
const LEAST_IN_TEN: f64 = 0.92;
const MOST_IN_TEN: f64 = 1.02;
const MOST_IN_ONE: f64 = 1.10;

/// A request cannot be divided. If a single request is larger than these limits allow, one request more or less
/// than the budget is allowed, and these shares for requests in flight at the edges of a window:
const EDGE_OF_TEN: f64 = 0.005;
const EDGE_OF_ONE: f64 = 0.02;

/// The least part of its share that a partition gets next to a hot one.
const LEAST_OF_SHARE: f64 = 0.95;

/// The highest share of requests that may be throttled because of the bridge's own use.
const THROTTLED_MOST: f64 = 0.005;

/// One response of the service.
pub(super) struct Spent {
    pub(super) at: Duration,
    pub(super) partition: u32,
    pub(super) charge: f64,
    /// The average charge of the document; 0 for a throttled request.
    pub(super) price: f64,
}

#[derive(Default)]
pub(super) struct Judge {
    pub(super) spent: Vec<Spent>,
    /// The work of each partition, in average charges.
    wanted: BTreeMap<u32, f64>,
}

impl Judge {
    pub(super) fn spent(&mut self, spent: Spent) {
        self.spent.push(spent);
    }

    pub(super) fn wanted(&mut self, partition: u32, price: f64) {
        *self.wanted.entry(partition).or_default() += price;
    }

    /// Every rule that was broken.
    pub(super) fn problems(&self, case: &Case) -> Vec<String> {
        let budget = case.budget;
        let largest = self.spent.iter().map(|spent| spent.charge).fold(0.0, f64::max);
        let mut problems = Vec::new();
        let mut must = |holds: bool, text: String| {
            if !holds {
                problems.push(text);
            }
        };
        let (least, _) = self.extremes(10.0, 2.0);
        let (_, most) = self.extremes(10.0, 0.0);
        let ten = 10.0 * budget;
        let allowed = (ten * LEAST_IN_TEN).min(ten * (1.0 - EDGE_OF_TEN) - largest);
        must(least >= allowed, format!("10 s with {least:.0} RU, not {allowed:.0}"));
        let allowed = (ten * MOST_IN_TEN).max(ten * (1.0 + EDGE_OF_TEN) + largest);
        must(most <= allowed, format!("10 s with {most:.0} RU, not {allowed:.0}"));
        let (_, most) = self.extremes(1.0, 0.0);
        let allowed = (budget * MOST_IN_ONE).max(budget * (1.0 + EDGE_OF_ONE) + largest);
        must(most <= allowed, format!("1 s with {most:.0} RU, not {allowed:.0}"));
        let throttled = self.spent.iter().filter(|spent| spent.price == 0.0).count();
        let share = ratio(throttled, self.spent.len());
        must(share < THROTTLED_MOST, format!("{throttled} of {} throttled", self.spent.len()));
        for (partition, wanted) in &self.wanted {
            let of = self.spent.iter().filter(|spent| spent.partition == *partition);
            let got: f64 = of.map(|spent| spent.price).sum();
            // The last documents are in flight, or wait behind one request of each partition.
            let edge = 2.0 * case.price(case.sizes.1);
            let allowed = wanted * LEAST_OF_SHARE - edge;
            must(got >= allowed, format!("partition {partition} got {got:.0} of {wanted:.0}"));
        }
        problems
    }

    /// The lowest and the highest use in any window of `window` seconds that starts at `from` or later.
    fn extremes(&self, window: f64, from: f64) -> (f64, f64) {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        let times: Vec<f64> = self.spent.iter().map(|spent| spent.at.as_secs_f64()).collect();
        let mut sum = 0.0;
        let mut last = 0;
        for (first, begin) in times.iter().enumerate() {
            while last < times.len() && times[last] <= begin + window {
                sum += self.spent[last].charge;
                last += 1;
            }
            if *begin >= from {
                most = most.max(sum);
                // The window with the lowest use starts right after this response.
                let next_is_inside = begin + window <= SECONDS - 0.1;
                if next_is_inside {
                    least = least.min(sum - self.spent[first].charge);
                }
            }
            sum -= self.spent[first].charge;
        }
        (least, most)
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    count(part) / count(whole.max(1))
}
