//! Connections that end, and a service that is killed and started again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cosmos_bridge_eventhubs::{EventHubsSink, partition_of};
use cosmos_bridge_eventhubs_local::process::{Process, built};
use cosmos_bridge_eventhubs_local::{Fault, Injection, LocalHubs, Node, Options, python};
use cosmos_bridge_sink::{Cause, Change, Outcome, Sink, Written};
use futures::future::join_all;
use serde_json::{Value, json};
use support::{HUB, SHORT, change, change_of, impatient_sink, settings, sink};
use tokio::time::{Instant, sleep};

const DOCUMENTS: usize = 1000;
const VERSIONS: i64 = 100;
const KILLS: usize = 10;
/// Parallel writes, each with its own documents.
const WRITERS: usize = 8;
/// Changes in one write.
const WRITE: usize = 250;
/// Far below the 20 s for which the sinks of these tests wait for an answer.
const AT_ONCE: Duration = Duration::from_secs(8);

/// The client does not end the wait for an answer when the connection has ended.
#[tokio::test]
async fn an_answer_is_not_awaited_after_its_connection_was_lost() {
    let hubs = LocalHubs::start(Options::with_hub(HUB, 1)).await.unwrap();
    let close = |condition: &str| Fault::Close { condition: condition.to_owned() };
    for (number, (fault, node)) in (1..).zip([
        (Fault::Cut, None),
        (close("amqp:connection:forced"), None),
        // While the connection is being opened.
        (Fault::Cut, Some(Node::Cbs)),
        (Fault::Cut, Some(Node::Management)),
        (close("amqp:connection:forced"), Some(Node::Management)),
    ]) {
        let sink = sink(&hubs.connection_string(None));
        let injection = Injection::new(fault.clone(), 1);
        hubs.inject(match node {
            Some(node) => injection.on_node(node),
            None => injection,
        });
        let started = Instant::now();
        let written = sink.write(&[change("a", number)]).await;
        let took = started.elapsed();
        assert!(took < AT_ONCE, "{fault:?} at {node:?}: {took:?}");
        let [Outcome::Deferred { reason }] = &written.outcomes[..] else { panic!("{written:?}") };
        assert!(reason.contains("connection was"), "{fault:?} at {node:?}: {reason}");
        assert_eq!(written.wait.map(|wait| wait.cause), Some(Cause::Busy));
        let again = sink.write(&[change("a", number)]).await;
        assert_eq!(again.outcomes, [Outcome::Delivered], "after {fault:?} at {node:?}");
    }
    assert_eq!(hubs.count(HUB), 5);
}

/// The changes of a write that failed may be sent again at once, so nothing of its connection may be sent any more,
/// not even by another write that still holds it.
#[tokio::test]
async fn a_connection_that_failed_ends_for_all_writes_that_use_it() {
    let hubs = LocalHubs::start(Options::with_hub(HUB, 2)).await.unwrap();
    let sink = impatient_sink(&hubs.connection_string(None));
    let in_partition = |wanted: usize| {
        let mut keys = (0..100).map(|number| format!("k{number}"));
        keys.find(|key| partition_of(key, 2) == wanted).unwrap()
    };
    hubs.inject(Injection::new(Fault::Silence, 2));
    let writes = [0, 1].map(|partition| [change(&in_partition(partition), 1)]);
    let second = async {
        // It would time out that much later than the first.
        sleep(SHORT / 2).await;
        sink.write(&writes[1]).await
    };
    let (first, second) = tokio::join!(sink.write(&writes[0]), second);
    let reason = |written: &Written| match written.outcomes.as_slice() {
        [Outcome::Deferred { reason }] => reason.clone(),
        _ => panic!("{written:?}"),
    };
    assert!(reason(&first).contains("no answer within"), "{first:?}");
    assert!(reason(&second).contains("connection was"), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_during_100_000_changes_lose_and_reorder_nothing() {
    let all = DOCUMENTS * usize::try_from(VERSIONS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hubs = format!("{HUB}=4");
    let mut hub = Process::start(&built().await.unwrap(), folder.path(), &[&hubs]).await.unwrap();
    let connection = hub.connection_string().to_owned();
    let sink = EventHubsSink::new("hub", settings(&connection));
    let before = resident();
    let (delivered, deferred) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (started, longest) = (Instant::now(), AtomicUsize::new(0));

    let writers =
        join_all((0..WRITERS).map(|writer| run(&sink, writer, &delivered, &deferred, &longest)));
    let kills = async {
        let mut largest = 0;
        for kill in 1..=KILLS {
            while delivered.load(Ordering::Relaxed) < all * kill / (KILLS + 1) {
                // Other writers make the progress that this loop waits for.
                sleep(Duration::from_millis(5)).await;
            }
            hub.kill().await.unwrap();
            hub.restart().await.unwrap();
            largest = largest.max(resident());
        }
        largest
    };
    let (_, largest) = tokio::join!(writers, kills);
    sink.close().await.unwrap();
    let took = started.elapsed();

    let options = ["--summary", "--key", "id", "--order", "version"];
    let summary: Value = python::read(&connection, HUB, &options).await.unwrap().remove(0);
    let grown = largest.max(resident()).saturating_sub(before) / 1024;
    let (deferred, longest) = (deferred.into_inner(), longest.into_inner());
    report(&format!(
        "{summary} in {took:.1?}, deferred {deferred}, a write took {longest} ms at most, memory \
         grown by {grown} MiB"
    ));
    assert_eq!((&summary["distinct"], &summary["keys"]), (&json!(all), &json!(DOCUMENTS)));
    assert_eq!(
        (&summary["disorder"], &summary["stale"], &summary["gaps"]),
        (&json!(0), &json!(0), &json!(0)),
        "{summary}"
    );
    assert_eq!(summary["message_ids"], json!(all), "a repetition has the id of the original");
    // At most the changes in flight are repeated.
    assert!(summary["duplicates"].as_u64() <= Some((KILLS * WRITERS * WRITE) as u64), "{summary}");
    assert!(deferred > 0, "the outages were noticed");
    // Eight writes of 250 changes need a megabyte; the buffers of the client need more.
    assert!(grown < 100, "{grown} MiB more than before");
}

/// Writes the versions of one writer's documents in order; offers deferred changes again, as the bridge does.
async fn run(
    sink: &EventHubsSink,
    writer: usize,
    delivered: &AtomicUsize,
    deferred: &AtomicUsize,
    longest: &AtomicUsize,
) {
    let mut documents = (1..=VERSIONS).flat_map(|version| {
        let own = (0..DOCUMENTS).filter(move |number| number % WRITERS == writer);
        own.map(move |number| {
            change_of(&format!("k-{}", number % 100), &format!("d-{number}"), version, 300)
        })
    });
    let mut left: Vec<Change> = Vec::new();
    loop {
        left.extend(documents.by_ref().take(WRITE - left.len()));
        if left.is_empty() {
            return;
        }
        let started = Instant::now();
        let written = sink.write(&left).await;
        let took = started.elapsed().as_millis().try_into().unwrap();
        longest.fetch_max(took, Ordering::Relaxed);
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
            // The bridge waits too, but longer.
            sleep(Duration::from_millis(20)).await;
        }
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
