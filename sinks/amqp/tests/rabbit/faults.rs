//! The outcome of changes that the broker does not accept.

use std::time::Duration;

use cosmos_bridge_amqp::Unroutable;
use cosmos_bridge_brokers::Rabbit;
use cosmos_bridge_event::Oversize;
use cosmos_bridge_sink::{Cause, Change, EARLIER_CHANGE, Outcome, Sink, Template, Wait};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{delete, settings, sink, upsert, with};

async fn rabbit_with_queue() -> Rabbit {
    let rabbit = Rabbit::start().await.unwrap();
    rabbit.create_exchange("changes", "topic").await.unwrap();
    rabbit.create_queue("orders", Some(("changes", "shop.orders.upsert"))).await.unwrap();
    rabbit
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Rejected { reason } | Outcome::Deferred { reason } => reason,
    }
}

async fn bodies(rabbit: &Rabbit, queue: &str) -> Vec<Value> {
    let messages = rabbit.read(queue, None).await.unwrap();
    let body = |message: &Value| {
        serde_json::from_str(message["body"].as_str().unwrap()).unwrap_or(Value::Null)
    };
    messages.iter().map(body).collect()
}

const FAULT: Option<Wait> = Some(Wait { cause: Cause::Fault, retry_after: None });
const BUSY: Option<Wait> = Some(Wait { cause: Cause::Busy, retry_after: None });

#[tokio::test]
async fn an_unroutable_message_becomes_a_dead_letter_or_waits() {
    let rabbit = rabbit_with_queue().await;
    // Only upserts have a queue. There are many messages, so that the broker confirms several in one
    // frame and the client attaches returned messages to the wrong ones.
    let changes: Vec<Change> = (0..500)
        .map(|n| if n % 7 == 3 { delete(&n.to_string(), 1) } else { upsert(&n.to_string(), 1) })
        .collect();
    let dead = sink(settings(&rabbit.url(), "changes"));
    for _ in 0..5 {
        let written = dead.write(&changes).await;
        for (n, outcome) in written.outcomes.iter().enumerate() {
            let expected = if n % 7 == 3 {
                Outcome::Rejected {
                    reason: "no queue is bound for exchange `changes`, routing key \
                             `shop.orders.delete` (312 NO_ROUTE)"
                        .to_owned(),
                }
            } else {
                Outcome::Delivered
            };
            assert_eq!(*outcome, expected, "{n}");
        }
        assert_eq!(written.wait, None);
    }
    assert_eq!(rabbit.count("orders").await.unwrap(), 5 * 429);

    let mut settings = settings(&rabbit.url(), "changes");
    settings.options.unroutable = Unroutable::Wait;
    let waits = sink(settings.clone());
    // The later change of `a` has a queue, but must not overtake the earlier one.
    let written = waits.write(&[delete("a", 1), upsert("b", 1), upsert("a", 2)]).await;
    let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
    let unroutable = "no queue is bound for exchange `changes`, routing key `shop.orders.delete` \
                      (312 NO_ROUTE)";
    assert_eq!(reasons, [unroutable, "delivered", EARLIER_CHANGE]);
    assert_eq!(written.wait, FAULT);
    assert!(written.outcomes.iter().all(|o| !matches!(o, Outcome::Rejected { .. })));
    rabbit.create_queue("gone", Some(("changes", "shop.orders.delete"))).await.unwrap();
    let written = waits.write(&[delete("a", 1), upsert("a", 2)]).await;
    assert_eq!(written.outcomes, [Outcome::Delivered, Outcome::Delivered]);

    // Without the flag the broker drops them silently.
    settings.options.mandatory = false;
    settings.options.routing_key = Template::parse("unbound").unwrap();
    let written = sink(settings).write(&[upsert("a", 1)]).await;
    assert_eq!(written.outcomes, [Outcome::Delivered]);
}

#[tokio::test]
async fn a_missing_exchange_or_permission_defers_everything_until_corrected() {
    let rabbit = Rabbit::builder()
        .user("writer", "secret")
        .permission("writer", "/", "^$", "^changes$", "^$")
        .start()
        .await
        .unwrap();
    rabbit.create_exchange("others", "topic").await.unwrap();
    let uri = format!("amqp://writer:secret@127.0.0.1:{}", rabbit.port());
    let mut settings = settings(&uri, "{/to}");
    settings.options.routing_key = Template::parse("all").unwrap();
    let sink = sink(settings);
    let to = |id: &str, exchange: &str| with(id, 1, json!({"id": id, "to": exchange}));
    let broker = format!("publishing to amqp://127.0.0.1:{} (virtual host /)", rabbit.port());
    // Not the name of an exchange that a document holds.
    let answered = |code| {
        let about = "about an exchange that is made of fields of the document";
        format!("{broker}: the broker answered {code} {about}")
    };
    let (missing, denied) = (answered(404), answered(403));
    for (exchange, expected) in [("changes", &missing), ("others", &denied), ("changes", &missing)]
    {
        // One refusal is enough: the channel is closed, and no message on it is known to have arrived.
        let written = sink.write(&[to("a", exchange), to("b", exchange)]).await;
        for outcome in &written.outcomes {
            assert_eq!(*outcome, Outcome::Deferred { reason: expected.clone() });
        }
        assert_eq!(written.wait, FAULT);
    }
    rabbit.create_exchange("changes", "topic").await.unwrap();
    rabbit.create_queue("all", Some(("changes", "all"))).await.unwrap();
    let written = sink.write(&[to("a", "changes"), to("b", "changes")]).await;
    assert_eq!(written.outcomes, [Outcome::Delivered, Outcome::Delivered]);
    // A template that cannot be rendered is an error of the document, not of the broker.
    let written =
        sink.write(&[upsert("c", 1), to("d", "changes"), to("e", &"x".repeat(300))]).await;
    let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
    assert_eq!(
        reasons,
        [
            "no exchange: field /to is missing",
            "delivered",
            "the exchange has 300 bytes; AMQP allows 255"
        ]
    );
    assert_eq!(written.wait, None);
}

#[tokio::test]
async fn a_missing_exchange_delays_only_its_own_messages() {
    let rabbit = Rabbit::start().await.unwrap();
    for exchange in ["first", "last"] {
        rabbit.create_exchange(exchange, "topic").await.unwrap();
        rabbit.create_queue(exchange, Some((exchange, "#"))).await.unwrap();
    }
    let sink = sink(settings(&rabbit.url(), "{/to}"));
    let to = |id: &str, version: i64, exchange: &str| {
        with(id, version, json!({"id": id, "to": exchange, "version": version}))
    };
    let missing = format!(
        "publishing to amqp://127.0.0.1:{} (virtual host /): the broker answered 404 about an exchange \
         that is made of fields of the document",
        rabbit.port()
    );
    let mut read = Vec::new();
    for version in [1, 3, 5] {
        let changes = [
            to("a", version, "first"),
            to("b", version, "missing"),
            to("c", version, "last"),
            to("d", version, "missing"),
            to("a", version + 1, "first"),
            // Its exchange exists, but it must not overtake the waiting change.
            to("b", version + 1, "first"),
        ];
        let written = sink.write(&changes).await;
        let reasons: Vec<&str> = written.outcomes.iter().map(reason).collect();
        let expected = ["delivered", &missing, "delivered", &missing, "delivered", EARLIER_CHANGE];
        assert_eq!(reasons, expected);
        assert_eq!(written.wait, FAULT);
        read.extend(bodies(&rabbit, "first").await);
        read.extend(bodies(&rabbit, "last").await);
    }
    let versions = |id: &str| -> Vec<i64> {
        let of_document = read.iter().filter(|body| body["id"] == id);
        of_document.map(|body| body["version"].as_i64().unwrap()).collect()
    };
    // Only the first refusal repeats messages: then the sink knows which ones to send alone.
    let mut of_a = versions("a");
    of_a.dedup();
    assert_eq!(of_a, [1, 2, 3, 4, 5, 6]);
    assert_eq!(versions("c").iter().filter(|version| **version > 1).count(), 2);
    assert!(versions("b").is_empty());

    rabbit.create_exchange("missing", "topic").await.unwrap();
    rabbit.create_queue("found", Some(("missing", "#"))).await.unwrap();
    for _ in 0..2 {
        let written = sink.write(&[to("b", 1, "missing"), to("b", 2, "first")]).await;
        assert_eq!(written.outcomes, [Outcome::Delivered, Outcome::Delivered]);
    }
    assert_eq!(rabbit.count("found").await.unwrap(), 2);
}

#[tokio::test]
async fn a_full_disk_defers_everything_and_sent_messages_are_not_overtaken() {
    let rabbit = rabbit_with_queue().await;
    let sink = sink(settings(&rabbit.url(), "changes"));
    assert_eq!(sink.write(&[upsert("a", 1)]).await.outcomes, [Outcome::Delivered]);
    rabbit.block().await.unwrap();
    let blocked = format!(
        "amqp://127.0.0.1:{} (virtual host /) accepts no messages: low on disk",
        rabbit.port()
    );
    // The first write detects it; later writes know it.
    for version in [2, 2, 2] {
        let started = Instant::now();
        let written = sink.write(&[upsert("a", version), upsert("b", version)]).await;
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        for outcome in &written.outcomes {
            assert_eq!(*outcome, Outcome::Deferred { reason: blocked.clone() });
        }
        assert_eq!(written.wait, BUSY);
    }
    // Longer than two heartbeats: a blocked connection is not a dead one.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let written = sink.write(&[upsert("a", 2)]).await;
    assert_eq!(reason(&written.outcomes[0]), blocked);
    rabbit.unblock().await.unwrap();
    let delivered = async {
        for change in [upsert("a", 2), upsert("b", 2), upsert("a", 3)] {
            while sink.write(std::slice::from_ref(&change)).await.outcomes != [Outcome::Delivered] {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), delivered).await.unwrap();
    let of_a: Vec<i64> = bodies(&rabbit, "orders")
        .await
        .iter()
        .filter(|body| body["id"] == "a")
        .map(|body| body["version"].as_i64().unwrap())
        .collect();
    // The second version was in flight when the disk was full, and may have arrived later.
    assert!(of_a == [1, 2, 2, 3] || of_a == [1, 2, 3], "{of_a:?}");
}

#[tokio::test]
async fn a_full_queue_defers_and_no_later_change_overtakes() {
    let rabbit = Rabbit::builder()
        .definitions(json!({
            "queues": [{"name": "small", "vhost": "/", "durable": true, "auto_delete": false,
                "arguments": {"x-max-length": 3, "x-overflow": "reject-publish"}}],
        }))
        .start()
        .await
        .unwrap();
    let mut settings = settings(&rabbit.url(), "");
    settings.options.routing_key = Template::parse("small").unwrap();
    let sink = sink(settings);
    let changes: Vec<Change> = (1..=20).map(|version| upsert("a", version)).collect();
    let mut left = changes.as_slice();
    let mut read = Vec::new();
    while !left.is_empty() {
        let written = sink.write(left).await;
        let delivered = written.outcomes.iter().take_while(|o| **o == Outcome::Delivered).count();
        assert!(
            delivered > 0 && written.outcomes[delivered..].iter().all(|o| *o != Outcome::Delivered)
        );
        if let Some(outcome) = written.outcomes.get(delivered) {
            let full = "the broker did not accept the message: a queue is full or has failed";
            assert_eq!((reason(outcome), written.wait), (full, FAULT));
        }
        left = &left[delivered..];
        read.extend(bodies(&rabbit, "small").await);
    }
    let versions: Vec<i64> = read.iter().map(|body| body["version"].as_i64().unwrap()).collect();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_megabytes_are_accepted_and_the_limit_of_the_broker_is_learned() {
    let rabbit = Rabbit::builder().setting("max_message_size", "3000000").start().await.unwrap();
    rabbit.create_queue("all", None).await.unwrap();
    let mut settings = settings(&rabbit.url(), "");
    settings.options.routing_key = Template::parse("all").unwrap();
    let large = |id: &str, bytes: usize| with(id, 1, json!({"id": id, "note": "n".repeat(bytes)}));
    let changes = [large("a", 2_000_000), large("b", 4_000_000), large("c", 100)];
    let first = sink(settings.clone());
    // The broker closes the channel without naming the message, but it states its limit. It may have confirmed
    // the first message before.
    let written = first.write(&changes).await;
    let is_deferred = |outcome: &Outcome| matches!(outcome, Outcome::Deferred { .. });
    assert!(written.outcomes[1..].iter().all(is_deferred), "{written:?}");
    assert!(
        is_deferred(&written.outcomes[0]) || written.outcomes[0] == Outcome::Delivered,
        "{written:?}"
    );
    assert!(reason(&written.outcomes[1]).contains("message size"), "{written:?}");
    let written = first.write(&changes).await;
    let [Outcome::Delivered, Outcome::Rejected { reason: too_large }, Outcome::Delivered] =
        written.outcomes.as_slice()
    else {
        panic!("{written:?}")
    };
    assert!(too_large.ends_with("bytes; the sink accepts 3000000"), "{too_large}");
    assert!(!too_large.contains("nnn"));

    // The limit is raised at the broker, and counts from the next connection on.
    let raise = "application:set_env(rabbit, max_message_size, 5000000).";
    rabbit.ctl(&["eval", raise]).await.unwrap();
    assert!(matches!(first.write(&changes[1..2]).await.outcomes[..], [Outcome::Rejected { .. }]));
    rabbit.close_all_connections().await.unwrap();
    // At most one write uses the closed connection.
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        outcomes.extend(first.write(&changes[1..2]).await.outcomes);
    }
    assert_eq!(outcomes[1], Outcome::Delivered);
    let lower = "application:set_env(rabbit, max_message_size, 3000000).";
    rabbit.ctl(&["eval", lower]).await.unwrap();

    settings.encoder =
        cosmos_bridge_event::Encoder::new(settings.encoder.format(), Oversize::ClaimCheck);
    settings.options.max_message = 1_000_000;
    let written = sink(settings).write(&changes[1..2]).await;
    assert_eq!(written.outcomes, [Outcome::Delivered]);
    let messages = rabbit.read("all", None).await.unwrap();
    let last = &messages[messages.len() - 1];
    assert_eq!(last["headers"]["ce-dataref"], "cosmosdb://source/shop/orders/%5B%22b%22%5D/b");
    assert_eq!(last["body"], "");
}

#[tokio::test]
async fn a_broker_that_freezes_or_closes_the_connection_defers_in_time() {
    let rabbit = rabbit_with_queue().await;
    let sink = sink(settings(&rabbit.url(), "changes"));
    assert_eq!(sink.write(&[upsert("a", 1)]).await.outcomes, [Outcome::Delivered]);
    let node = rabbit.ids()[0].to_string();
    let signal = async |signal: &str| {
        let sent = tokio::process::Command::new("kill").args([signal, &node]).status().await;
        assert!(sent.unwrap().success());
    };
    signal("-STOP").await;
    let started = Instant::now();
    // Detected by heartbeats, then by connection attempts without an answer.
    for _ in 0..2 {
        let written = sink.write(&[upsert("a", 2)]).await;
        assert!(matches!(written.outcomes[..], [Outcome::Deferred { .. }]), "{written:?}");
        assert_eq!(written.wait, BUSY);
    }
    let took = started.elapsed();
    signal("-CONT").await;
    assert!(took < Duration::from_secs(12), "{took:?}");
    let again = async {
        while sink.write(&[upsert("a", 2)]).await.outcomes != [Outcome::Delivered] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.unwrap();
    rabbit.close_all_connections().await.unwrap();
    // At most one write uses the closed connection.
    let after = [
        sink.write(&[upsert("a", 3)]).await.outcomes,
        sink.write(&[upsert("a", 3)]).await.outcomes,
    ];
    assert!(matches!(after[0][..], [Outcome::Deferred { .. } | Outcome::Delivered]), "{after:?}");
    assert_eq!(after[1], [Outcome::Delivered]);
}
