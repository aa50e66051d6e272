//! The history of the source is lost: what exists is copied again. Each sink ends with every document that the source
//! has, in every order of changes, losses, faults, stops and crashes. The deletes that are missed are those of a sweep.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::full_copy::{Step, play, step};
use super::*;

impl Bench {
    /// Whether each of the first sinks has the newest version of each document that exists.
    fn has_all(&self, sinks: usize) -> bool {
        let exists = self.source.existing(i64::MAX);
        self.sinks[..sinks].iter().all(|sink| {
            let has: HashMap<u64, i64> = sink.received().into_iter().collect();
            exists.iter().all(|entry| has.get(&entry.document) == Some(&entry.lsn))
        })
    }

    async fn until_all(&self, running: &Running, sinks: usize) {
        eventually("the sinks have all that exists", || self.has_all(sinks)).await;
        let is_at_rest = || running.is_caught_up() && running.behind().is_empty();
        eventually("all are caught up", is_at_rest).await;
        assert!(self.has_all(sinks));
    }
}

/// A failure tells its steps, the shortest that fail; the seed is always the same.
#[test]
fn every_document_arrives_whenever_the_history_is_lost() {
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let slow_sinks = prop_oneof![3 => Just(SlowSinks::FallBehind), 1 => Just(SlowSinks::HoldAll)];
    let step = prop_oneof![10 => step(), 1 => Just(Step::Lose)];
    let schedule = (prop::collection::vec(step, 1..30), 0_u64..4, slow_sinks);
    let played = runner.run(&schedule, |(steps, rounds, slow_sinks)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let bench =
                Bench { slow_sinks, resyncs: true, ..Bench::in_use(&["a", "b", "c"], rounds) };
            let (running, sinks) = play(&bench, steps).await;
            bench.until_all(&running, sinks).await;
            running.stop().await;
        });
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}

/// A sink that is down does not keep the others from going on after a loss.
#[tokio::test(start_paused = true)]
async fn a_dead_sink_does_not_hold_up_the_copy_of_the_others() {
    let bench = Bench { resyncs: true, ..Bench::in_use(&["a", "b"], 2) };
    let running = bench.run();
    bench.until_all(&running, 2).await;
    bench.sinks[0].be(Mood::Dead);
    bench.change(0..100);
    sleep(Duration::from_secs(20)).await;
    bench.source.forget_before(bench.source.head());
    bench.change(0..10);
    eventually("the other sink has all", || {
        let has: HashMap<u64, i64> = bench.sinks[1].received().into_iter().collect();
        bench.source.existing(i64::MAX).iter().all(|e| has.get(&e.document) == Some(&e.lsn))
    })
    .await;
    bench.sinks[0].be(Mood::Well);
    bench.until_all(&running, 2).await;
    running.stop().await;
}
