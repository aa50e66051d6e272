//! Reads a topic from its beginning, with the times of the events.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::now;
use crate::Failure;

const PARTITIONS: i32 = 4;

/// The time of an event's arrival, in microseconds since the epoch.
pub(super) struct Seen {
    pub(super) id: String,
    /// The end of the millisecond in which the broker appended the event.
    pub(super) appended: u64,
    pub(super) read: u64,
}

/// Identifies an event by the message's key and body.
pub(super) type Identify = fn(&str, &[u8]) -> Option<String>;

/// Reads until this number of events has arrived. Blocks.
pub(super) fn read(
    servers: &str,
    topic: &str,
    count: u64,
    within: Duration,
    identify: Identify,
) -> Result<Vec<Seen>, Failure> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let deadline = Instant::now() + within;
    let mut seen = Vec::new();
    let mut ids = HashSet::new();
    while u64::try_from(ids.len())? < count {
        if Instant::now() > deadline {
            return Err(format!("{} of {count} events arrived in {within:?}", ids.len()).into());
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        let read = now();
        let key = std::str::from_utf8(message.key().unwrap_or_default())?;
        let body = message.payload().unwrap_or_default();
        let id = identify(key, body).ok_or("a message that the benchmark did not write")?;
        let appended = u64::try_from(message.timestamp().to_millis().unwrap_or_default())?;
        // A repetition does not count.
        if ids.insert(id.clone()) {
            seen.push(Seen { id, appended: (appended + 1) * 1000, read });
        }
    }
    Ok(seen)
}
