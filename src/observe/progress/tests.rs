use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::super::lines::Lines;
use super::super::progress_sampler::ProgressSampler;
use super::super::{
    BudgetMeter, Direction, Meter, PipelineMeter, PipelineSinkMetrics, ReadActivity, ScriptedRange,
    SinkMeter, WriteActivity,
};
use super::log;
use super::text::{Size, display};
use crate::governor::{Governor, Kind, Operation, Settlement, Verdict, YieldPolicy};
use crate::model::{PartitionId, SinkProgress};
use crate::observe::Progress;

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// One pipeline and one sink, far from caught up.
struct Run {
    meter: Arc<Meter>,
    pipeline: Arc<PipelineMeter>,
    pipeline_sink: Arc<PipelineSinkMetrics>,
    sink: Arc<SinkMeter>,
}

impl Run {
    fn new() -> Self {
        let (pipeline, sink) = (PipelineMeter::new("p"), SinkMeter::new("copies"));
        let pipeline_sink = pipeline.add_sink("copies");
        let (pipeline, sink) = (Arc::new(pipeline), Arc::new(sink));
        let run = Self { meter: Arc::default(), pipeline, pipeline_sink, sink };
        run.meter.add_pipeline(Arc::clone(&run.pipeline));
        run.meter.add_sink(Arc::clone(&run.sink));
        let range = ScriptedRange::new().meter;
        range.start_lsn.store(0, Relaxed);
        range.head_lsn.store(1000, Relaxed);
        run.pipeline.replace_range(None, &[range]);
        run
    }

    fn budget(&self, direction: Direction, container: &str, rate: Option<f64>) -> Arc<BudgetMeter> {
        let governor = Arc::new(Governor::new(rate, YieldPolicy::Normal, 8));
        let container = container.to_owned();
        let budget = Arc::new(BudgetMeter { container, direction, governor });
        self.meter.add_budget(Arc::clone(&budget));
        budget
    }
}

/// The display on a wide terminal.
fn message(progress: &Progress) -> String {
    display(progress, Size { columns: 200, rows: 24 }).join("\n")
}

fn page() -> Vec<Operation> {
    vec![Operation { kind: Kind::Page, bytes: 1000 }]
}

async fn spend(budget: &BudgetMeter, charge: f64, throttled: u32) {
    let admission = budget.governor.admit(PartitionId(0), page()).await;
    let verdict = Verdict::Done;
    admission.settle(Settlement { charge, documents: 1, throttled, verdict });
}

#[tokio::test(start_paused = true)]
async fn a_line_shows_budgets_and_the_limit() {
    let lines = Lines::of(async {
        let run = Run::new();
        let source = run.budget(Direction::Read, "source/shop/orders", Some(400.0));
        let copies = run.budget(Direction::Write, "target/shop/copies", Some(3000.0));
        let others = run.budget(Direction::Write, "target/shop/others", Some(1000.0));
        run.pipeline.set_budget(Arc::clone(&source));
        run.sink.set_budget(Arc::clone(&copies));
        // The charges of the first requests are the predictions for the next ones.
        for (budget, charge) in [(&source, 4000.0), (&copies, 8000.0), (&others, 3000.0)] {
            spend(budget, charge, 1).await;
        }
        advance(TEN_SECONDS).await;
        let (began, mut sampler) = (Instant::now(), ProgressSampler::new(Arc::clone(&run.meter)));
        spend(&source, 3954.4, 0).await;
        spend(&copies, 9000.0, 2).await;
        spend(&others, 3000.0, 1).await;
        run.pipeline_sink.delivered.inc_by(1234);
        // The next page waits until the last one is paid.
        let page = source.governor.admit(PartitionId(0), page());
        let admission = run.pipeline.time_spent.during(ReadActivity::Budget, page).await;
        advance(TEN_SECONDS.saturating_sub(began.elapsed())).await;
        let progress = sampler.sample();
        drop(admission);
        log(&progress);
        tracing::info!("{}", message(&progress));
    });
    insta::assert_snapshot!(lines.await, @r#"
    DEBUG budget container="source/shop/orders" direction="read" ru_per_second=395.4 budget=400.0 requests=1 throttled=0 expected_to_charged=1.01
    DEBUG budget container="target/shop/copies" direction="write" ru_per_second=900.0 budget=3000.0 requests=1 throttled=2 expected_to_charged=0.89
    DEBUG budget container="target/shop/others" direction="write" ru_per_second=300.0 budget=1000.0 requests=1 throttled=1 expected_to_charged=1.0
     INFO progress read=0 delivered=1234 filtered=0 dead_letters=0 dead_letters_stored=0 per_second=123.4 lag_seconds=20 source_ru_per_second=395.4 source_budget=400.0 target_ru_per_second=1200.0 target_budget=4000.0 throttled=6 expected_to_charged=0.94 held_back_by="the RU budget for reading source/shop/orders" ranges=1 caught_up=0
     INFO [>                               ]   0% of 1,000 changes  1,234 documents  123/s  lag 20 s
    held back by the RU budget for reading source/shop/orders  RU/s read 395 of 400, written 1200 of 4000
    "#);
}

#[tokio::test(start_paused = true)]
async fn one_unlimited_budget_leaves_no_sum() {
    let run = Run::new();
    let source = run.budget(Direction::Read, "source/shop/orders", None);
    run.budget(Direction::Write, "target/shop/copies", Some(3000.0));
    run.budget(Direction::Write, "target/shop/others", None);
    let mut sampler = ProgressSampler::new(Arc::clone(&run.meter));
    spend(&source, 4000.0, 0).await;
    let _write = run.sink.time_spent.start(WriteActivity::Request);
    let _room = run.pipeline.time_spent.start(ReadActivity::Room);
    advance(TEN_SECONDS).await;
    insta::assert_snapshot!(message(&sampler.sample()), @r"
    [>                               ]   0% of 1,000 changes  0 documents  0/s  lag 10 s
    held back by slow responses of sink copies  RU/s read 400, written 0
    ");
}

#[tokio::test(start_paused = true)]
async fn without_governors_the_counters_of_pipelines_and_sinks_are_used() {
    let run = Run::new();
    let mut sampler = ProgressSampler::new(Arc::clone(&run.meter));
    run.pipeline.count_request(500.0);
    advance(TEN_SECONDS).await;
    insta::assert_snapshot!(message(&sampler.sample()), @r"
    [>                               ]   0% of 1,000 changes  0 documents  0/s  lag 10 s
    RU/s read 50, written 0
    ");
}

#[tokio::test(start_paused = true)]
async fn rates_are_computed_over_seconds_and_totals_are_of_now() {
    let run = Run::new();
    let mut sampler = ProgressSampler::new(Arc::clone(&run.meter));
    let mut rates = Vec::new();
    for _ in 0..10 {
        run.pipeline_sink.delivered.inc_by(100);
        advance(Duration::from_millis(500)).await;
        let progress = sampler.sample();
        rates.push((progress.totals.delivered, progress.rates.map(|rates| rates.delivered)));
    }
    let expected = [None; 3].into_iter().chain([Some(200.0); 7]);
    let expected: Vec<_> = (1..).map(|samples| samples * 100).zip(expected).collect();
    assert_eq!(rates, expected);
}

/// Rows: how much of 1000 log sequence numbers is stored after ten seconds, whether all writes fail since the
/// start, and the remaining seconds. There is lag in all of them.
#[tokio::test(start_paused = true)]
async fn with_lag_the_remaining_time_is_never_zero_and_unknown_while_a_sink_is_down() {
    for (stored, fails, expected) in [
        (Some(500), false, Some(10)),
        (Some(999), false, Some(1)),
        (Some(500), true, None),
        (Some(999), true, None),
        (Some(1000), false, None),
        (None, false, None),
    ] {
        let run = Run::new();
        let range = ScriptedRange::new();
        range.meter.start_lsn.store(0, Relaxed);
        range.meter.head_lsn.store(1000, Relaxed);
        run.pipeline.replace_range(run.pipeline.ranges().first(), &[Arc::clone(&range.meter)]);
        let mut sampler = ProgressSampler::new(Arc::clone(&run.meter));
        if fails {
            run.sink.write_failures.failed("no answer");
        }
        advance(TEN_SECONDS).await;
        range.sink(SinkProgress { stored_lsn: stored, ..SinkProgress::default() });
        let progress = sampler.sample();
        let remaining = progress.remaining.map(|left| left.as_secs_f64());
        let case = format!("{stored:?}, {fails}: {progress:?}");
        assert!(progress.totals.lag_seconds > 0, "{case}");
        assert_eq!(remaining, expected.map(f64::from), "{case}");
    }
}
