//! A live workload: orders inserted, updated and deleted in a container at a given rate.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::chance::Chance;
use crate::orders::{Orders, number, update};

/// How often the workload looks how many operations are due.
const TICK: Duration = Duration::from_millis(10);
/// Faster than any local account, so that a mistyped rate is refused instead of running wild.
const RATE_MAX: f64 = 1_000_000.0;
/// Finished workloads that can still be asked about.
const FINISHED_MAX: usize = 100;

/// The container a workload acts on. Its writes are changes like any other client's.
pub trait Documents: Send + Sync + 'static {
    /// Where one document lives.
    type Place: Clone + Send + Sync + 'static;

    /// Every document there is now, in a stable order: its id and its place.
    fn places(&self) -> impl Future<Output = Vec<(String, Self::Place)>> + Send;

    /// The latest version without system properties; `None` when it is gone.
    fn read(&self, place: &Self::Place) -> impl Future<Output = Option<Value>> + Send;

    /// Creates or replaces a document; the error says why it was refused.
    fn upsert(&self, document: Value) -> impl Future<Output = Result<Self::Place, String>> + Send;

    /// Deletes a document; false when it was gone already.
    fn delete(&self, place: &Self::Place) -> impl Future<Output = bool> + Send;
}

/// What a workload does, and when it ends: after a number of operations, after a time, or when stopped.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Operations per second.
    pub rate: f64,
    /// How often each kind of operation is chosen, relative to the others.
    pub inserts: u32,
    pub updates: u32,
    pub deletes: u32,
    pub seed: u64,
    pub operations: Option<u64>,
    pub time: Option<Duration>,
}

/// Why a plan cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("the rate is not between 0 and 1,000,000 operations per second")]
    Rate,
    #[error("inserts, updates and deletes are all 0")]
    Nothing,
}

impl Plan {
    pub fn check(&self) -> Result<(), PlanError> {
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            return Err(PlanError::Rate);
        }
        if self.inserts == 0 && self.updates == 0 && self.deletes == 0 {
            return Err(PlanError::Nothing);
        }
        Ok(())
    }
}

/// How far a workload has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub running: bool,
    /// The sum of the three kinds.
    pub operations: u64,
    pub inserts: u64,
    pub updates: u64,
    pub deletes: u64,
    /// Why it ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct Counters {
    inserts: AtomicU64,
    updates: AtomicU64,
    deletes: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Counters {
    fn done(&self) -> u64 {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        read(&self.inserts) + read(&self.updates) + read(&self.deletes)
    }

    fn progress(&self, running: bool) -> Progress {
        Progress {
            running,
            operations: self.done(),
            inserts: self.inserts.load(Ordering::Relaxed),
            updates: self.updates.load(Ordering::Relaxed),
            deletes: self.deletes.load(Ordering::Relaxed),
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// The workloads of one process.
#[derive(Debug, Default)]
pub struct Workloads {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    started: BTreeMap<u64, Started>,
    tasks: JoinSet<()>,
}

#[derive(Clone, Debug)]
struct Started {
    counters: Arc<Counters>,
    stop: Arc<watch::Sender<bool>>,
    running: watch::Receiver<bool>,
}

impl Workloads {
    /// Starts a workload and gives its number.
    pub fn start<D: Documents>(&self, documents: D, plan: Plan) -> Result<u64, PlanError> {
        plan.check()?;
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = watch::channel(false);
        let (state, running) = watch::channel(true);
        let started = Started { counters: Arc::clone(&counters), stop: Arc::new(stop), running };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.last += 1;
        let number = inner.last;
        inner.forget_finished();
        inner.started.insert(number, started);
        inner.tasks.spawn(async move {
            run(&documents, &plan, &counters, stopped).await;
            // The receiver may be gone.
            state.send_replace(false);
        });
        Ok(number)
    }

    /// How far it is; `None` for a number that was never given.
    pub fn progress(&self, number: u64) -> Option<Progress> {
        let started = self.find(number)?;
        let running = *started.running.borrow();
        Some(started.counters.progress(running))
    }

    /// Stops it and returns after its last write.
    pub async fn stop(&self, number: u64) -> Option<Progress> {
        let mut started = self.find(number)?;
        started.stop.send_replace(true);
        // An error means that the task is gone, which is as good.
        let _ended = started.running.wait_for(|running| !running).await.is_ok();
        Some(started.counters.progress(false))
    }

    fn find(&self, number: u64) -> Option<Started> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).started.get(&number).cloned()
    }
}

impl Inner {
    fn forget_finished(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        while self.started.len() >= FINISHED_MAX {
            let finished = self.started.iter().find(|(_, started)| !*started.running.borrow());
            let Some(number) = finished.map(|(&number, _)| number) else { break };
            self.started.remove(&number);
        }
    }
}

async fn run<D: Documents>(
    documents: &D,
    plan: &Plan,
    counters: &Counters,
    mut stopped: watch::Receiver<bool>,
) {
    let mut actor = Actor::new(documents, plan).await;
    let started = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // Also when the handle is gone: then it could not be stopped later.
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let passed = plan.time.map_or(started.elapsed(), |time| started.elapsed().min(time));
        let due = due(plan, passed);
        while counters.done() < due && !*stopped.borrow() {
            if let Err(error) = actor.step(plan, counters).await {
                *counters.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return;
            }
        }
        let enough = plan.operations.is_some_and(|operations| counters.done() >= operations);
        if enough || plan.time.is_some_and(|time| passed >= time) {
            return;
        }
    }
}

/// How many operations should have happened by now.
fn due(plan: &Plan, passed: Duration) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and at most the largest rate for some years"
    )]
    let by_rate = (passed.as_secs_f64() * plan.rate) as u64;
    by_rate.min(plan.operations.unwrap_or(u64::MAX))
}

/// Chooses and carries out the operations, one after the other, so that versions stay in order.
struct Actor<'a, D: Documents> {
    documents: &'a D,
    orders: Orders,
    chance: Chance,
    held: Vec<D::Place>,
    next: u64,
}

impl<'a, D: Documents> Actor<'a, D> {
    async fn new(documents: &'a D, plan: &Plan) -> Self {
        let places = documents.places().await;
        // New orders continue the numbers of those that are there.
        let last = places.iter().filter_map(|(id, _)| number(id)).max().unwrap_or(0);
        Self {
            documents,
            orders: Orders::new(plan.seed).with_count(last.max(places.len() as u64)),
            chance: Chance::of(plan.seed, u64::from_be_bytes(*b"workload"), last),
            held: places.into_iter().map(|(_, place)| place).collect(),
            next: last + 1,
        }
    }

    async fn step(&mut self, plan: &Plan, counters: &Counters) -> Result<(), String> {
        let kind = self.chance.weighted(&[plan.inserts, plan.updates, plan.deletes]);
        let done = match kind {
            Some(1) => self.update().await?.then_some(&counters.updates),
            Some(2) => self.delete().await.then_some(&counters.deletes),
            _ => None,
        };
        let counter = match done {
            Some(counter) => counter,
            // Without a document to change, there must be one first.
            None if plan.inserts > 0 => {
                self.insert().await?;
                &counters.inserts
            }
            None => return Err("no documents are left to update or delete".to_owned()),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn insert(&mut self) -> Result<(), String> {
        let order = self.orders.order(self.next);
        self.next += 1;
        let place = self.documents.upsert(order).await?;
        self.held.push(place);
        Ok(())
    }

    async fn update(&mut self) -> Result<bool, String> {
        while let Some(index) = self.choose() {
            // Others may have deleted it, or its time to live is over.
            if let Some(document) = self.documents.read(&self.held[index]).await {
                self.documents.upsert(update(&document, &mut self.chance)).await?;
                return Ok(true);
            }
            self.held.swap_remove(index);
        }
        Ok(false)
    }

    async fn delete(&mut self) -> bool {
        while let Some(index) = self.choose() {
            let place = self.held.swap_remove(index);
            if self.documents.delete(&place).await {
                return true;
            }
        }
        false
    }

    fn choose(&mut self) -> Option<usize> {
        (!self.held.is_empty()).then(|| self.chance.index(self.held.len()))
    }
}

#[cfg(test)]
mod tests;
