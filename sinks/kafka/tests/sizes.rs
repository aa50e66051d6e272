//! Messages whose size only the broker knows, because they are compressed.

mod support;

use std::collections::BTreeMap;

use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_event::{Encoder, Oversize};
use cosmos_bridge_kafka::KafkaSink;
use cosmos_bridge_sink::{Change, Outcome, Sink};
use support::{BINARY, change, incompressible, settings};

/// Offers changes until none is deferred, as the bridge does. Returns the reasons of dead letters by document.
async fn offer(sink: &KafkaSink, changes: Vec<Change>) -> BTreeMap<String, String> {
    let mut rejected = BTreeMap::new();
    let mut left = changes;
    for _ in 0..20 {
        let written = sink.write(&left).await;
        let mut outcomes = written.outcomes.into_iter();
        left.retain(|change| match outcomes.next() {
            Some(Outcome::Delivered) => false,
            Some(Outcome::Rejected { reason }) => {
                rejected.insert(change.id.clone(), reason);
                false
            }
            _ => true,
        });
        if left.is_empty() {
            return rejected;
        }
    }
    panic!("never ends: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_judged_by_its_size_after_compression() {
    let kafka = Kafka::builder().user("writer", "secret").start().await.unwrap();
    let refused =
        "the topic refuses the message as too large, even compressed and alone in a batch";
    // The limit is read before, read at the first refusal, or cannot be read.
    for (name, is_checked, may_ask) in
        [("checked", true, true), ("asked", false, true), ("denied", false, false)]
    {
        kafka.create_topic(name, 1, &[("max.message.bytes", "20000")]).await.unwrap();
        for operation in ["write", "describe"] {
            kafka.allow("writer", name, operation).await.unwrap();
        }
        if may_ask {
            kafka.allow("writer", name, "describe_configs").await.unwrap();
        }
        let mut settings = settings(&kafka.sasl_bootstrap().unwrap(), name);
        settings.sasl = Some(support::password());
        let sink = KafkaSink::new("events", settings.clone()).unwrap();
        if is_checked {
            sink.check().await.unwrap();
        }
        let mut changes: Vec<_> = (0..40).map(|n| change(&format!("d{n}"), n, 50_000)).collect();
        changes.insert(20, incompressible("large", 1, 40_000));
        let large = BTreeMap::from([("large".to_owned(), refused.to_owned())]);
        assert_eq!(offer(&sink, changes).await, large, "{name}");
        // The refusal of one message does not concern others that are larger only before compression.
        let changes = vec![change("d1", 50, 300_000), change("d2", 50, 60_000)];
        assert_eq!(offer(&sink, changes).await, BTreeMap::new(), "{name}");
        sink.close().await.unwrap();

        settings.encoder = Encoder::new(BINARY, Oversize::ClaimCheck);
        let sink = KafkaSink::new("events", settings).unwrap();
        let changes = vec![change("d3", 60, 0), incompressible("large", 2, 40_000)];
        assert_eq!(offer(&sink, changes).await, BTreeMap::new(), "{name}");
        sink.close().await.unwrap();
        let messages = kafka.read(name, None).await.unwrap();
        let last = messages.iter().rfind(|message| message["key"] == "p/large").unwrap();
        assert!(last["headers"]["ce_dataref"].is_string(), "{name}: {last}");
        let order = kafka.order(name, "sequence").await.unwrap();
        assert_eq!((order.keys, order.out_of_order, order.ends_stale), (41, 0, 0), "{name}");
    }
}
