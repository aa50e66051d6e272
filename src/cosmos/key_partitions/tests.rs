use std::collections::BTreeSet;
use std::time::Duration;

use cosmos_bridge_cosmos::{Container, Write};
use cosmos_bridge_emulator::fault::{Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};

use super::{REFRESH_EVERY, REFRESH_PAUSE};
use crate::cosmos::local::Local;
use crate::cosmos::{ContainerHandle, Target};
use crate::deliver::Partitions;
use crate::model::{FeedRange, PartitionId};

fn key(n: u32) -> PartitionKey {
    PartitionKey(vec![KeyValue::String(n.to_string())])
}

async fn partitions_of_keys(target: &Target) -> Vec<PartitionId> {
    let mut ids = Vec::new();
    for n in 0..100 {
        ids.push(target.partition(&key(n)).await);
    }
    ids
}

async fn partitions_of_ranges(container: &ContainerHandle) -> BTreeSet<PartitionId> {
    let clients = container.clients.clients("reading feed ranges").await.unwrap();
    let ranges = clients.container.read_feed_ranges(None).await.unwrap();
    let id = |range: &azure_data_cosmos::feed::FeedRange| {
        let (min, max) = (range.min_inclusive().to_hex(), range.max_exclusive().to_hex());
        container.partition(&FeedRange { min, max })
    };
    ranges.iter().map(id).collect()
}

#[tokio::test]
async fn keys_and_ranges_of_one_partition_have_one_number() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 4)).await;
    let target = Target::new(local.container.clone());
    let keys = partitions_of_keys(&target).await;
    assert!(!keys.contains(&PartitionId::UNKNOWN));
    let ranges = partitions_of_ranges(&local.container).await;
    assert_eq!(ranges.len(), 4);
    assert_eq!(keys.iter().copied().collect::<BTreeSet<_>>(), ranges);
    // Another reader or writer of the container gets the same numbers.
    let again = Target::new(local.account.locate("shop", "orders").await.unwrap());
    assert_eq!(partitions_of_keys(&again).await, keys);
    // A key that does not fit the container's belongs nowhere.
    let wrong = PartitionKey(vec![KeyValue::Null, KeyValue::Null]);
    assert_eq!(target.partition(&wrong).await, PartitionId::UNKNOWN);
}

#[tokio::test]
async fn a_split_is_noticed_in_time_or_when_an_answer_reports_it() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let mut ids = partitions_of_keys(&target).await;
    for (gone, wait) in [(false, REFRESH_EVERY), (true, REFRESH_PAUSE)] {
        local.accounts.split("source", "shop", "orders").await.unwrap();
        if gone {
            local.accounts.fault(FaultRule {
                operation: Some("upsert".to_owned()),
                times: Some(1),
                then: Effect { status: Some(410), substatus: Some(1002), ..Effect::default() },
                ..FaultRule::default()
            });
            let document = serde_json::json!({"id": "1", "k": "1"});
            let document: Document = document.as_object().unwrap().clone().into();
            let write = Write::Upsert((&document).into());
            assert_eq!(target.write(&key(1), "1", write).await.status, 201);
        }
        assert_eq!(partitions_of_keys(&target).await, ids);
        let metadata = local.requests("metadata");
        advance(wait).await;
        let after = partitions_of_keys(&target).await;
        let new: BTreeSet<_> = after.iter().filter(|id| !ids.contains(id)).collect();
        assert_eq!(new.len(), 2, "gone: {gone}, {after:?}");
        // One read for all keys; the SDK reads the account now and then.
        let read = local.requests("metadata") - metadata;
        assert!((1..10).contains(&read), "{read} requests");
        ids = after;
    }
}

/// Otherwise each of them would have the throughput of a partition.
#[tokio::test]
async fn after_a_merge_what_was_two_partitions_counts_as_one() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 4)).await;
    let handle = &local.container;
    let target = Target::new(handle.clone());
    let (before, keys) = (handle.ranges().await.unwrap(), partitions_of_keys(&target).await);
    let ids: Vec<_> = before.iter().map(|range| handle.partition(range)).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 4);
    let ranges = local.accounts.world.account("source").unwrap();
    let ranges = ranges.container("shop", "orders").unwrap().ranges();
    let pair = [ranges[0].id.as_str(), ranges[1].id.as_str()];
    local.accounts.merge("source", "shop", "orders", pair).await.unwrap();
    // The budget reads the ranges once a minute.
    assert_eq!(handle.ranges().await.unwrap().len(), 3);
    let after: Vec<_> = before.iter().map(|range| handle.partition(range)).collect();
    assert_eq!(after[0], after[1]);
    assert_eq!(after[2..], ids[2..]);
    assert!(!ids.contains(&after[0]));
    // Writes too, when they look the partitions up again.
    advance(REFRESH_EVERY).await;
    let written = partitions_of_keys(&target).await;
    for (before, now) in keys.iter().zip(&written) {
        let expected = if ids[..2].contains(before) { after[0] } else { *before };
        assert_eq!(*now, expected);
    }
}

/// Moves tokio's clock without keeping it from moving by itself while requests are under way.
async fn advance(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
