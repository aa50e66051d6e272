//! The container in which conflicts between two mirrored containers are logged.

use std::sync::Arc;

use async_trait::async_trait;
use cosmos_bridge_cosmos::mirror::ConflictLog;
use cosmos_bridge_cosmos::{Answer, Class, Container as _, Write, classify};
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey, SinkError, document_bytes};

use super::{ContainerHandle, Target};
use crate::backoff::Attempts;
use crate::deliver::Partitions as _;
use crate::governor::{Governor, Kind, Operation, Settlement, Verdict};

/// A container whose partition key is the id.
pub struct ConflictContainer {
    target: Target,
    governor: Arc<Governor>,
}

impl ConflictContainer {
    pub fn new(container: ContainerHandle, governor: Arc<Governor>) -> Self {
        Self { target: Target::new(container), governor }
    }
}

#[async_trait]
impl ConflictLog for ConflictContainer {
    /// Within its budget. The caller repeats it with its change.
    async fn create(&self, id: &str, entry: &Document) -> Answer {
        let key = PartitionKey(vec![KeyValue::String(id.to_owned())]);
        let operation = Operation { kind: Kind::Write, bytes: document_bytes(entry) };
        let partition = self.target.partition(&key).await;
        let admission = self.governor.admit(partition, vec![operation]).await;
        admission.mark_sent();
        let answer = self.target.write(&key, id, Write::Create(entry.into())).await;
        let class = classify(answer.status, answer.sub_status);
        let repeat = class.cause().map(|cause| {
            let wait = cosmos_bridge_sink::Wait { cause, retry_after: answer.retry_after };
            Attempts::default().after(wait).verdict
        });
        let is_done = class == Class::Done;
        let verdict = match repeat {
            Some(verdict) => verdict,
            None if is_done => Verdict::Done,
            None => Verdict::Other,
        };
        admission.settle(Settlement {
            charge: answer.charge,
            documents: usize::from(is_done),
            throttled: u32::from(answer.status == 429),
            verdict,
        });
        answer
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.target.check().await
    }
}
