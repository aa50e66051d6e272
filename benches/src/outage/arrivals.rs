//! The times at which events reach `RabbitMQ`'s consumer and documents the target.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_data_cosmos::feed::FeedScope;
use azure_data_cosmos::options::{ChangeFeedOptions, ChangeFeedStartFrom};
use futures::StreamExt as _;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::{Failure, connect, now};

/// The poll interval of the target, which is also the largest error of a time.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One version of a document.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) sequence: u64,
}

impl Version {
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// The time of each version's first arrival, in microseconds since the epoch, and versions out of order.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(crate) seen: HashMap<Version, u64>,
    newest: HashMap<String, u64>,
    /// Versions that first arrived after a later one of their document.
    pub(crate) out_of_order: u64,
}

pub(crate) type Shared = Arc<Mutex<Arrivals>>;

/// Records one version.
fn note(arrivals: &Shared, version: Version, at: u64) {
    let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    if arrivals.seen.contains_key(&version) {
        return;
    }
    let newest = arrivals.newest.entry(version.id.clone()).or_default();
    let is_late = version.sequence < *newest;
    *newest = version.sequence.max(*newest);
    arrivals.out_of_order += u64::from(is_late);
    arrivals.seen.insert(version, at);
}

/// Consumes a queue until the task is aborted.
pub(crate) async fn consume(url: String, queue: String, arrivals: Shared) -> Result<(), Failure> {
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let (queue, tag) = (queue.as_str().into(), "outage".into());
    let mut messages = channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let version =
            Version::read(&message.data).ok_or("a message that the benchmark did not write")?;
        note(&arrivals, version, now());
    }
    Err("the queue's consumer ended".into())
}

/// Reads the target's change feed until the task is aborted, a reader for each feed range.
pub(crate) async fn follow(
    endpoint: String,
    key: String,
    name: &'static str,
    arrivals: Shared,
) -> Result<(), Failure> {
    let container = connect::container(&endpoint, &key, name).await?;
    let mut readers = JoinSet::new();
    for range in container.read_feed_ranges(None).await? {
        let (container, arrivals) = (container.clone(), Arc::clone(&arrivals));
        readers.spawn(async move {
            let scope = FeedScope::range(range);
            let options = ChangeFeedOptions::default();
            let start = ChangeFeedStartFrom::Beginning;
            let mut pages =
                container.query_change_feed::<Version>(scope, start, Some(options)).await?;
            while let Some(page) = pages.next().await {
                let items = page?.into_items();
                let at = now();
                if items.is_empty() {
                    sleep(LOOK_EVERY).await;
                }
                for version in items.iter().filter_map(|item| item.current().cloned()) {
                    note(&arrivals, version, at);
                }
            }
            Err::<(), Failure>("the target's change feed ended".into())
        });
    }
    while let Some(ended) = readers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Waits until this number of versions has arrived.
pub(crate) async fn until(
    arrivals: &Shared,
    count: usize,
    within: Duration,
    what: &str,
) -> Result<(), Failure> {
    let deadline = Instant::now() + within;
    loop {
        let came = arrivals.lock().unwrap_or_else(PoisonError::into_inner).seen.len();
        if came >= count {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{what}: {came} of {count} changes arrived in {within:?}").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}
