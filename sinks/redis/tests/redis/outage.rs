//! The server killed and started again ten times during 100,000 changes.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use cosmos_bridge_brokers::{Redis, script};
use cosmos_bridge_redis::{Mode, RedisSink};
use cosmos_bridge_sink::{Change, Outcome, Sink};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{EXPIRY, settings, sink, stream, with};

const DOCUMENTS: i64 = 1000;
const VERSIONS: i64 = 100;
const KILLS: usize = 10;
/// Concurrent writes, each of its own documents.
const WRITERS: i64 = 8;
/// Changes in one write.
const WRITE: usize = 250;

/// Writes all versions of all documents while the server is killed ten times; returns how often a change
/// was deferred.
async fn run(redis: &mut Redis, sink: &RedisSink) -> usize {
    let (delivered, deferred) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let writers = join_all((0..WRITERS).map(|writer| write(sink, writer, &delivered, &deferred)));
    let kills = async {
        for kill in 1..=KILLS {
            let all = usize::try_from(DOCUMENTS * VERSIONS).unwrap();
            while delivered.load(Ordering::Relaxed) < all * kill / (KILLS + 1) {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            redis.kill().await;
            redis.restart().await.unwrap();
        }
    };
    tokio::join!(writers, kills);
    deferred.into_inner()
}

/// Versions of a writer's documents, in order; what is deferred is offered again, as the bridge does.
async fn write(sink: &RedisSink, writer: i64, delivered: &AtomicUsize, deferred: &AtomicUsize) {
    let mut changes = (1..=VERSIONS).flat_map(|version| {
        let own = (0..DOCUMENTS).filter(move |number| number % WRITERS == writer);
        own.map(move |number| {
            let id = format!("document-{number}");
            let document = json!({"id": id, "version": version, "note": "n".repeat(300)});
            with(&id, version, document)
        })
    });
    let mut left: Vec<Change> = Vec::new();
    loop {
        left.extend(changes.by_ref().take(WRITE - left.len()));
        if left.is_empty() {
            return;
        }
        let written = sink.write(&left).await;
        let mut outcomes = written.outcomes.into_iter();
        let before = left.len();
        left.retain(|_| match outcomes.next().unwrap() {
            Outcome::Delivered => false,
            Outcome::Deferred { .. } => true,
            Outcome::Rejected { reason } => panic!("rejected: {reason}"),
        });
        delivered.fetch_add(before - left.len(), Ordering::Relaxed);
        deferred.fetch_add(left.len(), Ordering::Relaxed);
        if !left.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_during_100_000_documents_lose_nothing_and_show_no_older_version() {
    let mut redis = Redis::start().await.unwrap();
    let sink = sink(settings(redis.port(), "order:{id}", Mode::Set(EXPIRY)));
    let reader =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testing/brokers/python/read_redis.py");
    let port = redis.port().to_string();
    let arguments = [port.as_str(), "watch", "order:*", "stop"];
    let watch = async { script(&reader, &arguments, "").await.unwrap() };
    let writes = async {
        let deferred = run(&mut redis, &sink).await;
        redis.cli(&["SET", "stop", "1"]).await.unwrap();
        deferred
    };
    let (watched, deferred) = tokio::join!(watch, writes);
    let watched: Value = serde_json::from_str(&watched).unwrap();
    report(&format!("deferred {deferred}, seen {watched}"));
    assert_eq!(watched["backwards"], 0, "an older version was seen after a newer one");
    assert!(watched["reads"].as_u64().unwrap() > 10_000, "{watched}");
    assert!(deferred > 0, "the outages were noticed");
    let values = redis.values("order:*").await.unwrap();
    assert_eq!(values.len(), usize::try_from(DOCUMENTS).unwrap());
    let latest = format!("\"version\":{VERSIONS}}}");
    assert!(values.iter().all(|stored| stored.value.as_str().unwrap().ends_with(&latest)));
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_during_100_000_events_lose_and_disorder_nothing() {
    let mut redis = Redis::start().await.unwrap();
    let sink = sink(settings(redis.port(), "changes", stream()));
    let deferred = run(&mut redis, &sink).await;
    let order = redis.order("changes").await.unwrap();
    report(&format!("deferred {deferred}, {order:?}"));
    assert_eq!(order.distinct, u64::try_from(DOCUMENTS * VERSIONS).unwrap());
    assert_eq!((order.out_of_order, order.ends_stale, order.unnumbered), (0, 0, 0), "{order:?}");
    assert!(deferred > 0, "the outages were noticed");
    sink.close().await.unwrap();
}

#[expect(clippy::print_stdout, reason = "the numbers are what the test is for")]
fn report(line: &str) {
    println!("{line}");
}
