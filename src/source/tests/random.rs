//! Whatever order things happen in: no loss, order, bounds, and nobody waits for a dead sink.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// So many changes, of documents chosen by a number.
    Change(u8, u64),
    Mood(usize, Mood),
    Wait(u16),
    Divide(u8),
    Stop,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let mood = prop_oneof![
        3 => Just(Mood::Well),
        2 => Just(Mood::Dead),
        1 => (10_u64..2000).prop_map(|ms| Mood::Slow(Duration::from_millis(ms))),
    ];
    prop_oneof![
        6 => (any::<u8>(), any::<u64>()).prop_map(|(count, which)| Step::Change(count, which)),
        5 => (0_usize..3, mood).prop_map(|(sink, mood)| Step::Mood(sink, mood)),
        6 => (1_u16..20_000).prop_map(Step::Wait),
        1 => (1_u8..250).prop_map(Step::Divide),
        1 => Just(Step::Stop),
        1 => Just(Step::Crash),
    ]
}

async fn play(steps: Vec<Step>, newest_only: bool, dead: usize) {
    let bench = Bench::new(&["a", "b", "c"]);
    bench.source.newest_only.store(newest_only, Relaxed);
    let mut running = bench.run();
    for step in steps {
        match step {
            Step::Change(count, which) => {
                for n in 0..u64::from(count) {
                    bench.source.change(which.wrapping_add(n * n) % 97);
                }
            }
            Step::Mood(sink, mood) => bench.sinks[sink].be(mood),
            Step::Wait(ms) => sleep(Duration::from_millis(u64::from(ms))).await,
            Step::Divide(at) => bench.source.divide_at(&format!("{at:02X}")),
            Step::Stop => {
                running.stop().await;
                running = bench.run();
            }
            Step::Crash => {
                running.assert_bounded();
                running.crash().await;
                running = bench.run();
            }
        }
    }
    bench.all(Mood::Well);
    bench.sinks[dead].be(Mood::Dead);
    for sink in (0..3).filter(|sink| *sink != dead) {
        bench.until_complete(sink).await;
    }
    bench.all(Mood::Well);
    bench.until_caught_up(&running).await;
    running.assert_bounded();
    running.stop().await;
    bench.assert_right();
}

/// A failure tells its steps, the shortest that fail; the seed is always the same.
#[test]
fn sinks_may_be_slow_dead_and_well_in_any_order() {
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let steps = (prop::collection::vec(step(), 1..40), any::<bool>(), 0_usize..3);
    let played = runner.run(&steps, |(steps, newest_only, dead)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(steps, newest_only, dead));
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}
