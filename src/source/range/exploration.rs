//! Random histories of feed ranges, played against the invariants of ARCHITECTURE.md.
//!
//! A history has one to three sinks and a container of one or more ranges. Pages arrive, writes end in
//! any order or never, readers are refused, positions are stored late or belong to another owner,
//! ranges are divided, pages wait for slow sinks, everything stops or crashes, at any moment. The
//! invariants are checked after every event. At the end the sinks work again, one of them later than the
//! others, and everything has to arrive.
//!
//! A failure names its seed. To play that history alone, with its events on the standard error:
//! `cargo test -p cosmos-bridge --lib -- exploration::replay --nocapture seed=94`.
#![allow(clippy::cast_possible_wrap, reason = "histories are short")]

mod actions;
mod checks;
mod machine;
mod random;
mod reader;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) use reader::{Entry, change};
use world::World;

/// Histories in one test run.
const HISTORIES: u64 = 20_000;

/// A fault that is planted between the state machine and the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Room of the shared reader is not handed back, once.
    LosesRoom,
    /// A position is stored before what is written up to there is safe.
    StoresEarly,
    /// The shared reader is not started again after a pause.
    NeverResumes,
}

/// What a history was about, to prove that histories reach what they are for.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    events: u64,
    fell_behind: u64,
    rejoined: u64,
    paused: u64,
    divided: u64,
    held_back: u64,
    lost: u64,
    stopped: u64,
    crashed: u64,
    parked: u64,
    stale_pages: u64,
    /// Pages that waited for a slow sink; and what happened while one did: the sink was too slow or
    /// failed, another one rejoined, or everything stopped.
    waited: u64,
    waited_out: u64,
    failed_waiting: u64,
    rejoined_waiting: u64,
    stopped_waiting: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.fell_behind += other.fell_behind;
        self.rejoined += other.rejoined;
        self.paused += other.paused;
        self.divided += other.divided;
        self.held_back += other.held_back;
        self.lost += other.lost;
        self.stopped += other.stopped;
        self.crashed += other.crashed;
        self.parked += other.parked;
        self.stale_pages += other.stale_pages;
        self.waited += other.waited;
        self.waited_out += other.waited_out;
        self.failed_waiting += other.failed_waiting;
        self.rejoined_waiting += other.rejoined_waiting;
        self.stopped_waiting += other.stopped_waiting;
    }
}

/// Plays the history of a seed; the error names the invariant that was broken.
fn play(seed: u64, fault: Fault, is_shown: bool) -> Result<Seen, String> {
    let played = catch_unwind(AssertUnwindSafe(|| World::new(seed, fault, is_shown).play()));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("it panicked: {}", text.unwrap_or("?")))
    })
}

#[test]
fn random_histories_keep_the_invariants() {
    let mut seen = Seen::default();
    for seed in 0..HISTORIES {
        match play(seed, Fault::None, false) {
            Ok(history) => seen.add(&history),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    // Histories have to get there.
    let Seen { fell_behind, rejoined, paused, divided, held_back, .. } = seen;
    let Seen { lost, stopped, crashed, parked, stale_pages, .. } = seen;
    let Seen { waited, waited_out, failed_waiting, rejoined_waiting, stopped_waiting, .. } = seen;
    let reached = [
        fell_behind,
        rejoined,
        paused,
        divided,
        held_back,
        lost,
        stopped,
        crashed,
        parked,
        stale_pages,
        waited,
        waited_out,
        failed_waiting,
        stopped_waiting,
    ];
    assert!(reached.iter().all(|count| *count > HISTORIES / 200), "{seen:?}");
    // Two sinks are slow in different ways.
    assert!(rejoined_waiting > HISTORIES / 2000, "{seen:?}");
}

/// The exploration finds what it is for.
#[test]
fn planted_faults_are_found() {
    for (fault, invariant) in [
        (Fault::LosesRoom, "room"),
        (Fault::StoresEarly, "stored before"),
        (Fault::NeverResumes, "does not end"),
    ] {
        let found = (0..HISTORIES)
            .find_map(|seed| play(seed, fault, false).err().map(|error| (seed, error)));
        let (seed, error) = found.unwrap_or_else(|| panic!("{fault:?} is not found"));
        assert!(error.contains(invariant), "{fault:?}, seed {seed}: {error}");
        assert!(seed < 1000, "{fault:?} takes {seed} histories");
    }
}

/// Plays the history that the argument `seed=..` names, or else the first one, and shows its events.
#[test]
fn replay() {
    let seed = std::env::args().find_map(|argument| argument.strip_prefix("seed=")?.parse().ok());
    play(seed.unwrap_or(0), Fault::None, seed.is_some()).unwrap();
}
