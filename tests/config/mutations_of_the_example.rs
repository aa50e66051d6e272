//! Random mistakes: reading ends soon, without a panic, and each message names its place.

use std::time::Duration;

use cosmos_bridge::config::parse;
use cosmos_bridge_corpus::{Seed, seeds};
use tokio::time::Instant;

use crate::example::folder;
use crate::messages::{EXAMPLE, everything};
use crate::mutations::{Mutations, count};

/// Longer than any of them takes on a busy machine; an end that never comes is met first by the limit of
/// the test command.
const LONGEST: Duration = Duration::from_secs(20);

#[test]
fn every_message_about_a_random_mistake_names_its_place() {
    let (whole, folder) = (everything(), folder());
    assert!(parse("config.toml", EXAMPLE, folder.path()).is_ok());
    let (mut tried, mut refused, mut problems) = (0, 0, 0);
    for seed in seeds(count()) {
        let Seed(n) = seed;
        tried += 1;
        let text = Mutations::new(&seed).of(if n % 2 == 0 { EXAMPLE } else { &whole });
        let began = Instant::now();
        let read = parse("config.toml", &text, folder.path());
        assert!(began.elapsed() < LONGEST, "{n} took {:?}", began.elapsed());
        let Err(found) = read else { continue };
        refused += 1;
        assert!(!found.problems.is_empty(), "{n}");
        for problem in found.problems {
            problems += 1;
            let has_place = problem.line.is_some() || !problem.key.is_empty();
            assert!(has_place, "{n}: {problem:?}\n{text}");
            assert!(!problem.message.is_empty(), "{n}");
        }
    }
    announce(&format!("{refused} of {tried} refused, with {problems} messages"));
    // Not where one seed is replayed.
    assert!(tried == 1 || (refused > tried / 2 && refused < tried), "{refused}");
}

/// Prints a line that the test runner shows if the test fails.
#[expect(clippy::print_stderr, reason = "shown by the test runner when the test fails")]
fn announce(text: &str) {
    eprintln!("{text}");
}
