//! Writes documents at a rate and records the times.

use std::time::Duration;

use azure_data_cosmos::models::PartitionKey;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::now;
use crate::Failure;
use crate::connect;

/// The time of a write, in microseconds since the epoch.
pub(super) struct Written {
    /// The id and the version of the document.
    pub(super) id: String,
    pub(super) sequence: u64,
    /// Before the request.
    pub(super) sent: u64,
    /// After the answer.
    pub(super) answered: u64,
}

/// The document of a change by its number from 1, and its partition key. It has an `id` and a
/// `sequence`.
pub(super) type Document = fn(u64) -> (cosmos_bridge_sink::Document, String);

/// Writes this number of changes, one per interval; returns them in order.
pub(super) async fn write(
    endpoint: &str,
    key: &str,
    count: u64,
    every: Duration,
    document: Document,
) -> Result<Vec<Written>, Failure> {
    let container = connect::container(endpoint, key, "shop/orders").await?;
    let started = Instant::now();
    let mut writes = JoinSet::new();
    let mut written = Vec::new();
    for number in 1..=count {
        sleep_until(started + every * u32::try_from(number)?).await;
        let container = container.clone();
        writes.spawn(async move {
            let (document, customer) = document(number);
            let id = document.get("id");
            let id = id.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
            let sequence =
                document.get("sequence").and_then(|one| one.as_u64()).unwrap_or_default();
            let sent = now();
            container.upsert_item(PartitionKey::from(customer), &id, &document, None).await?;
            Ok::<_, Failure>((number, Written { id, sequence, sent, answered: now() }))
        });
        while let Some(ended) = writes.try_join_next() {
            written.push(ended??);
        }
    }
    while let Some(ended) = writes.join_next().await {
        written.push(ended??);
    }
    written.sort_unstable_by_key(|(number, _)| *number);
    Ok(written.into_iter().map(|(_, written)| written).collect())
}
