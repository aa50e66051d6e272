//! `bare-copy`: the smallest program that copies a container with this SDK.
//!
//! The bridge's throughput is compared with it: the same client options, the same requests with the same page size,
//! batches and concurrency, and nothing else. Waiting documents are grouped by partition key, because otherwise
//! it would send more requests than the bridge. It stores no positions, does not retry, guarantees no order
//! except inside a batch, and ends at the first error.

mod connect;

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;

use azure_data_cosmos::TransactionalBatch;
use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::feed::{ChangeFeedPageIterator, FeedRange, FeedScope};
use azure_data_cosmos::models::{ChangeFeedItem, PartitionKey};
use azure_data_cosmos::options::{ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint};
use clap::Parser;
use cosmos_bridge_sink::Fields as Document;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// The system properties of a document.
const SYSTEM_PROPERTIES: [&str; 6] = ["_attachments", "_etag", "_lsn", "_rid", "_self", "_ts"];

/// The number of pages that may wait.
const PAGES_AHEAD: usize = 4;

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
    /// Changes of one feed range that may be read and not written; with four ranges of orders of
    /// 1 KiB this is as far as the bridge's default `read_ahead` lets it read, and so the groups
    /// are as large as the bridge's
    #[arg(long, default_value_t = 1500)]
    window: u32,
    /// Concurrent requests to the target
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Changes per transactional batch
    #[arg(long, default_value_t = 100)]
    batch_changes: usize,
    /// Bytes per transactional batch
    #[arg(long, default_value_t = 3 << 19)]
    batch_bytes: usize,
}

/// A document, copied out of the SDK's item, which only lends it.
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
    concurrency: usize,
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
        concurrency: arguments.concurrency,
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
    let pages = source.query_change_feed::<Image>(scope, start, Some(options)).await?;
    let (sender, mut documents) = mpsc::channel(PAGES_AHEAD);
    let room = Arc::new(Semaphore::new(window as usize));
    let mut reading = JoinSet::new();
    let reserve = Arc::clone(&room);
    reading.spawn(async move { read(pages, &reserve, &sender).await });
    let mut groups = Groups::default();
    let mut writes = JoinSet::new();
    let mut at_end = false;
    while !at_end || !groups.ready.is_empty() || !writes.is_empty() {
        tokio::select! {
            Some(written) = writes.join_next() => room.add_permits(written??),
            page = documents.recv(), if !at_end => match page {
                Some(page) => groups.add(page),
                None => at_end = true,
            }
        }
        while writes.len() < target.concurrency
            && let Some((key, unit)) = groups.take(target.changes, target.bytes)
        {
            let target = Arc::clone(target);
            writes.spawn(async move { write(&target, key, &unit).await.map(|()| unit.len()) });
        }
    }
    while let Some(ended) = reading.join_next().await {
        ended??;
    }
    Ok(())
}

/// Sends the documents of each page, limited by the window.
async fn read(
    mut pages: ChangeFeedPageIterator<ChangeFeedItem<Image>>,
    room: &Semaphore,
    sender: &mpsc::Sender<Vec<Document>>,
) -> Result<(), Failure> {
    while let Some(page) = pages.next().await {
        let page = page?;
        let status = page.diagnostics().status().map(|status| u16::from(status.status_code()));
        if status == Some(304) {
            break;
        }
        let documents: Vec<_> = page.into_items().into_iter().filter_map(document_of).collect();
        room.acquire_many(u32::try_from(documents.len())?).await?.forget();
        sender.send(documents).await?;
    }
    Ok(())
}

fn document_of(item: ChangeFeedItem<Image>) -> Option<Document> {
    let Image(document) = item.current().cloned()?;
    drop(item); // So that it is taken and not copied.
    let mut document = Arc::unwrap_or_clone(document);
    for property in SYSTEM_PROPERTIES {
        document.remove(property);
    }
    Some(document)
}

type Key = (String, String);

/// Documents that wait for a write, by partition key.
#[derive(Default)]
struct Groups {
    waiting: HashMap<Key, VecDeque<Document>>,
    /// The keys of `waiting`, in order.
    ready: VecDeque<Key>,
}

impl Groups {
    fn add(&mut self, documents: Vec<Document>) {
        for document in documents {
            let key = key_of(&document);
            let group = self.waiting.entry(key).or_insert_with_key(|key| {
                self.ready.push_back(key.clone());
                VecDeque::new()
            });
            group.push_back(document);
        }
    }

    /// The first group, or as much of it as fits into one batch.
    fn take(&mut self, changes: usize, bytes_max: usize) -> Option<(Key, Vec<Document>)> {
        let key = self.ready.pop_front()?;
        let group = self.waiting.get_mut(&key)?;
        let mut unit: Vec<Document> = Vec::new();
        let mut bytes = 0;
        while let Some(document) = group.front() {
            bytes += object_bytes(document);
            if !unit.is_empty() && (unit.len() == changes || bytes > bytes_max) {
                break;
            }
            unit.extend(group.pop_front());
        }
        if group.is_empty() {
            self.waiting.remove(&key);
        } else {
            self.ready.push_back(key.clone());
        }
        Some((key, unit))
    }
}

/// About the bytes of a document as text.
fn object_bytes(fields: &Document) -> usize {
    2 + fields.iter().map(|(name, value)| name.len() + 4 + value_bytes(value)).sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => 2 + values.iter().map(|one| value_bytes(one) + 1).sum::<usize>(),
        Value::Object(fields) => object_bytes(fields),
    }
}

fn key_of(document: &Document) -> Key {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let region = document.get("customer").and_then(|customer| customer.get("region"));
    (text(region), text(document.get("customerId")))
}

/// One request: a batch for two documents or more, an upsert for one.
async fn write(target: &Target, (region, customer): Key, unit: &[Document]) -> Result<(), Failure> {
    let _turn = target.turns.acquire().await?;
    let key = PartitionKey::from((region, customer));
    if let [document] = unit {
        let id = document.get("id").and_then(Value::as_str).unwrap_or_default();
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
