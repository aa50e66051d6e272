//! Charges that vary, so that a client cannot rely on knowing what a request will cost.

use std::sync::{Mutex, PoisonError};

use crate::answer::Answer;
use crate::chance::Chance;

/// The factors of one container's charges: a sequence that depends on the container's name alone.
#[derive(Debug)]
pub struct Charges {
    topic: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Factors are uniform in 1 plus or minus this; none: always 1.
    variation: Option<f64>,
    drawn: u64,
}

impl Charges {
    /// Exact charges, until a variation is set.
    pub fn new(database: &str, id: &str) -> Self {
        // FNV-1a: the same name must mean the same factors in every version.
        let bytes = database.bytes().chain([b'/']).chain(id.bytes());
        let topic = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        Self { topic, state: Mutex::default() }
    }

    pub fn variation(&self) -> Option<f64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).variation
    }

    /// Varies from here on, from the first factor.
    pub fn vary(&self, variation: Option<f64>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { variation, drawn: 0 };
    }

    /// The next factor.
    pub fn factor(&self) -> f64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(variation) = state.variation else { return 1.0 };
        state.drawn += 1;
        let share = Chance::of(0, self.topic, state.drawn).share();
        1.0 + variation * (2.0 * share - 1.0)
    }

    /// The answer with its charge multiplied by the next factor.
    #[must_use]
    pub fn applied_to(&self, mut answer: Answer) -> Answer {
        answer.charge *= self.factor();
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(database: &str, id: &str, variation: Option<f64>) -> Vec<f64> {
        let charges = Charges::new(database, id);
        charges.vary(variation);
        (0..1000).map(|_| charges.factor()).collect()
    }

    #[test]
    fn factors_are_spread_over_their_range_and_are_those_of_the_name() {
        for variation in [0.1, 0.5, 0.99] {
            let factors = factors("shop", "orders", Some(variation));
            let (low, high) = (1.0 - variation, 1.0 + variation);
            assert!(factors.iter().all(|factor| (low..high).contains(factor)));
            assert!(factors.iter().any(|factor| *factor < 1.0 - 0.9 * variation));
            assert!(factors.iter().any(|factor| *factor > 1.0 + 0.9 * variation));
            let mean = factors.iter().sum::<f64>() / 1000.0;
            assert!((mean - 1.0).abs() < 0.1 * variation, "{mean}");
        }
        let orders = factors("shop", "orders", Some(0.5));
        assert_eq!(orders, factors("shop", "orders", Some(0.5)));
        assert_ne!(orders, factors("shop", "copies", Some(0.5)));
        assert!(
            factors("shop", "orders", None)
                .iter()
                .all(|factor| factor.to_bits() == 1.0_f64.to_bits())
        );
    }
}
