//! Sends a part of a pipeline's data again: counts it, sends it, and then what has changed meanwhile.
//!
//! Between the moment when a document is read and the moment when it is written, the running bridge may write a later
//! version, or delete it; the write would undo that. So the changes of what was sent are read too, from a place in the
//! feed that was noted before, and are written in their order, until there are none. Targets that recognise older
//! versions need that for deletes alone, and events do not need it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::RunError;
use super::build::{PipelineBuilder, PipelineParts};
use super::closing::close_sinks;
use super::loops::refuse_loops;
use super::mirrors::MirrorError;
use crate::config::{self, Config, Filter, LetterLimit, Mode, OnLostHistory, Start};
use crate::cosmos::{Connections, ContainerFeeds};
use crate::deliver::Delivery;
use crate::governor::{Governor, YieldPolicy};
use crate::observe::{Meter, PipelineMeter};
use crate::route::{Condition, Router};
use crate::source::{
    self, Pipeline, PipelineEnd, PipelineError, PipelineSettings, Ports, Refusals, SelectedFeeds,
    Selection, SentDocuments, Tally, Wanted,
};
use crate::state::{SqliteState, compare_targets};
use crate::throughput::BudgetTask;

/// What is sent again.
#[derive(Clone, Debug)]
pub struct BackfillRequest {
    /// The name of a pipeline of the configuration.
    pub pipeline: String,
    /// A sink of its routes; all of them if there is none.
    pub sink: Option<String>,
    /// What was committed at this time or later.
    pub from: Option<Timestamp>,
    /// What was committed before this time.
    pub to: Option<Timestamp>,
    pub condition: Option<Filter>,
}

/// How reading and writing ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassEnd {
    Complete,
    /// A stop was asked for.
    Stopped,
    /// More documents cannot be written than the pipeline allows.
    TooMany,
}

/// What would be sent to one sink.
#[derive(Clone, Debug)]
pub struct Counted {
    pub sink: String,
    pub documents: u64,
    pub bytes: u64,
}

/// How far a backfill is.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackfillProgress {
    /// Documents that were read, and those that were selected, by the count or else by the sending.
    pub read: u64,
    pub selected: u64,
    /// Changes that were delivered, counted once for each sink.
    pub delivered: u64,
    /// Request units, of the source and of the targets.
    pub source_charge: f64,
    pub target_charge: f64,
}

/// A backfill, connected to everything that it reads and writes.
pub struct Backfill {
    request: BackfillRequest,
    main: Stage,
    /// For the changes of what was sent; `None` if no sink needs them.
    follow: Option<Stage>,
    deliveries: Vec<Arc<Delivery>>,
    budgets: BudgetTask,
    refusals: Arc<Refusals>,
    stop: CancellationToken,
    stop_within: Duration,
    /// Of what is done at the moment.
    current: Mutex<Option<Arc<PipelineMeter>>>,
    /// Of everything that was sent.
    meters: Mutex<Vec<Arc<PipelineMeter>>>,
}

/// Pipelines that differ in their selection alone.
struct Stage {
    settings: PipelineSettings,
    feeds: ContainerFeeds,
    governor: Arc<Governor>,
    router: Arc<Router>,
    deliveries: Vec<Arc<Delivery>>,
}

/// A pipeline, and what it selects.
struct Pass {
    pipeline: Pipeline,
    selection: Arc<Selection>,
}

/// How far the clocks of the service and of this machine may be apart. What is committed later than that after the
/// command was given is not read: it would never end in a container that is in use.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(10);

/// A start in the service is behind a time that is known in whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// How often the changes of what was sent are read at most. Each time they are those of a shorter time, and mostly
/// there are none after the first. A document that changes all the time has changes in each.
const FOLLOW_UPS: usize = 3;

const STILL_CHANGING: &str = "The next change of each of them, by the bridge, is written over what this command \
                              wrote. Give the command again when the source is quieter to be sure of all.";

/// Refuses to send to a container that is mirrored: what is sent has to be compared with the other side, and a
/// mirror lacks nothing.
#[allow(clippy::result_large_err, reason = "called once at the start")]
fn refuse_mirrors(
    config: &Config,
    pipeline: &config::Pipeline,
    request: &BackfillRequest,
) -> Result<(), RunError> {
    let is_sent = |sink: &str| request.sink.as_ref().is_none_or(|only| only == sink);
    let is_mirrored = |sink: &str| {
        config.sinks[sink].container().is_some_and(|container| container.mirror.is_some())
    };
    let sinks = pipeline.routes.iter().map(|route| route.to.as_str());
    match sinks.filter(|sink| is_sent(sink)).find(|sink| is_mirrored(sink)) {
        None => Ok(()),
        Some(sink) => {
            Err(RunError::Mirror { sink: sink.to_owned(), source: MirrorError::Backfill })
        }
    }
}

impl Backfill {
    /// Connects the account of the source and the sinks, without writing. The names in the request are those of the
    /// configuration.
    pub async fn build(config: &Config, request: &BackfillRequest) -> Result<Self, RunError> {
        let now = Timestamp::now();
        let pipeline = &config.pipelines[&request.pipeline];
        refuse_mirrors(config, pipeline, request)?;
        let main = main_config(pipeline, request, now);
        let follow = follow_config(config, pipeline, request);
        let (connections, meter) = (Connections::new(config), Arc::<Meter>::default());
        let state = Arc::new(SqliteState::in_memory()?);
        let mut builder = PipelineBuilder::new(config, connections, state, None, meter);
        let stages = {
            let main = builder.parts(&request.pipeline, &main).await?.into();
            let follow = match &follow {
                Some(follow) => Some(builder.parts(&request.pipeline, follow).await?.into()),
                None => None,
            };
            (main, follow)
        };
        refuse_loops(&builder.copies)?;
        let (file, targets) = (config.state.file.clone(), builder.targets);
        spawn_blocking(move || compare_targets(&file, targets)).await??;
        let (main, follow) = stages;
        Ok(Self {
            request: request.clone(),
            main,
            follow,
            deliveries: builder.sinks.into_values().map(|sink| sink.delivery).collect(),
            budgets: builder.budgets,
            refusals: Arc::default(),
            stop: builder.stop,
            stop_within: config.stop_within,
            current: Mutex::default(),
            meters: Mutex::default(),
        })
    }

    /// Stops in order when it is cancelled.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// What cannot be written, of the count or else of the sending.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub fn progress(&self) -> BackfillProgress {
        let current = self.current.lock().clone();
        let (selected, left_out) =
            current.map_or((0, 0), |meter| (meter.read.get(), meter.left_out.get()));
        let read = selected + left_out;
        let meters = self.meters.lock();
        let sinks = meters.iter().flat_map(|meter| meter.sinks());
        let delivered = sinks.map(|sink| sink.delivered.get()).sum();
        let target_charge =
            self.deliveries.iter().map(|delivery| delivery.meter.charge.get()).sum();
        let source_charge = self.main.governor.usage().charged;
        BackfillProgress { read, selected, delivered, source_charge, target_charge }
    }

    /// Does the work with its budgets, and closes the sinks.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let ended = CancellationToken::new();
        let work = async {
            let done = work.await;
            let deadline = sleep(self.stop_within).shared();
            close_sinks(&self.deliveries, self.stop_within, deadline).await;
            ended.cancel();
            done
        };
        let ((), done) = tokio::join!(self.budgets.run(&ended), work);
        done
    }

    /// Reads everything, and counts for each sink what would be sent.
    pub async fn count(&self) -> Result<(PassEnd, Vec<Counted>), RunError> {
        let tally = |delivery: &Arc<Delivery>| Arc::new(Tally::new(Arc::clone(&delivery.sink)));
        let tallies: Vec<_> = self.main.deliveries.iter().map(tally).collect();
        let count = |tally: &Arc<Tally>| {
            let governor = Arc::new(Governor::new(None, YieldPolicy::Normal, 1));
            Arc::new(Delivery::new(Arc::clone(tally) as _, governor, None))
        };
        let deliveries = tallies.iter().map(count).collect();
        let selection = self.selection(None)?;
        let mut settings = self.main.settings.clone();
        // All of them are counted.
        settings.dead_letters.limit = LetterLimit::Unlimited;
        let refusals = Arc::new(Refusals::default());
        let pass = self.pass(&self.main, settings, selection, &refusals, deliveries)?;
        *self.current.lock() = Some(Arc::clone(&pass.pipeline.meter));
        let end = self.run(pass).await?;
        let counted = |(tally, delivery): (Arc<Tally>, &Arc<Delivery>)| {
            let (documents, bytes) = tally.counted();
            Counted { sink: delivery.sink.name().to_owned(), documents, bytes }
        };
        self.refusals.take_from(&refusals);
        Ok((end, tallies.into_iter().zip(&self.main.deliveries).map(counted).collect()))
    }

    /// Sends what was selected, and then its changes since.
    ///
    /// # Errors
    ///
    /// A sink cannot be written to, such as a file that the bridge has open.
    pub async fn send(&self) -> Result<PassEnd, RunError> {
        for delivery in &self.main.deliveries {
            let sink = delivery.sink.name().to_owned();
            delivery.sink.check().await.map_err(|source| RunError::Sink { sink, source })?;
        }
        self.refusals.take_from(&Refusals::default());
        let sent = self.follow.as_ref().map(|_| Arc::<SentDocuments>::default());
        let mut follow_up = self.follow_up(sent.as_ref()).await?;
        let Stage { settings, deliveries, .. } = &self.main;
        let main = self.pass(
            &self.main,
            settings.clone(),
            self.selection(sent)?,
            &self.refusals,
            deliveries.clone(),
        )?;
        *self.current.lock() = Some(Arc::clone(&main.pipeline.meter));
        self.meters.lock().push(Arc::clone(&main.pipeline.meter));
        let mut end = self.run(main).await?;
        let mut changes = 0;
        for _ in 0..FOLLOW_UPS {
            let Some(mut pass) = follow_up.take().filter(|_| end == PassEnd::Complete) else {
                break;
            };
            let until = latest(Timestamp::now());
            pass.pipeline.settings.until = Some(until);
            pass.selection.until.store(until.as_second(), Relaxed);
            // From now on, so that no change is missed of what is sent next.
            let next = self.follow_up(pass.selection.sent.as_ref()).await?;
            let selection = Arc::clone(&pass.selection);
            self.meters.lock().push(Arc::clone(&pass.pipeline.meter));
            end = self.run(pass).await?;
            changes = selection.selected.load(Relaxed);
            if changes == 0 {
                break;
            }
            let pipeline = &self.request.pipeline;
            info!(pipeline, changes, "sent what has changed since it was sent");
            follow_up = next;
        }
        if changes > 0 && end == PassEnd::Complete {
            let (pipeline, hint) = (&self.request.pipeline, STILL_CHANGING);
            warn!(pipeline, changes, hint, "documents changed again while their changes were sent");
        }
        Ok(end)
    }

    /// What the request wants.
    #[expect(clippy::result_large_err, reason = "called once in a run")]
    fn selection(&self, sent: Option<Arc<SentDocuments>>) -> Result<Selection, RunError> {
        let condition = self.request.condition.as_ref().map(Condition::compile).transpose();
        let condition = condition.map_err(RunError::Condition)?;
        let from = self.request.from.map(Timestamp::as_second);
        let until = self.main.settings.until.map_or(i64::MAX, Timestamp::as_second);
        Ok(Selection::new(Wanted::Interval { from, condition }, until, sent))
    }

    /// Reads the changes of these documents from now on, whenever it runs.
    async fn follow_up(&self, sent: Option<&Arc<SentDocuments>>) -> Result<Option<Pass>, RunError> {
        let Some((stage, sent)) = self.follow.as_ref().zip(sent) else { return Ok(None) };
        let wanted = Wanted::Sent(Arc::clone(sent));
        let selection = Selection::new(wanted, i64::MAX, Some(Arc::default()));
        let Stage { settings, deliveries, .. } = stage;
        let pass =
            self.pass(stage, settings.clone(), selection, &self.refusals, deliveries.clone())?;
        let begun = source::begin_now(&pass.pipeline).await;
        begun.map_err(|source| self.failed(source))?;
        Ok(Some(pass))
    }

    /// A pipeline that begins where its settings say.
    #[expect(clippy::result_large_err, reason = "called once in a run")]
    fn pass(
        &self,
        stage: &Stage,
        settings: PipelineSettings,
        selection: Selection,
        refusals: &Arc<Refusals>,
        deliveries: Vec<Arc<Delivery>>,
    ) -> Result<Pass, RunError> {
        let selection = Arc::new(selection);
        let feeds = Arc::new(stage.feeds.clone());
        let ports = Ports {
            feeds: Arc::new(SelectedFeeds { feeds, selection: Arc::clone(&selection) }),
            positions: Arc::new(SqliteState::in_memory()?),
            dead_letters: Arc::clone(refusals) as _,
            governor: Arc::clone(&stage.governor),
            traces: None,
            sweeps: Vec::new(),
            clock: Arc::new(Timestamp::now),
            stop: self.stop.clone(),
        };
        let (meter, router) =
            (Arc::new(PipelineMeter::new(&settings.name)), Arc::clone(&stage.router));
        let pipeline = Pipeline::new(settings, ports, meter, router, deliveries);
        Ok(Pass { pipeline, selection })
    }

    /// Runs a pipeline until it is proven that it has read and delivered everything.
    async fn run(&self, pass: Pass) -> Result<PassEnd, RunError> {
        let pipeline = Arc::new(pass.pipeline);
        pipeline.prove_end();
        let (mut caught_up, stop) = (pipeline.caught_up(), pipeline.ports.stop.clone());
        let has_all = AtomicBool::new(false);
        let end = async {
            let is_caught_up = caught_up.wait_for(|is_caught_up| *is_caught_up).await.is_ok();
            // At a stop the pipeline ends, which looks the same.
            if is_caught_up && !stop.is_cancelled() {
                has_all.store(true, Relaxed);
                stop.cancel();
            }
        };
        let mut run = std::pin::pin!(source::run(Arc::clone(&pipeline)));
        let ended = tokio::select! {
            ended = &mut run => ended,
            () = end => run.await,
        };
        match ended.map_err(|source| self.failed(source))? {
            PipelineEnd::Ended => Ok(PassEnd::Complete),
            PipelineEnd::Stopped if has_all.load(Relaxed) => Ok(PassEnd::Complete),
            PipelineEnd::Stopped => Ok(PassEnd::Stopped),
            PipelineEnd::Parked(error) => Err(RunError::Parked(error)),
            PipelineEnd::TooManyLetters(_) => Ok(PassEnd::TooMany),
        }
    }

    fn failed(&self, source: PipelineError) -> RunError {
        RunError::Pipeline { pipeline: self.request.pipeline.clone(), source }
    }
}

impl From<PipelineParts<'_>> for Stage {
    fn from(parts: PipelineParts<'_>) -> Self {
        let PipelineParts { settings, feeds, governor, router, deliveries, .. } = parts;
        Self { settings, feeds, governor, router, deliveries }
    }
}

/// What is committed at this time or later was committed after `now`, whichever clock is ahead.
fn latest(now: Timestamp) -> Timestamp {
    now.checked_add(CLOCKS_APART).unwrap_or(now)
}

/// The pipeline that reads what exists.
fn main_config(
    pipeline: &config::Pipeline,
    request: &BackfillRequest,
    now: Timestamp,
) -> config::Pipeline {
    let mut main = for_sinks(pipeline, |name| request.sink.as_ref().is_none_or(|one| one == name));
    main.source.mode = Mode::LatestVersion;
    main.source.start = match request.from {
        Some(from) => Start::Time(from.checked_sub(SECOND).unwrap_or(from)),
        None => Start::Beginning,
    };
    let latest = latest(now);
    main.until = Some(request.to.map_or(latest, |to| to.min(latest)));
    // What was asked for is not left out.
    main.routes.iter_mut().for_each(|route| route.snapshot = true);
    main
}

/// The pipeline that reads the changes of what was sent, for the sinks that need it: those with documents, in which a
/// write can undo a later one.
fn follow_config(
    config: &Config,
    pipeline: &config::Pipeline,
    request: &BackfillRequest,
) -> Option<config::Pipeline> {
    let has_deletes = pipeline.source.mode == Mode::AllVersionsAndDeletes;
    let needs = |name: &String| {
        let is_wanted = request.sink.as_ref().is_none_or(|one| one == name);
        let target = config.sinks.get(name).and_then(config::Sink::container);
        is_wanted
            && target.is_some_and(|target| has_deletes || target.writing.source_field.is_none())
    };
    let mut follow = for_sinks(pipeline, needs);
    follow.source.start = Start::Now;
    follow.until = None;
    (!follow.routes.is_empty()).then_some(follow)
}

fn for_sinks(pipeline: &config::Pipeline, wants: impl Fn(&String) -> bool) -> config::Pipeline {
    let mut some = pipeline.clone();
    some.routes.retain(|route| wants(&route.to));
    // Its positions are in memory, and its start is never older than the command.
    some.source.on_lost_history = OnLostHistory::Park;
    some
}
