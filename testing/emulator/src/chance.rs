//! Numbers from a seed: the same on every machine and in every version of this crate.

/// A small generator (`SplitMix64`). Library generators may change their values between releases;
/// a seed printed by a failing test must still mean the same documents a year later.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator for one thing among many, independent of the order they are asked for in.
    pub fn of(seed: u64, topic: u64, number: u64) -> Self {
        Self(mix(mix(mix(seed).wrapping_add(topic)).wrapping_add(number)))
    }

    /// Any 64-bit number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `end`, or 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The high half of the product is uniform enough for any `end` far below 2^64.
        let scaled = (u128::from(self.number()) * u128::from(end)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }

    /// A number from 0 to before 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn share(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True once in `times`, on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of the choices, of which there must be at least one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.index(choices.len())]
    }

    /// An index below `length`, or 0 when `length` is 0.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// The place of one choice in a list of weights; `None` when all of them are 0.
    pub fn weighted(&mut self, weights: &[u32]) -> Option<usize> {
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        if total == 0 {
            return None;
        }
        let mut left = self.below(total);
        weights.iter().position(|&weight| {
            let taken = left < u64::from(weight);
            left = left.saturating_sub(u64::from(weight));
            taken
        })
    }
}

/// Spreads every bit of the input over the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_numbers_forever() {
        // The published test vector of SplitMix64 for seed 1234567.
        let mut chance = Chance::new(1_234_567);
        assert_eq!(chance.number(), 6_457_827_717_110_365_317);
        assert_eq!(chance.number(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn weights_decide_how_often_a_choice_is_made() {
        let mut chance = Chance::new(7);
        let mut seen = [0_u32; 3];
        for _ in 0..10_000 {
            seen[chance.weighted(&[6, 0, 4]).unwrap()] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((5_700..6_300).contains(&seen[0]), "{seen:?}");
        assert_eq!(chance.weighted(&[0, 0]), None);
    }
}
