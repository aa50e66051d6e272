//! Predicts the charges of requests, learned from the charges of earlier ones.

use std::collections::HashMap;

use cosmos_bridge_sink::RequestUnits;

/// The weight of a new observation once there are many. Charges of one class vary by 50 %; their mean must
/// not.
const WEIGHT_MIN: f64 = 0.05;

/// The factor for the first predictions for a container, which may be more expensive than usual: a prediction
/// that is too high is corrected by the response, one that is too low is already spent.
const CAUTION: f64 = 3.0;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Reads a page of the change feed.
    Page,
    /// Writes a document with any write strategy.
    Write,
    Delete,
}

/// A part of a request: a page, or one document of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub kind: Kind,
    /// The size of the documents as JSON text, as far as it is known before.
    pub bytes: usize,
}

impl Operation {
    /// Sizes double from class to class; all operations of a class are assumed to have the same charge.
    fn class(self) -> (Kind, u32) {
        (self.kind, self.bytes.max(1).ilog2())
    }

    /// The first prediction, in the order of magnitude that the service publishes: 1 RU for an empty page, 5 to
    /// 10 RU for writing 1 KB, and about a tenth of that for each further KB.
    fn first_guess(self) -> RequestUnits {
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let kilobytes = self.bytes as f64 / 1024.0;
        match self.kind {
            Kind::Page => 1.0 + 0.1 * kilobytes,
            Kind::Write => 8.0 * (1.0 + 0.1 * (kilobytes - 1.0).max(0.0)),
            Kind::Delete => 6.0 * (1.0 + 0.1 * (kilobytes - 1.0).max(0.0)),
        }
    }
}

/// The mean charge of each kind and size class, for one container.
#[derive(Debug, Default)]
pub(super) struct Charges {
    classes: HashMap<(Kind, u32), Mean>,
}

#[derive(Clone, Copy, Debug)]
struct Mean {
    charge: RequestUnits,
    seen: f64,
}

impl Charges {
    /// The predicted charge of a request with these operations.
    pub(super) fn predict(&self, operations: &[Operation]) -> RequestUnits {
        operations.iter().map(|operation| self.predict_one(*operation)).sum()
    }

    /// Learns from the charge of a request with these operations. Only for completed requests: a throttled one
    /// costs little, independent of its operations.
    pub(super) fn learn(&mut self, operations: &[Operation], charge: RequestUnits) {
        let predicted = self.predict(operations);
        if predicted <= 0.0 || charge <= 0.0 {
            return;
        }
        // The service returns the sum; each operation is assumed to be wrong by the same factor.
        let ratio = charge / predicted;
        let guesses: Vec<_> = operations.iter().map(|one| self.predict_one(*one)).collect();
        for (operation, guess) in operations.iter().zip(guesses) {
            let mean =
                self.classes.entry(operation.class()).or_insert(Mean { charge: guess, seen: 0.0 });
            mean.seen += 1.0;
            let weight = (1.0 / mean.seen).max(WEIGHT_MIN);
            mean.charge += weight * (guess * ratio - mean.charge);
        }
    }

    fn predict_one(&self, operation: Operation) -> RequestUnits {
        let (kind, class) = operation.class();
        if let Some(mean) = self.classes.get(&(kind, class)) {
            return mean.charge;
        }
        // The nearest known class, scaled by the ratio of the first predictions.
        let known = self.classes.iter().filter(|((other, _), _)| *other == kind);
        let nearest = known.min_by_key(|((_, other), _)| (other.abs_diff(class), *other));
        let guess = operation.first_guess();
        nearest.map_or(guess * CAUTION, |((_, other), mean)| {
            let there = Operation { kind, bytes: (1_usize << other) + (1_usize << other) / 2 };
            mean.charge * guess / there.first_guess()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Charges, Kind, Operation};

    fn write(bytes: usize) -> Operation {
        Operation { kind: Kind::Write, bytes }
    }

    #[test]
    fn what_is_learned_of_one_class_and_kind_is_kept_apart_and_scaled_where_nothing_is_known() {
        let mut charges = Charges::default();
        for _ in 0..100 {
            charges.learn(&[write(1500)], 30.0);
            charges.learn(&[Operation { kind: Kind::Delete, bytes: 1500 }], 3.0);
        }
        let of = |operation| charges.predict(&[operation]);
        assert!((of(write(1100)) - 30.0).abs() < 1e-6);
        assert!((of(Operation { kind: Kind::Delete, bytes: 1100 }) - 3.0).abs() < 1e-6);
        // 100 times as large by the published tenth per KB: about ten times the charge.
        let large = of(write(150_000));
        assert!((200.0..600.0).contains(&large), "{large}");
        assert!((of(Operation { kind: Kind::Page, bytes: 0 }) - super::CAUTION).abs() < 0.01);
    }

    #[test]
    fn a_batch_teaches_each_of_its_parts() {
        let mut charges = Charges::default();
        let batch = [write(300), write(300), write(30_000)];
        for _ in 0..200 {
            charges.learn(&batch, 90.0);
        }
        assert!((charges.predict(&batch) - 90.0).abs() < 0.5);
        assert!(charges.predict(&[write(300)]) * 3.0 < charges.predict(&[write(30_000)]));
    }

    #[test]
    fn the_mean_of_charges_that_vary_by_half_is_steady() {
        let mut charges = Charges::default();
        let mut worst: f64 = 0.0;
        for n in 0..2000_u32 {
            let varied = 10.0 * (0.5 + f64::from(n * 7919 % 1000) / 999.0);
            charges.learn(&[write(1000)], varied);
            if n > 100 {
                worst = worst.max((charges.predict(&[write(1000)]) - 10.0).abs());
            }
        }
        assert!(worst < 1.5, "{worst}");
    }

    #[test]
    fn a_refusal_that_costs_nothing_teaches_nothing() {
        let mut charges = Charges::default();
        charges.learn(&[write(1000)], 10.0);
        charges.learn(&[write(1000)], 0.0);
        assert!((charges.predict(&[write(1000)]) - 10.0).abs() < 1e-9);
    }
}
