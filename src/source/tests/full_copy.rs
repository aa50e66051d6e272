//! What existed, and then every change, deletes too. Each sink ends with what the source has, in every order of
//! changes, faults, stops and crashes.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

pub(super) const DOCUMENTS: u64 = 40;

/// What may happen while a container is copied.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Changes documents chosen by a number, this many times.
    Change(u8, u64),
    /// Deletes them; those that are changed later are created again.
    Delete(u8, u64),
    Mood(usize, Mood),
    Wait(u16),
    Divide(u8),
    /// The number of answers from replicas that lag.
    Lag(u8),
    Stop,
    Crash,
    /// From now on with one sink more.
    NewSink,
    /// The service has the history of now and no more.
    Lose,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![3 => Just(Mood::Well), 1 => Just(Mood::Dead)];
    prop_oneof![
        6 => (1_u8..20, any::<u64>()).prop_map(|(count, which)| Step::Change(count, which)),
        6 => (1_u8..20, any::<u64>()).prop_map(|(count, which)| Step::Delete(count, which)),
        2 => (0_usize..3, mood).prop_map(|(sink, mood)| Step::Mood(sink, mood)),
        8 => (1_u16..60).prop_map(Step::Wait),
        1 => (60_u16..5_000).prop_map(Step::Wait),
        1 => (1_u8..250).prop_map(Step::Divide),
        3 => (1_u8..5).prop_map(Step::Lag),
        1 => Just(Step::Stop),
        3 => Just(Step::Crash),
        2 => Just(Step::NewSink),
    ]
}

fn chosen(count: u8, which: u64) -> impl Iterator<Item = u64> {
    (0..u64::from(count)).map(move |n| which.wrapping_add(n * n) % DOCUMENTS)
}

impl Bench {
    /// A container that has been in use for this many rounds, of which the service serves changes from now
    /// on.
    pub(super) fn in_use(names: &[&str], rounds: u64) -> Self {
        let bench = Self::new(names);
        bench.source.copies.store(true, Relaxed);
        bench.change(0..5);
        for round in 0..rounds {
            bench.change(0..DOCUMENTS - round * 5);
            (0..DOCUMENTS).filter(|d| d % 7 == round).for_each(|d| bench.source.delete(d));
        }
        bench.source.forget_before(bench.source.head());
        bench
    }

    /// Whether each of the first sinks has what the source has, and no more.
    fn is_equal(&self, sinks: usize) -> bool {
        let exists: HashMap<u64, i64> =
            self.source.existing(i64::MAX).iter().map(|e| (e.document, e.lsn)).collect();
        let deletes: BTreeSet<i64> =
            self.source.entries().iter().filter(|e| e.is_delete).map(|e| e.lsn).collect();
        self.sinks[..sinks].iter().all(|sink| {
            let mut has: HashMap<u64, i64> = sink.received().into_iter().collect();
            has.retain(|_, lsn| !deletes.contains(lsn));
            has == exists
        })
    }

    /// What came for the first time is newer than what came before of the same document.
    fn assert_in_order(&self) {
        for sink in &self.sinks {
            let (mut last, mut seen) = (HashMap::new(), BTreeSet::new());
            for (document, lsn) in sink.received() {
                let is_new = seen.insert((document, lsn));
                let before = last.insert(document, lsn).unwrap_or(0);
                assert!(!is_new || lsn > before, "{}: d-{document} at {lsn}", sink.name());
            }
        }
    }

    async fn until_equal(&self, running: &Running) {
        let sinks = running.pipeline.sinks.len();
        eventually("source and target are equal", || self.is_equal(sinks)).await;
        // And it stays so once one reader reads for all.
        let is_at_rest = || running.is_caught_up() && running.behind().is_empty();
        eventually("all are caught up", is_at_rest).await;
        assert!(self.is_equal(sinks));
    }
}

/// Plays the steps with one of three sinks at first. Returns how many there are at the end, all well.
pub(super) async fn play(bench: &Bench, steps: Vec<Step>) -> (Running, usize) {
    let mut sinks = 1;
    let mut running = bench.run_with(sinks);
    for step in steps {
        match step {
            Step::Change(count, which) => {
                chosen(count, which).for_each(|document| bench.source.change(document));
            }
            Step::Delete(count, which) => {
                chosen(count, which).for_each(|document| bench.source.delete(document));
            }
            Step::Mood(sink, mood) => bench.sinks[sink].be(mood),
            Step::Wait(ms) => sleep(Duration::from_millis(u64::from(ms))).await,
            Step::Divide(at) => bench.source.divide_at(&format!("{at:02X}")),
            Step::Lose => bench.source.forget_before(bench.source.head()),
            Step::Lag(answers) => bench.source.lags.store(u64::from(answers), Relaxed),
            Step::Stop | Step::NewSink | Step::Crash => {
                if matches!(step, Step::Crash) {
                    running.crash().await;
                } else {
                    running.stop().await;
                }
                if matches!(step, Step::NewSink) {
                    sinks = bench.sinks.len().min(sinks + 1);
                }
                running = bench.run_with(sinks);
            }
        }
    }
    bench.all(Mood::Well);
    (running, sinks)
}

/// A failure tells its steps, the shortest that fail; the seed is always the same.
#[test]
fn the_target_ends_as_the_source_is_in_every_schedule() {
    let config = Config { cases: 10_000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    // Within a window of each other, all sinks share a reader from the start.
    let slow_sinks = prop_oneof![3 => Just(SlowSinks::FallBehind), 1 => Just(SlowSinks::HoldAll)];
    let schedule = (prop::collection::vec(step(), 1..30), 0_u64..4, slow_sinks);
    let played = runner.run(&schedule, |(steps, rounds, slow_sinks)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let bench = Bench { slow_sinks, ..Bench::in_use(&["a", "b", "c"], rounds) };
            let (running, _) = play(&bench, steps).await;
            bench.until_equal(&running).await;
            running.stop().await;
            bench.assert_in_order();
        });
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}

/// A crash repeats what was not stored: the copy of what exists does not begin again.
#[tokio::test(start_paused = true)]
async fn a_crash_repeats_no_more_than_a_window_of_what_exists() {
    let bench = Bench::in_use(&["a"], 3);
    bench.change(1_000..3_000);
    bench.source.forget_before(bench.source.head());
    for _ in 0..20 {
        let running = bench.run();
        sleep(Duration::from_millis(300)).await;
        running.crash().await;
    }
    let repeated = bench.sinks[0].repeated();
    assert!(repeated <= 20 * WINDOW, "{repeated}");
    let running = bench.run();
    bench.until_equal(&running).await;
    running.stop().await;
}

/// Without the check of what a replica has, what it still has would stay for ever.
#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_restores_no_deleted_document() {
    let bench = Bench::in_use(&["a"], 3);
    bench.source.lags.store(3, Relaxed);
    let running = bench.run();
    bench.until_equal(&running).await;
    running.stop().await;
}
