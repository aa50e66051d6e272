//! Reads the source's current version of a document, within the budget, until it is answered.

use std::time::Duration;

use cosmos_bridge_cosmos::Class;
use cosmos_bridge_sink::{Cause, Document, PartitionKey, Wait};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Attempt, Attempts, Step, retry};
use crate::cosmos::{CosmosError, ReadDocument};
use crate::governor::{Kind, Operation, Settlement, Verdict};
use crate::model::PartitionId;
use crate::source::pipeline::Pipeline;

/// Documents of this id and key. `None` when stopped first; an error that no other attempt would change.
pub(super) async fn read(
    pipeline: &Pipeline,
    stop: &CancellationToken,
    id: &str,
    key: Option<&PartitionKey>,
    bytes: usize,
) -> Option<Result<Vec<Document>, CosmosError>> {
    let attempts = Attempts::default();
    retry(&mut DocumentRead { pipeline, stop, id, key, bytes, attempts }).await
}

struct DocumentRead<'r> {
    pipeline: &'r Pipeline,
    stop: &'r CancellationToken,
    id: &'r str,
    key: Option<&'r PartitionKey>,
    /// About what the document takes as text.
    bytes: usize,
    attempts: Attempts,
}

impl Attempt for DocumentRead<'_> {
    type Done = Result<Vec<Document>, CosmosError>;

    async fn attempt(&mut self) -> Step<Self::Done> {
        self.ask().await.unwrap_or(Step::Cancelled)
    }

    async fn pause(&mut self, pause: Duration) -> Option<()> {
        self.stop.run_until_cancelled(sleep(pause)).await
    }
}

impl DocumentRead<'_> {
    /// Asks once. `None` when stopped.
    async fn ask(&mut self) -> Option<Step<<Self as Attempt>::Done>> {
        let ports = &self.pipeline.ports;
        // A point read costs what a page of one document does.
        let operations = vec![Operation { kind: Kind::Page, bytes: self.bytes }];
        let admission = ports.governor.admit(PartitionId::UNKNOWN, operations);
        let admission = self.stop.run_until_cancelled(admission).await?;
        let read = ports.feeds.document(self.id, self.key);
        let meter = &self.pipeline.meter;
        match self.stop.run_until_cancelled(read).await? {
            Ok(ReadDocument { documents, charge }) => {
                let (count, verdict) = (documents.len(), Verdict::Done);
                admission.settle(Settlement { charge, documents: count, throttled: 0, verdict });
                meter.count_request(charge);
                meter.read_failures.recovered();
                Some(Step::Done(Ok(documents)))
            }
            Err(fault) => {
                let charge = fault.answer.charge;
                meter.count_request(charge);
                let throttled = u32::from(fault.answer.status == 429);
                let cause = cause_to_wait(&fault);
                let retry_after = fault.retry_after();
                let repeat = cause.map(|cause| self.attempts.after(Wait { cause, retry_after }));
                let verdict = repeat.map_or(Verdict::Other, |repeat| repeat.verdict);
                admission.settle(Settlement { charge, documents: 0, throttled, verdict });
                let Some(repeat) = repeat else { return Some(Step::Done(Err(fault))) };
                if throttled == 0 {
                    meter.read_failures.failed(&fault.message());
                }
                Some(Step::RepeatAfter(repeat.pause))
            }
        }
    }
}

/// Why a later attempt can succeed; `None` if it cannot.
fn cause_to_wait(fault: &CosmosError) -> Option<Cause> {
    match fault.class() {
        Class::ContainerReplaced | Class::Defect => None,
        class => class.cause(),
    }
}
