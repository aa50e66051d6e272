//! `bare-copy`: the least that a program with this SDK can do to copy a container.
//!
//! The yardstick of the bridge's throughput: the same client options, the same requests with the
//! same page size, batches and concurrency, and nothing else. It keeps no positions, retries
//! nothing, gives no order beyond that inside a batch, and ends at the first error.

mod connect;

use std::collections::HashMap;
use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::TransactionalBatch;
use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::feed::{FeedRange, FeedScope};
use azure_data_cosmos::models::PartitionKey;
use azure_data_cosmos::options::{ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint};
use clap::Parser;
use cosmos_bridge_sink::{Document, document_bytes};
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What the service adds to every document.
const SYSTEM_PROPERTIES: [&str; 6] = ["_attachments", "_etag", "_lsn", "_rid", "_self", "_ts"];

type Failure = Box<dyn Error + Send + Sync>;

/// Copies a container of orders with nothing but the SDK.
#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    source_endpoint: String,
    #[arg(long)]
    source_key: String,
    /// Database and container, as shop/orders
    #[arg(long)]
    source: String,
    #[arg(long)]
    target_endpoint: String,
    #[arg(long)]
    target_key: String,
    #[arg(long)]
    target: String,
    /// Changes per page
    #[arg(long, default_value = "1000")]
    page_size: NonZeroU32,
    /// Changes of one feed range that may be read and not written
    #[arg(long, default_value_t = 5000)]
    window: u32,
    /// Requests under way at once to the target
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Changes per transactional batch
    #[arg(long, default_value_t = 100)]
    batch_changes: usize,
    /// Bytes per transactional batch
    #[arg(long, default_value_t = 3 << 19)]
    batch_bytes: usize,
}

/// A document that can be taken out of the SDK's item, which lends but does not give.
#[derive(Clone, serde::Deserialize)]
#[serde(from = "Document")]
struct Image(Arc<Document>);

impl From<Document> for Image {
    fn from(document: Document) -> Self {
        Self(Arc::new(document))
    }
}

/// The target and its limits.
struct Target {
    container: ContainerClient,
    turns: Semaphore,
    changes: usize,
    bytes: usize,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let Arguments { source_endpoint, source_key, source, .. } = &arguments;
    let source = connect::container(source_endpoint, source_key, source).await?;
    let Arguments { target_endpoint, target_key, target, .. } = &arguments;
    let target = Arc::new(Target {
        container: connect::container(target_endpoint, target_key, target).await?,
        turns: Semaphore::new(arguments.concurrency),
        changes: arguments.batch_changes,
        bytes: arguments.batch_bytes,
    });
    let mut readers = JoinSet::new();
    for range in source.read_feed_ranges(None).await? {
        let (source, target) = (source.clone(), Arc::clone(&target));
        let (page_size, window) = (arguments.page_size, arguments.window);
        readers.spawn(async move { copy(&source, &target, range, page_size, window).await });
    }
    while let Some(ended) = readers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Copies one feed range, until the service answers that there is nothing newer.
async fn copy(
    source: &ContainerClient,
    target: &Arc<Target>,
    range: FeedRange,
    page_size: NonZeroU32,
    window: u32,
) -> Result<(), Failure> {
    let options =
        ChangeFeedOptions::default().with_max_item_count(MaxItemCountHint::Limit(page_size));
    let start = ChangeFeedStartFrom::Beginning;
    let scope = FeedScope::range(range);
    let mut pages = source.query_change_feed::<Image>(scope, start, Some(options)).await?;
    let room = Arc::new(Semaphore::new(window as usize));
    let mut writes = JoinSet::new();
    while let Some(page) = pages.next().await {
        let page = page?;
        let status = page.diagnostics().status().map(|status| u16::from(status.status_code()));
        if status == Some(304) {
            break;
        }
        let mut groups: HashMap<(String, String), Vec<Document>> = HashMap::new();
        for item in page.into_items() {
            let Some(Image(document)) = item.current().cloned() else { continue };
            drop(item);
            let mut document = Arc::unwrap_or_clone(document);
            for property in SYSTEM_PROPERTIES {
                document.remove(property);
            }
            groups.entry(key_of(&document)).or_default().push(document);
        }
        for (key, documents) in groups {
            for unit in units(documents, target.changes, target.bytes) {
                let size = u32::try_from(unit.len())?.min(window);
                let permit = Arc::clone(&room).acquire_many_owned(size).await?;
                let (target, key) = (Arc::clone(target), key.clone());
                writes.spawn(async move {
                    let written = write(&target, key, &unit).await;
                    drop(permit);
                    written
                });
            }
        }
        while let Some(written) = writes.try_join_next() {
            written??;
        }
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    Ok(())
}

fn key_of(document: &Document) -> (String, String) {
    let text = |value: Option<&serde_json::Value>| {
        value.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let region = document.get("customer").and_then(|customer| customer.get("region"));
    (text(region), text(document.get("customerId")))
}

/// Divides the documents of one key by number and size.
fn units(documents: Vec<Document>, changes: usize, bytes_max: usize) -> Vec<Vec<Document>> {
    let mut units: Vec<Vec<Document>> = Vec::new();
    let mut bytes = 0;
    for document in documents {
        let size = document_bytes(&document);
        bytes += size;
        match units.last_mut() {
            Some(unit) if unit.len() < changes && bytes <= bytes_max => unit.push(document),
            _ => {
                units.push(vec![document]);
                bytes = size;
            }
        }
    }
    units
}

/// One request: a batch for two documents or more, an upsert for one.
async fn write(
    target: &Target,
    (region, customer): (String, String),
    unit: &[Document],
) -> Result<(), Failure> {
    let _turn = target.turns.acquire().await?;
    let key = PartitionKey::from((region, customer));
    if let [document] = unit {
        let id = document.get("id").and_then(serde_json::Value::as_str).unwrap_or_default();
        target.container.upsert_item(key, id, document, None).await?;
        return Ok(());
    }
    let mut batch = TransactionalBatch::new(key);
    for document in unit {
        batch = batch.upsert_item(document, None)?;
    }
    let answer = target.container.execute_transactional_batch(batch, None).await?;
    let answer = answer.into_model()?;
    match answer.results().iter().find(|part| part.status_code() >= 300) {
        Some(part) => Err(format!("a batch was refused with {}", part.status_code()).into()),
        None => Ok(()),
    }
}
