//! The broker is killed and started again ten times amid 100,000 changes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cosmos_bridge_amqp::AmqpSink;
use cosmos_bridge_brokers::Rabbit;
use cosmos_bridge_sink::{Change, Outcome, Sink};

use crate::support::{settings, sink, upsert};

const DOCUMENTS: usize = 10_000;
const VERSIONS: i64 = 10;
const RESTARTS: usize = 10;
const LANES: usize = 4;
const BATCH: usize = 500;
/// Of the whole test process.
const MOST_KIB: u64 = 150 * 1024;

/// Writes every version of its documents, as the bridge does: what is deferred is offered again, in its
/// order, until it is delivered.
async fn lane(sink: &AmqpSink, lane: usize, delivered: &AtomicUsize) {
    for version in 1..=VERSIONS {
        let documents: Vec<usize> = (lane..DOCUMENTS).step_by(LANES).collect();
        for batch in documents.chunks(BATCH) {
            let mut left: Vec<Change> =
                batch.iter().map(|number| upsert(&format!("d-{number}"), version)).collect();
            while !left.is_empty() {
                let written = sink.write(&left).await;
                let before = left.len();
                let mut outcomes = written.outcomes.iter();
                left.retain(|_| match outcomes.next() {
                    Some(Outcome::Delivered) => false,
                    Some(Outcome::Deferred { .. }) => true,
                    other => panic!("{other:?}"),
                });
                delivered.fetch_add(before - left.len(), Ordering::Relaxed);
                if !left.is_empty() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// The largest this process ever was.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn ten_restarts_amid_100_000_changes_lose_and_reorder_nothing() {
    let mut rabbit = Rabbit::start().await.unwrap();
    rabbit.create_exchange("changes", "topic").await.unwrap();
    rabbit.create_queue("all", Some(("changes", "#"))).await.unwrap();
    let sink = sink(settings(&rabbit.url(), "changes"));
    let all = DOCUMENTS * usize::try_from(VERSIONS).unwrap();
    let delivered = AtomicUsize::new(0);
    let lanes = (0..LANES).map(|number| lane(&sink, number, &delivered));
    let restarts = async {
        for restart in 1..=RESTARTS {
            while delivered.load(Ordering::Relaxed) < all * restart / (RESTARTS + 1) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            rabbit.kill().await;
            rabbit.restart().await.unwrap();
        }
        rabbit
    };
    let (_, rabbit) = tokio::join!(futures::future::join_all(lanes), restarts);
    sink.close().await.unwrap();
    let order = rabbit.order("all", "/version", Some("/id")).await.unwrap();
    let peak = peak_kib();
    println!("{} messages, {} of them again; peak {peak} KiB", order.messages, order.duplicates);
    assert_eq!(order.distinct, all as u64);
    assert_eq!(order.keys, DOCUMENTS as u64);
    assert_eq!((order.out_of_order, order.ends_stale, order.unnumbered), (0, 0, 0), "{order:?}");
    // No more can be under way when the broker goes, ten times.
    assert!(order.duplicates <= (RESTARTS * LANES * BATCH) as u64, "{order:?}");
    assert!(peak <= MOST_KIB, "{peak} KiB");
}
