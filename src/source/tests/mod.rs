//! Slow, dead and recovering sinks, with a scripted source and a scripted clock.

mod backlog;
mod disk;
mod full_copy;
mod ledger;
mod letters;
mod liveness;
mod random;
mod resync;
mod shop;
mod stories;
mod until;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cosmos_bridge_sink::Sink;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::disk::MemoryState;
use self::shop::{Mood, ScriptedFeeds, ScriptedSink, Source};
use super::{Pipeline, PipelineEnd, PipelineSettings, PollLimits, Ports, run};
use crate::config::{DeadLetters, Deletes, LetterLimit, Route, SlowSinks, Start};
use crate::deliver::Delivery;
use crate::governor::{Governor, YieldPolicy};
use crate::observe::{LedgerStatus, PipelineMeter, PipelineSinkMetrics};
use crate::route::{Router, Target, TargetKey};
use crate::state::{DeadLetterStore, PositionStore};
use tokio_util::sync::CancellationToken;

const WINDOW: usize = 40;
const SPOOL: usize = 128 * 1024;
/// About what one change takes, and what the largest page takes.
const PAGE: usize = 10 * 1310;

/// A source, two sinks or more, and a bridge that runs, stops and crashes between them.
struct Bench {
    source: Arc<Source>,
    state: Arc<MemoryState>,
    sinks: Vec<Arc<ScriptedSink>>,
    start: Start,
    slow_sinks: SlowSinks,
    /// Bytes; half of it is read ahead.
    spool: usize,
    /// The expression of the routes to all sinks but the first.
    jq: Option<&'static str>,
    /// The end of the pipeline, in seconds.
    until: Option<i64>,
    /// What exists is copied again where the history is lost.
    resyncs: bool,
}

/// A bridge that runs.
struct Running {
    pipeline: Arc<Pipeline>,
    follows: Vec<Arc<PipelineSinkMetrics>>,
    stop: CancellationToken,
    task: JoinSet<PipelineEnd>,
}

impl Bench {
    fn new(names: &[&str]) -> Self {
        let (source, state) = (Arc::<Source>::default(), Arc::<MemoryState>::default());
        let sinks = names.iter().map(|name| ScriptedSink::new(name, &source, &state, WINDOW));
        let sinks: Vec<_> = sinks.collect();
        for sink in &sinks {
            state.watch(sink, &source);
        }
        let slow_sinks = SlowSinks::FallBehind;
        let (start, jq, until) = (Start::Beginning, None, None);
        let resyncs = false;
        Self { source, state, sinks, start, slow_sinks, spool: SPOOL, jq, until, resyncs }
    }

    fn run(&self) -> Running {
        self.run_with(self.sinks.len())
    }

    /// Runs with the first `count` sinks.
    fn run_with(&self, count: usize) -> Running {
        self.start(count, false)
    }

    /// Runs as if the run ended once all is caught up.
    fn run_to_the_end(&self) -> Running {
        self.start(self.sinks.len(), true)
    }

    fn start(&self, count: usize, proves_end: bool) -> Running {
        let sinks = &self.sinks[..count];
        // The service serves all versions from "now" on, and nothing before but what exists.
        let all_versions = self.start == Start::Now || self.source.copies.load(Relaxed);
        self.source.all_versions.store(all_versions, Relaxed);
        let stop = CancellationToken::new();
        let meter = Arc::new(PipelineMeter::new("orders"));
        let governor = || Arc::new(Governor::new(None, YieldPolicy::Normal, 100));
        let delivery = |sink: &Arc<ScriptedSink>| {
            let sink = Arc::clone(sink) as Arc<dyn Sink>;
            Arc::new(Delivery::new(sink, governor(), None))
        };
        let settings = PipelineSettings {
            name: "orders".to_owned(),
            start: self.start.clone(),
            source_key_paths: Vec::new(),
            slow_sinks: self.slow_sinks,
            deletes: Deletes::All,
            dead_letters: DeadLetters { limit: LetterLimit::Unlimited, of_at_least: 1 },
            window: WINDOW,
            checkpoint_interval: Duration::from_secs(1),
            stop_grace: Duration::from_secs(5),
            polling: PollLimits { interval: Duration::from_secs(1), idle_budget: 32.0 },
            history: None,
            resyncs: self.resyncs,
            read_ahead: self.spool / 2,
            buffer: self.spool,
            until: self.until.map(|until| Timestamp::from_second(until).unwrap()),
        };
        let source = Arc::clone(&self.source);
        let ports = Ports {
            feeds: Arc::new(ScriptedFeeds(Arc::clone(&self.source))),
            positions: Arc::clone(&self.state) as Arc<dyn PositionStore>,
            dead_letters: Arc::clone(&self.state) as Arc<dyn DeadLetterStore>,
            governor: governor(),
            traces: None,
            clock: Arc::new(move || Timestamp::from_second(source.clock.load(Relaxed)).unwrap()),
            sweeps: Vec::new(),
            stop: stop.clone(),
        };
        let deliveries = sinks.iter().map(delivery).collect();
        let router = Arc::new(router(sinks, self.jq));
        let pipeline = Pipeline::new(settings, ports, meter, router, deliveries);
        if proves_end {
            pipeline.prove_end();
        }
        let pipeline = Arc::new(pipeline);
        let follows = pipeline.meter.sinks();
        let mut task = JoinSet::new();
        let running = Arc::clone(&pipeline);
        task.spawn(async move { run(running).await.unwrap() });
        Running { pipeline, follows, stop, task }
    }

    fn all(&self, mood: Mood) {
        for sink in &self.sinks {
            sink.be(mood);
        }
    }

    fn change(&self, documents: std::ops::Range<u64>) {
        documents.for_each(|document| self.source.change(document));
    }

    /// Whether a sink has everything.
    fn is_complete(&self, sink: usize) -> bool {
        self.sinks[sink].lacks(&self.source, i64::MAX).is_empty()
    }

    /// Waits until everything is everywhere, and one reader reads for all.
    async fn until_caught_up(&self, running: &Running) {
        eventually("all are caught up", || {
            let sinks = running.pipeline.sinks.len();
            (0..sinks).all(|sink| self.is_complete(sink))
                && running.is_caught_up()
                && running.behind().is_empty()
        })
        .await;
    }

    async fn until_complete(&self, sink: usize) {
        let name = self.sinks[sink].name().to_owned();
        eventually(&format!("{name} has everything"), || self.is_complete(sink)).await;
    }

    /// What became of the changes that were read for a sink: none is missing or in flight, and what the metrics
    /// say of all runs is what is stored.
    fn assert_balanced(&self, running: &Running) {
        for (sink, meter) in self.sinks.iter().zip(&running.follows) {
            let LedgerStatus { ledger, in_flight, missing } = meter.ledger.status();
            assert_eq!((in_flight, missing), (0, 0), "{}: {ledger:?}", sink.name());
            assert_eq!(ledger, self.state.ledger(sink.name()), "{}", sink.name());
        }
    }

    /// Everything arrived everywhere, and nothing old came after something new but for what was
    /// repeated in order: the last time that each document came, it came as it is.
    fn assert_right(&self) {
        for (number, sink) in self.sinks.iter().enumerate() {
            assert!(self.is_complete(number), "{} lacks something", sink.name());
            let (mut last, mut seen) = (HashMap::new(), BTreeSet::new());
            for (document, lsn) in sink.received() {
                let is_new = seen.insert((document, lsn));
                let before = last.insert(document, lsn).unwrap_or(0);
                assert!(!is_new || lsn > before, "{}: d-{document} out of order", sink.name());
            }
            for entry in self.source.due() {
                assert!(last[&entry.document] >= entry.lsn, "{}: {entry:?}", sink.name());
            }
        }
    }
}

impl Running {
    async fn stop(mut self) -> PipelineEnd {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_mins(1), self.task.join_next()).await;
        ended.expect("it stops").expect("there is a task").unwrap()
    }

    /// Ends at once, with whatever is under way.
    async fn crash(mut self) {
        self.task.shutdown().await;
    }

    fn is_caught_up(&self) -> bool {
        *self.pipeline.caught_up().borrow()
    }

    fn behind(&self) -> Vec<String> {
        self.pipeline.meter.stragglers(0).into_iter().map(|straggler| straggler.sink).collect()
    }

    fn reread(&self, sink: usize) -> u64 {
        self.follows[sink].reread.get()
    }

    /// No sink ever held more than it may, but for a page: the size of the first is unknown. And but for what
    /// the changes of its own reader take beside their documents, which is two thirds of these small ones: the memory of
    /// that reader, a quarter of the limit, is counted in documents.
    fn assert_bounded(&self) {
        for (follow, sink) in self.follows.iter().zip(&self.pipeline.sinks) {
            let (most, limit) = (follow.max_buffered(), sink.buffer.bytes());
            let most_allowed = limit + PAGE + limit / 4 * 2 / 3;
            assert!(most <= most_allowed, "{} held {most} of {limit} bytes", follow.sink);
        }
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_hours(1);
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Everything to every sink, to all but the first through `jq`.
fn router(sinks: &[Arc<ScriptedSink>], jq: Option<&str>) -> Router {
    let route = |(number, sink): (usize, &Arc<ScriptedSink>)| Route {
        to: sink.name().to_owned(),
        filter: None,
        jq: jq.filter(|_| number > 0).map(str::to_owned),
        include: Vec::new(),
        exclude: Vec::new(),
        rename: Vec::new(),
        set: Vec::new(),
        mask: Vec::new(),
        partition_key: Vec::new(),
        id: None,
        moves: false,
        snapshot: true,
        soft_delete: None,
    };
    let routes: Vec<_> = sinks.iter().enumerate().map(route).collect();
    let target = |name: &str| {
        let sink = sinks.iter().position(|sink| sink.name() == name)?;
        Some(Target { sink, key: TargetKey::Free, source_field: None, is_mirrored: false })
    };
    Router::new(&routes, target, |_| None).unwrap()
}
