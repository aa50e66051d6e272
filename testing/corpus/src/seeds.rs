//! Seeds of random tests: how many, and which one to replay.

/// The seed of one random input. It is printed if the test panics while it exists.
#[derive(Debug)]
pub struct Seed(pub u64);

/// The seeds below `count`, or the one that `COSMOS_BRIDGE_SEED` names.
pub fn seeds(count: u64) -> impl Iterator<Item = Seed> {
    let range = replayed().map_or(0..count, |seed| seed..seed.saturating_add(1));
    range.map(Seed)
}

/// The number of random inputs: `usual`, or as `COSMOS_BRIDGE_MUTATIONS` says.
pub fn count(usual: u64) -> u64 {
    number("COSMOS_BRIDGE_MUTATIONS").unwrap_or(usual)
}

/// The only seed that is run, if there is one.
pub(crate) fn replayed() -> Option<u64> {
    number("COSMOS_BRIDGE_SEED")
}

#[expect(clippy::disallowed_methods, reason = "the size of a test, not configuration")]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "shown by the test runner when the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with COSMOS_BRIDGE_SEED={}", self.0);
        }
    }
}
