//! Finds copies whose source documents do not exist any more, and deletes them.
//!
//! Deletes are missed where the history that has them is lost, and in latest-version mode, which does not
//! report them. A sweep reads what the target has, page by page, asks the source for the same documents with
//! one query per page, and looks for each that seems to be missing once more, where the answer is certainly
//! not older than the copy ([`rule`]). It deletes a copy only if it is still what was seen.

mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_cosmos::{Answer, Class, SourceDocument, StoredDocument, classify};
use cosmos_bridge_sink::{Place, Wait};
use futures::StreamExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::rule::{Kind, is_gone, kind_of, missing};
use crate::backoff::{Attempt, Attempts, Step, retry};
use crate::cosmos::{
    CopiesPage, CosmosError, Existing, Looked, Search, SweepSource, SweepTarget, SweptCopy,
};
use crate::governor::{self, Governor, Operation, Settlement, Verdict};
use crate::model::PartitionId;
use crate::observe::{FailureLog, PipelineSinkMetrics};

/// Candidates that are looked at and deleted at a time; the budgets limit them further.
const AT_ONCE: usize = 16;
/// How often a sweep tells how far it is.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// About what a page of identifying properties takes, and a document.
const PAGE_BYTES: usize = 128 << 10;
const DOCUMENT_BYTES: usize = 1 << 10;

/// A sink whose copies are swept.
pub struct SweptSink {
    /// Its place among the sinks of the pipeline.
    pub sink: usize,
    pub source: Arc<dyn SweepSource>,
    pub target: Arc<dyn SweepTarget>,
    /// The budget of writing to the target; reading it counts, too.
    pub target_budget: Arc<Governor>,
    /// Whether a schedule sweeps, and how often.
    pub every: Option<Duration>,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Swept {
    pub(super) ids: u64,
    pub(super) deleted: u64,
    /// Copies with a record.
    pub(super) recorded: u64,
    /// Copies of which nothing tells which documents they are of.
    pub(super) unknown: u64,
    /// Copies that changed meanwhile, or whose documents exist after all.
    pub(super) kept: u64,
    /// Copies of which it is not certain yet that they have to go.
    pub(super) uncertain: u64,
    /// Request units, without those of deleting.
    pub(super) charge: f64,
    pub(super) delete_charge: f64,
}

/// One sweep.
pub(super) struct Sweep<'s> {
    pub(super) sink: &'s SweptSink,
    /// The budget of reading the source.
    pub(super) source_budget: &'s Governor,
    pub(super) meter: &'s PipelineSinkMetrics,
    pub(super) failures: FailureLog,
    pub(super) stop: &'s CancellationToken,
}

/// What became of one candidate.
#[derive(Clone, Copy, Debug, Default)]
struct Judged {
    is_deleted: bool,
    is_uncertain: bool,
    charge: f64,
    delete_charge: f64,
}

impl Sweep<'_> {
    /// Sweeps once. `None` when stopped first; an error that no other attempt would change.
    pub(super) async fn run(&self) -> Option<Result<Swept, CosmosError>> {
        let mut swept = Swept::default();
        let mut by = Search::default();
        let mut pages = self.sink.target.copies();
        let mut told = Instant::now();
        loop {
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let (pipeline, sink) = (&self.meter.pipeline, &self.meter.sink);
                info!(pipeline, sink, ids = swept.ids, deleted = swept.deleted, "still sweeping");
            }
            let page = self.next_page(&mut *pages).await?;
            let page = match page {
                Ok(Some(page)) => page,
                Ok(None) => return Some(Ok(swept)),
                Err(fault) => return Some(Err(fault)),
            };
            if let Err(fault) = self.page(page, &mut by, &mut swept).await? {
                return Some(Err(fault));
            }
        }
    }

    async fn next_page(
        &self,
        pages: &mut dyn crate::cosmos::Copies,
    ) -> Option<Result<Option<CopiesPage>, CosmosError>> {
        let pages = tokio::sync::Mutex::new(pages);
        let request = || async {
            let page = pages.lock().await.next_page().await?;
            let charge = page.as_ref().map_or(0.0, |page| page.charge);
            let documents = page.as_ref().map_or(0, |page| page.copies.len());
            Ok((page, charge, documents))
        };
        self.ask(&self.sink.target_budget, governor::Kind::Page, PAGE_BYTES, request).await
    }

    async fn page(
        &self,
        page: CopiesPage,
        by: &mut Search,
        swept: &mut Swept,
    ) -> Option<Result<(), CosmosError>> {
        let source = &self.sink.source;
        let before = *swept;
        swept.ids += page.copies.len() as u64;
        swept.charge += page.charge;
        let mut known: Vec<(SweptCopy, Place, _)> = Vec::new();
        for copy in page.copies {
            swept.recorded += u64::from(copy.stored.version.is_some());
            match kind_of(&copy, |place| source.number(place)) {
                Kind::Of(place, version) => known.push((copy, place, version)),
                Kind::Unknown => swept.unknown += 1,
                Kind::NoCopy => {}
            }
        }
        if !known.is_empty() {
            let places: Vec<_> = known.iter().map(|(_, place, _)| place.clone()).collect();
            let existing = match self.existing(&places, by, swept).await? {
                Ok(existing) => existing,
                Err(fault) => return Some(Err(fault)),
            };
            let candidates = missing(known, &existing);
            let judged = candidates.into_iter().map(|(copy, place, version)| async move {
                self.judge(&copy.stored, &place, &version).await
            });
            let judged: Vec<_> = judged.collect();
            let mut judged = futures::stream::iter(judged).buffer_unordered(AT_ONCE);
            while let Some(one) = judged.next().await {
                let one = match one? {
                    Ok(one) => one,
                    Err(fault) => return Some(Err(fault)),
                };
                swept.deleted += u64::from(one.is_deleted);
                swept.uncertain += u64::from(one.is_uncertain);
                swept.kept += u64::from(!one.is_deleted && !one.is_uncertain);
                swept.charge += one.charge;
                swept.delete_charge += one.delete_charge;
            }
        }
        self.meter.count_swept(
            swept.ids - before.ids,
            swept.deleted - before.deleted,
            swept.charge + swept.delete_charge - before.charge - before.delete_charge,
        );
        Some(Ok(()))
    }

    /// Which of these documents a replica of the source has.
    async fn existing(
        &self,
        places: &[Place],
        by: &mut Search,
        swept: &mut Swept,
    ) -> Option<Result<Vec<SourceDocument>, CosmosError>> {
        loop {
            let search = *by;
            let request = || async {
                let found = self.sink.source.existing(places, search).await?;
                let (charge, documents) = (found.charge, found.documents.len());
                Ok((found, charge, documents))
            };
            let kind = governor::Kind::Page;
            let found: Existing =
                match self.ask(self.source_budget, kind, PAGE_BYTES, request).await? {
                    Ok(found) => found,
                    Err(fault) => return Some(Err(fault)),
                };
            swept.charge += found.charge;
            if !found.is_too_many {
                return Some(Ok(found.documents));
            }
            // The ids of the container are not unique; so it is on the next pages.
            *by = Search::Keys;
        }
    }

    /// Looks for the source document of a copy once more, and deletes the copy if it is gone.
    async fn judge(
        &self,
        copy: &StoredDocument,
        place: &Place,
        version: &cosmos_bridge_cosmos::SourceVersion,
    ) -> Option<Result<Judged, CosmosError>> {
        let request = || async {
            let looked = self.sink.source.look(place).await?;
            Ok((looked, looked.charge, 1))
        };
        let kind = governor::Kind::Page;
        let looked: Looked =
            match self.ask(self.source_budget, kind, DOCUMENT_BYTES, request).await? {
                Ok(looked) => looked,
                Err(fault) => return Some(Err(fault)),
            };
        let mut judged = Judged { charge: looked.charge, ..Judged::default() };
        if !is_gone(version, &looked, jiff::Timestamp::now().as_second()) {
            // What has no time is never more certain.
            judged.is_uncertain = !looked.exists && version.committed_at().is_some();
            return Some(Ok(judged));
        }
        let request = || async {
            let answer = self.sink.target.delete(copy).await;
            let charge = answer.charge;
            match outcome_of(answer) {
                Ok(is_deleted) => Ok(((is_deleted, charge), charge, usize::from(is_deleted))),
                Err(fault) => Err(fault),
            }
        };
        let (budget, kind) = (&self.sink.target_budget, governor::Kind::Delete);
        match self.ask(budget, kind, DOCUMENT_BYTES, request).await? {
            Ok((is_deleted, charge)) => {
                (judged.is_deleted, judged.delete_charge) = (is_deleted, charge);
                Some(Ok(judged))
            }
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Sends a request within a budget until it is answered. It returns an answer, its charge, and the number
    /// of documents that it read or wrote.
    async fn ask<T, F, R>(
        &self,
        budget: &Governor,
        kind: governor::Kind,
        bytes: usize,
        request: R,
    ) -> Option<Result<T, CosmosError>>
    where
        T: Send,
        F: Future<Output = Result<(T, f64, usize), CosmosError>> + Send,
        R: Fn() -> F + Send + Sync,
    {
        let operation = Operation { kind, bytes };
        let (failures, stop, attempts) = (&self.failures, self.stop, Attempts::default());
        retry(&mut Request { budget, operation, ask: request, failures, stop, attempts }).await
    }
}

/// True if the copy is deleted, false if it has changed or is gone.
fn outcome_of(answer: Answer) -> Result<bool, CosmosError> {
    match answer.status {
        200..300 => Ok(true),
        404 if classify(404, answer.sub_status) == Class::Missing => Ok(false),
        412 => Ok(false),
        _ => {
            let attempt = "deleting a copy whose source document is gone".to_owned();
            Err(CosmosError { attempt, answer })
        }
    }
}

struct Request<'r, R> {
    budget: &'r Governor,
    operation: Operation,
    ask: R,
    failures: &'r FailureLog,
    stop: &'r CancellationToken,
    attempts: Attempts,
}

impl<T, F, R> Attempt for Request<'_, R>
where
    T: Send,
    F: Future<Output = Result<(T, f64, usize), CosmosError>> + Send,
    R: Fn() -> F + Send + Sync,
{
    type Done = Result<T, CosmosError>;

    async fn attempt(&mut self) -> Step<Self::Done> {
        self.send().await.unwrap_or(Step::Cancelled)
    }

    async fn pause(&mut self, pause: Duration) -> Option<()> {
        self.stop.run_until_cancelled(sleep(pause)).await
    }
}

impl<T, F, R> Request<'_, R>
where
    T: Send,
    F: Future<Output = Result<(T, f64, usize), CosmosError>> + Send,
    R: Fn() -> F + Send + Sync,
{
    /// Once. `None` when stopped.
    async fn send(&mut self) -> Option<Step<Result<T, CosmosError>>> {
        let admission = self.budget.admit(PartitionId::UNKNOWN, vec![self.operation]);
        let admission = self.stop.run_until_cancelled(admission).await?;
        // What was sent is awaited: a delete takes effect whether it is or not.
        match (self.ask)().await {
            Ok((answer, charge, documents)) => {
                let verdict = Verdict::Done;
                admission.settle(Settlement { charge, documents, throttled: 0, verdict });
                self.failures.recovered();
                Some(Step::Done(Ok(answer)))
            }
            Err(fault) => {
                let charge = fault.answer.charge;
                let throttled = u32::from(fault.answer.status == 429);
                let cause = match fault.class() {
                    Class::ContainerReplaced | Class::Defect => None,
                    class => class.cause(),
                };
                let retry_after = fault.retry_after();
                let repeat = cause.map(|cause| self.attempts.after(Wait { cause, retry_after }));
                let verdict = repeat.map_or(Verdict::Other, |repeat| repeat.verdict);
                admission.settle(Settlement { charge, documents: 0, throttled, verdict });
                match repeat {
                    Some(repeat) => {
                        if throttled == 0 {
                            self.failures.failed(&fault.message());
                        }
                        Some(Step::RepeatAfter(repeat.pause))
                    }
                    None => Some(Step::Done(Err(fault))),
                }
            }
        }
    }
}
