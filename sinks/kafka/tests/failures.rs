//! Failures, and their exact messages.

mod support;

use std::time::Duration;

use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_event::{Encoder, Oversize};
use cosmos_bridge_kafka::{Compression, KafkaSink};
use cosmos_bridge_sink::{Cause, Outcome, Sink, SinkError, SinkErrorKind};
use support::{BINARY, change, container, delete, only, reason, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_reported_and_waited_for() {
    let kafka = Kafka::start().await.unwrap();
    let sink = KafkaSink::new("events", settings(&kafka.bootstrap(), "orders")).unwrap();

    let error = sink.check().await.unwrap_err();
    assert_eq!(error.message, "topic `orders`: the topic does not exist; create it");
    assert_eq!(
        error.hint.as_deref(),
        Some("Create the topic, or correct `topic`; the bridge does not create topics.")
    );
    assert!(!error.is_transient());

    let changes = [change("a", 1, 0), change("a", 2, 0)];
    let mut reasons = Vec::new();
    for _ in 0..3 {
        let written = sink.write(&changes).await;
        assert!(
            written.outcomes.iter().all(|o| matches!(o, Outcome::Deferred { .. })),
            "{written:?}"
        );
        reasons.push(reason(&written.outcomes[0]).to_owned());
    }
    let missing = "topic `orders`: the topic does not exist; create it";
    assert!(reasons.iter().any(|reason| reason == missing), "{reasons:?}");

    kafka.create_topic("orders", 1, &[]).await.unwrap();
    deliver_at_last(&sink, &changes).await;
    let order = kafka.order("orders", "sequence").await.unwrap();
    assert_eq!((order.distinct, order.out_of_order, order.ends_stale), (2, 0, 0), "{order:?}");
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_of_the_names_of_a_container_is_asked_for_like_a_constant_one() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("shop.orders", 1, &[]).await.unwrap();
    let sources = ["orders", "returns"].map(container);
    let check = async |topic: &str| {
        let settings = settings(&kafka.bootstrap(), topic);
        let sink = KafkaSink::new("events", settings).unwrap().with_sources(&sources);
        let checked = sink.check().await.map_err(|error| (error.message, error.kind));
        sink.close().await.unwrap();
        checked
    };
    let missing = "topic `shop.returns`: the topic does not exist; create it".to_owned();
    assert_eq!(check("{database}.{container}").await, Err((missing, SinkErrorKind::Missing)));
    // Which topics these are is known with the first change.
    check("{database}.{container}.{operation}").await.unwrap();
    check("{container}.{/tenant}").await.unwrap();
    kafka.create_topic("shop.returns", 1, &[]).await.unwrap();
    check("{database}.{container}").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_message_that_is_too_large_for_the_topic_is_rejected() {
    let kafka = Kafka::start().await.unwrap();
    // The default limit of a megabyte, and a topic with a lower limit.
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    kafka.create_topic("small", 1, &[("max.message.bytes", "20000")]).await.unwrap();

    let sink = KafkaSink::new("events", settings(&kafka.bootstrap(), "orders")).unwrap();
    let changes = [change("a", 1, 0), change("a", 2, 2_000_000), change("a", 3, 0)];
    let written = sink.write(&changes).await;
    let [Outcome::Delivered, Outcome::Rejected { reason }, Outcome::Delivered] = &*written.outcomes
    else {
        panic!("{written:?}");
    };
    assert!(reason.starts_with("the event has 200"), "{reason}");
    assert!(reason.contains("bytes; the sink accepts 999"), "{reason}");
    sink.close().await.unwrap();

    // The limit is read before, or learned from the first refusal of a batch with other messages.
    for is_checked in [true, false] {
        let mut settings = settings(&kafka.bootstrap(), "small");
        // The broker counts bytes after compression.
        settings.options.compression = Compression::None;
        let sink = KafkaSink::new("events", settings).unwrap();
        if is_checked {
            sink.check().await.unwrap();
        }
        let mut left: Vec<_> = (0..40).map(|n| change(&format!("d{n}"), n, 1000)).collect();
        left.insert(20, change("large", 1, 50_000));
        let mut rejected = 0;
        let mut writes = 0;
        while !left.is_empty() {
            writes += 1;
            assert!(writes < 20, "never ends: {left:?}");
            let written = sink.write(&left).await;
            let mut outcomes = written.outcomes.iter();
            left.retain(|_| match outcomes.next().unwrap() {
                Outcome::Delivered => false,
                Outcome::Rejected { reason } => {
                    assert!(reason.contains("bytes; the sink accepts 19"), "{reason}");
                    rejected += 1;
                    false
                }
                Outcome::Deferred { .. } => true,
            });
        }
        assert_eq!(rejected, 1);
        assert_eq!(writes == 1, is_checked, "{writes}");
        sink.close().await.unwrap();
    }
    let order = kafka.order("small", "sequence").await.unwrap();
    assert_eq!((order.keys, order.out_of_order), (40, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_check_refers_to_the_document_that_is_too_large() {
    let kafka = Kafka::start().await.unwrap();
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    let mut settings = settings(&kafka.bootstrap(), "orders");
    settings.encoder = Encoder::new(BINARY, Oversize::ClaimCheck);
    let sink = KafkaSink::new("events", settings).unwrap();
    let changes = [change("a", 1, 0), change("a", 2, 2_000_000), change("a", 3, 0)];
    let written = sink.write(&changes).await;
    assert_eq!(written.outcomes, vec![Outcome::Delivered; 3]);
    let messages = kafka.read("orders", Some(3)).await.unwrap();
    let headers = &messages[1]["headers"];
    assert!(headers["ce_dataref"].as_str().unwrap().contains("orders"), "{headers}");
    assert_eq!(messages[1]["value"], "");
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_a_topic_or_a_key_is_rejected() {
    let kafka = Kafka::start().await.unwrap();
    let sink = |topic: &str, key: &str| {
        let mut settings = settings(&kafka.bootstrap(), topic);
        settings.options.key = cosmos_bridge_sink::Template::parse(key).unwrap();
        KafkaSink::new("events", settings).unwrap()
    };
    let cases = [
        ("{/missing}", "{id}", "no topic: field /missing is missing"),
        ("orders", "{/missing}", "no key: field /missing is missing"),
        ("{/id}", "{id}", "the name of the topic is not allowed in Kafka"),
    ];
    for (topic, key, expected) in cases {
        let sink = sink(topic, key);
        let written = sink.write(&[change("not a topic", 1, 0)]).await;
        let (outcome, wait) = only(&written);
        assert_eq!(*outcome, Outcome::Rejected { reason: expected.to_owned() });
        assert_eq!(wait, None);
        sink.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_broker_is_waited_for_and_nothing_is_sent_twice() {
    let mut kafka = Kafka::start().await.unwrap();
    kafka.create_topic("orders", 1, &[]).await.unwrap();
    let mut settings = settings(&kafka.bootstrap(), "orders");
    settings.options.request_timeout = Duration::from_secs(3);
    let sink = KafkaSink::new("events", settings).unwrap();
    assert_eq!(sink.write(&[change("a", 1, 0)]).await.outcomes, [Outcome::Delivered]);

    kafka.kill().await;
    let changes = [change("a", 2, 0), change("a", 3, 0), delete("b", 1)];
    for _ in 0..2 {
        let written = sink.write(&changes).await;
        assert_eq!(written.wait.map(|wait| wait.cause), Some(Cause::Busy));
        let reason = reason(&written.outcomes[0]);
        assert!(reason.starts_with("not acknowledged within 3s: "), "{reason}");
        assert!(
            reason.contains("Connection refused") || reason.contains("Disconnected"),
            "{reason}"
        );
    }
    let error = sink.check().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    kafka.restart().await.unwrap();
    deliver_at_last(&sink, &changes).await;
    let order = kafka.order("orders", "sequence").await.unwrap();
    let expected = (4, 4, 0, 0, 0);
    let found =
        (order.messages, order.distinct, order.duplicates, order.out_of_order, order.ends_stale);
    assert_eq!(found, expected, "the client held the messages all the time");
    sink.close().await.unwrap();
}

#[tokio::test]
async fn options_that_break_the_guarantees_are_refused() {
    let cases = [
        (
            "acks",
            "1",
            "the option `acks` cannot be passed to the client: an event counts as safe only when every in-sync replica has it",
        ),
        (
            "enable.idempotence",
            "false",
            "the option `enable.idempotence` cannot be passed to the client: events of one document would no longer be in order",
        ),
        (
            "delivery.report.only.error",
            "true",
            "the option `delivery.report.only.error` cannot be passed to the client: without its report no event ever counts as delivered",
        ),
        (
            "partitioner",
            "random",
            "the option `partitioner` cannot be passed to the client: events of one document would no longer be in order",
        ),
        ("no.such.option", "1", "the client does not accept its options: "),
    ];
    for (name, value, expected) in cases {
        let mut settings = settings("127.0.0.1:1", "orders");
        settings.options.options.push((name.to_owned(), value.to_owned()));
        let error: SinkError = KafkaSink::new("events", settings).err().unwrap();
        assert!(error.message.starts_with(expected), "{}", error.message);
        assert!(!error.is_transient() && error.hint.is_some());
    }
}

/// Offers deferred changes again, as the bridge does.
async fn deliver_at_last(sink: &KafkaSink, changes: &[cosmos_bridge_sink::Change]) {
    let mut left = changes.to_vec();
    let repeat = async {
        while !left.is_empty() {
            let written = sink.write(&left).await;
            let mut outcomes = written.outcomes.iter();
            left.retain(|_| matches!(outcomes.next(), Some(Outcome::Deferred { .. })));
            if !left.is_empty() {
                // Waits for a real broker.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), repeat).await.expect("delivered within a minute");
}
