//! The end of a pipeline. Changes are committed at their log sequence number, in seconds.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// How far the clocks may be apart.
const APART: i64 = 10;

impl Bench {
    fn ending(names: &[&str], until: i64) -> Self {
        Self { until: Some(until), ..Self::new(names) }
    }

    fn clock(&self, seconds: i64) {
        self.source.clock.store(seconds, Relaxed);
    }

    /// Every sink has every change before the end that is due, and got none behind it.
    fn assert_ended(&self, until: i64) {
        for sink in &self.sinks {
            let lacks = sink.lacks(&self.source, until - 1);
            assert!(lacks.is_empty(), "{} lacks {lacks:?}", sink.name());
            let late: Vec<_> =
                sink.received().into_iter().filter(|(_, lsn)| *lsn >= until).collect();
            assert!(late.is_empty(), "{} got {late:?}", sink.name());
        }
    }

    fn received(&self) -> Vec<usize> {
        self.sinks.iter().map(|sink| sink.received().len()).collect()
    }
}

impl Running {
    async fn ended(mut self) -> PipelineEnd {
        let ended = tokio::time::timeout(Duration::from_hours(1), self.task.join_next()).await;
        ended.expect("it ends").expect("there is a task").unwrap()
    }

    async fn goes_on(&mut self, time: Duration) {
        let ended = tokio::time::timeout(time, self.task.join_next()).await;
        assert!(ended.is_err(), "it ended: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_before_the_end_is_delivered_and_a_later_run_goes_on_behind_it() {
    // A page has ten changes. Behind the last change, only the clock tells the end.
    for until in [1, 2, 10, 11, 12, 21, 29, 30, 31, 500] {
        // Pages that are larger than what is asked for never end where they should.
        for more in [0, 3] {
            let mut bench = Bench::ending(&["a", "b"], until);
            bench.source.more.store(more, Relaxed);
            bench.source.divide_at("7F");
            bench.change(0..30);
            bench.clock(until + APART);
            let running = bench.run();
            assert!(matches!(running.ended().await, PipelineEnd::Ended), "{until}");
            bench.assert_ended(until);
            let before = bench.received();
            for _ in 0..2 {
                assert!(matches!(bench.run().ended().await, PipelineEnd::Ended), "{until}");
                bench.assert_ended(until);
            }
            if more == 0 {
                assert_eq!(bench.received(), before, "{until}");
            }
            bench.until = None;
            let running = bench.run();
            bench.until_caught_up(&running).await;
            running.stop().await;
            bench.assert_right();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_end_goes_on_where_the_earlier_one_was() {
    let mut bench = Bench::ending(&["a"], 7);
    bench.change(0..30);
    bench.clock(1_000);
    assert!(matches!(bench.run().ended().await, PipelineEnd::Ended));
    bench.assert_ended(7);
    bench.until = Some(23);
    assert!(matches!(bench.run().ended().await, PipelineEnd::Ended));
    bench.assert_ended(23);
    assert_eq!(bench.sinks[0].repeated(), 0);
    // An earlier end takes nothing back.
    bench.until = Some(3);
    assert!(matches!(bench.run().ended().await, PipelineEnd::Ended));
    bench.assert_ended(23);
}

#[tokio::test(start_paused = true)]
async fn a_feed_range_without_a_later_change_ends_by_the_clock_and_not_before_clocks_may_differ() {
    let bench = Bench::ending(&["a"], 100);
    bench.source.divide_at("7F");
    bench.change(0..30);
    let mut running = bench.run();
    for clock in [0, 99, 100, 100 + APART - 1] {
        bench.clock(clock);
        running.goes_on(60 * SECOND).await;
        assert!(running.is_caught_up());
    }
    // The service's clock is behind.
    bench.change(30..40);
    bench.clock(100 + APART);
    assert!(matches!(running.ended().await, PipelineEnd::Ended));
    bench.assert_ended(100);
    assert_eq!(bench.received(), [40]);
}

#[tokio::test(start_paused = true)]
async fn a_later_change_ends_its_feed_range_whatever_the_clock_shows() {
    let bench = Bench::ending(&["a"], 20);
    bench.change(0..30);
    assert!(matches!(bench.run().ended().await, PipelineEnd::Ended));
    bench.assert_ended(20);
}

/// Without a proof it would end at the answer of a replica that lags.
#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_does_not_end_a_pipeline() {
    let bench = Bench::ending(&["a"], 100);
    bench.change(0..30);
    bench.clock(100 + APART);
    bench.source.lags.store(20, Relaxed);
    assert!(matches!(bench.run().ended().await, PipelineEnd::Ended));
    bench.assert_ended(100);
    assert_eq!(bench.source.lags.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_without_an_end_asks_for_no_proof_and_does_not_end() {
    let bench = Bench::new(&["a"]);
    bench.change(0..30);
    bench.clock(1_000);
    let mut running = bench.run();
    running.goes_on(600 * SECOND).await;
    assert_eq!(bench.source.proofs.load(Relaxed), 0);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_slowest_sink_is_waited_for() {
    for slow_sinks in [SlowSinks::FallBehind, SlowSinks::HoldAll] {
        let bench = Bench { slow_sinks, ..Bench::ending(&["well", "dead", "slow"], 1_500) };
        bench.sinks[1].be(Mood::Dead);
        bench.sinks[2].be(Mood::Slow(SECOND));
        bench.change(0..2_000);
        bench.clock(9_000);
        let mut running = bench.run();
        running.goes_on(Duration::from_mins(20)).await;
        // It is divided while one waits at its end.
        bench.source.divide_at("7F");
        running.goes_on(Duration::from_mins(5)).await;
        bench.all(Mood::Well);
        assert!(matches!(running.ended().await, PipelineEnd::Ended));
        bench.assert_ended(1_500);
    }
}

/// A sink that cannot go on does not keep the others from their end, and the end tells of it.
#[tokio::test(start_paused = true)]
async fn a_parked_sink_is_not_waited_for_and_is_told() {
    let bench = Bench::ending(&["well", "ill"], 500);
    let running = bench.run();
    bench.sinks[1].be(Mood::Dead);
    bench.change(0..20);
    bench.until_complete(0).await;
    sleep(5 * SECOND).await;
    running.stop().await;
    bench.source.forget_before(20);
    bench.sinks[1].be(Mood::Well);
    bench.change(0..600);
    assert!(matches!(bench.run().ended().await, PipelineEnd::Parked(_)));
    assert!(bench.sinks[0].lacks(&bench.source, 499).is_empty());
    assert!(bench.sinks[0].received().iter().all(|(_, lsn)| *lsn < 500));
}

/// What existed at the start is cut in the same way.
#[tokio::test(start_paused = true)]
async fn a_full_copy_ends_before_or_after_what_existed() {
    for until in [20, 40, 41, 60, 500] {
        let mut bench = Bench::ending(&["a"], until);
        bench.source.copies.store(true, Relaxed);
        bench.change(0..40);
        bench.source.forget_before(bench.source.head());
        // The first start, in which the place of the first change is noted.
        bench.until = None;
        bench.sinks[0].be(Mood::Dead);
        let running = bench.run();
        sleep(SECOND).await;
        running.crash().await;
        bench.sinks[0].be(Mood::Well);
        bench.change(100..140);
        bench.until = Some(until);
        bench.clock(until + APART);
        assert!(matches!(bench.run().ended().await, PipelineEnd::Ended), "{until}");
        bench.assert_ended(until);
    }
}

#[derive(Clone, Debug)]
enum Move {
    Change(u8, u64),
    Mood(usize, Mood),
    Wait(u16),
    Divide(u8),
    Lag(u8),
    Clock(u16),
    Stop,
    Crash,
}

fn a_move() -> impl Strategy<Value = Move> {
    let moods =
        prop_oneof![3 => Just(Mood::Well), 1 => Just(Mood::Dead), 1 => Just(Mood::Slow(SECOND))];
    prop_oneof![
        8 => (1_u8..30, any::<u64>()).prop_map(|(count, which)| Move::Change(count, which)),
        2 => (0_usize..2, moods).prop_map(|(sink, mood)| Move::Mood(sink, mood)),
        6 => (1_u16..60).prop_map(Move::Wait),
        2 => (60_u16..5_000).prop_map(Move::Wait),
        2 => (1_u8..250).prop_map(Move::Divide),
        2 => (1_u8..5).prop_map(Move::Lag),
        2 => (0_u16..300).prop_map(Move::Clock),
        1 => Just(Move::Stop),
        2 => Just(Move::Crash),
    ]
}

async fn play(moves: Vec<Move>, until: i64, more: u64) {
    let bench = Bench::ending(&["a", "b"], until);
    bench.source.more.store(more, Relaxed);
    let mut running = bench.run();
    for step in moves {
        match step {
            Move::Change(count, which) => {
                let documents = (0..u64::from(count)).map(|n| which.wrapping_add(n * n) % 50);
                documents.for_each(|document| bench.source.change(document));
            }
            Move::Mood(sink, mood) => bench.sinks[sink].be(mood),
            Move::Wait(ms) => sleep(Duration::from_millis(u64::from(ms))).await,
            Move::Divide(at) => bench.source.divide_at(&format!("{at:02X}")),
            Move::Lag(answers) => bench.source.lags.store(u64::from(answers), Relaxed),
            // The local clock is at most so far ahead.
            Move::Clock(at) => bench.clock(i64::from(at).min(bench.source.head() + APART)),
            Move::Stop => {
                running.stop().await;
                running = bench.run();
            }
            Move::Crash => {
                running.crash().await;
                running = bench.run();
            }
        }
    }
    bench.all(Mood::Well);
    while bench.source.head() < until {
        bench.source.change(7);
    }
    bench.clock(until + APART);
    assert!(matches!(running.ended().await, PipelineEnd::Ended));
    bench.assert_ended(until);
    let before = bench.received();
    assert!(matches!(bench.run().ended().await, PipelineEnd::Ended));
    if more == 0 {
        assert_eq!(bench.received(), before);
    }
}

/// A failure tells its steps, the shortest that fail; the seed is always the same.
#[test]
fn everything_before_the_end_and_nothing_else_arrives_in_every_schedule() {
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let schedule = (prop::collection::vec(a_move(), 1..25), 1_i64..200, 0_u64..3);
    let played = runner.run(&schedule, |(moves, until, more)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(play(moves, until, more.saturating_sub(1)));
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}
