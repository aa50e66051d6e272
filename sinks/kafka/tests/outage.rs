//! The broker is killed and started again ten times during 100,000 changes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cosmos_bridge_brokers::Kafka;
use cosmos_bridge_kafka::KafkaSink;
use cosmos_bridge_sink::{Change, Outcome, Sink};
use futures::future::join_all;
use support::{change, settings};

const DOCUMENTS: i64 = 1000;
const VERSIONS: i64 = 100;
const KILLS: usize = 10;
/// Parallel writes, each with its own documents.
const WRITERS: i64 = 8;
/// Changes in one write.
const WRITE: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_during_100_000_changes_lose_and_reorder_nothing() {
    let mut kafka = Kafka::start().await.unwrap();
    kafka.create_topic("orders", 6, &[]).await.unwrap();
    let mut settings = settings(&kafka.bootstrap(), "orders");
    // Shorter than a restart, so that changes are deferred and offered again.
    settings.options.request_timeout = Duration::from_secs(1);
    let sink = KafkaSink::new("events", settings).unwrap();
    let before = resident();
    let (delivered, deferred) = (AtomicUsize::new(0), AtomicUsize::new(0));

    let writers = join_all((0..WRITERS).map(|writer| run(&sink, writer, &delivered, &deferred)));
    let kills = async {
        let mut largest = 0;
        for kill in 1..=KILLS {
            let all = usize::try_from(DOCUMENTS * VERSIONS).unwrap();
            while delivered.load(Ordering::Relaxed) < all * kill / (KILLS + 1) {
                // Other writers make the progress that this loop waits for.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            kafka.kill().await;
            kafka.restart().await.unwrap();
            largest = largest.max(resident());
        }
        largest
    };
    let (_, largest) = tokio::join!(writers, kills);
    sink.close().await.unwrap();

    let order = kafka.order("orders", "sequence").await.unwrap();
    let grown = largest.saturating_sub(before) / 1024;
    let deferred = deferred.into_inner();
    report(&format!("{order:?}, deferred {deferred}, memory grown by {grown} MiB"));
    assert_eq!(order.distinct, u64::try_from(DOCUMENTS * VERSIONS).unwrap());
    assert_eq!((order.out_of_order, order.ends_stale, order.unnumbered), (0, 0, 0), "{order:?}");
    assert!(deferred > 0, "the outages were noticed");
    // Eight writes of 250 changes need some megabytes; the threads and buffers of the client need more.
    assert!(grown < 200, "{grown} MiB more than before");
}

/// Writes the versions of one writer's documents in order; offers deferred changes again, as the bridge does.
async fn run(sink: &KafkaSink, writer: i64, delivered: &AtomicUsize, deferred: &AtomicUsize) {
    let mut documents = (1..=VERSIONS).flat_map(|version| {
        let own = (0..DOCUMENTS).filter(move |number| number % WRITERS == writer);
        own.map(move |number| change(&format!("document-{number}"), version, 300))
    });
    let mut left: Vec<Change> = Vec::new();
    loop {
        left.extend(documents.by_ref().take(WRITE - left.len()));
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
    }
}

/// Resident memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[expect(clippy::print_stdout, reason = "the numbers are what the test is for")]
fn report(line: &str) {
    println!("{line}");
}
