//! Writes of different keys that share a request.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cosmos_bridge_sink::{
    Cause, Change, Grouping, KeyValue, Outcome, PartitionKey, Sink as _, Written,
};

use super::super::service::NO_ANSWER;
use super::{CosmosSink, Service, delete, deliver, options, upsert};
use crate::{CosmosOptions, Strategy};

fn service() -> Arc<Service> {
    Arc::new(Service::new(1, Duration::ZERO))
}

fn sink(service: &Arc<Service>, write: Strategy) -> CosmosSink {
    let container = Arc::clone(service);
    // Enough that nothing is forgotten.
    let options = CosmosOptions { write, bulk: true, remembered_documents: 1000, ..options() };
    CosmosSink::new("target", options, container, || 0)
}

fn outcomes(written: &Written) -> String {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Delivered => 'd',
        Outcome::Rejected { .. } => 'r',
        Outcome::Deferred { .. } => '-',
    };
    written.outcomes.iter().map(letter).collect()
}

fn documents(count: u32) -> Vec<Change> {
    (0..count).map(|n| upsert(&format!("d{n:03}"), 1)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_hundred_documents_are_one_request_and_one_document_is_a_write_alone() {
    let service = service();
    let sink = sink(&service, Strategy::Upsert);
    assert_eq!(sink.limits().grouping, Grouping::Partition);
    let written = sink.write(&documents(100)).await;
    assert_eq!((outcomes(&written), written.requests), ("d".repeat(100), 1));
    assert_eq!(service.bulks.load(Relaxed), 1);
    assert_eq!(service.documents().await.len(), 100);
    let written = sink.write(&[upsert("d000", 2)]).await;
    assert_eq!((outcomes(&written).as_str(), written.requests), ("d", 1));
    assert_eq!(service.bulks.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_option_changes_of_one_key_are_a_batch() {
    let service = service();
    let container = Arc::clone(&service);
    let sink =
        CosmosSink::new("target", CosmosOptions { bulk: false, ..options() }, container, || 0);
    assert_eq!(sink.limits().grouping, Grouping::Key);
    deliver(&sink, documents(3)).await;
    assert_eq!(service.bulks.load(Relaxed), 0);
}

/// Otherwise a write could set a document back that another process has written since.
#[tokio::test(start_paused = true)]
async fn what_has_to_be_read_before_is_read_together_and_then_written_together() {
    let service = service();
    let new_sink = || {
        let container = Arc::clone(&service);
        let source_field = Some("_source".to_owned());
        let options =
            CosmosOptions { bulk: true, source_field, remembered_documents: 1000, ..options() };
        CosmosSink::new("target", options, container, || 0)
    };
    let first = new_sink();
    deliver(&first, documents(20)).await;
    assert_eq!((service.reads.load(Relaxed), service.bulks.load(Relaxed)), (0, 1));
    // A process that knows nothing meets documents, until it expects them.
    let second = new_sink();
    for n in 0..10 {
        deliver(&second, vec![upsert(&format!("d{n:03}"), 2)]).await;
    }
    let reads = service.reads.load(Relaxed);
    let rest: Vec<_> = (10..20).map(|n| upsert(&format!("d{n:03}"), 1 + n % 2)).collect();
    let written = second.write(&rest).await;
    // Each second one is no newer than what the target has, and is written over itself.
    assert_eq!((outcomes(&written), written.requests), ("d".repeat(10), 2));
    assert_eq!(service.reads.load(Relaxed), reads + 1);
    // Replaced on the condition that it is still what was read.
    let older: Vec<_> = (10..20).map(|n| upsert(&format!("d{n:03}"), 1)).collect();
    let written = second.write(&older).await;
    assert_eq!((outcomes(&written), written.superseded), ("d".repeat(10), 5));
}

/// The one waits for half a minute because an attempt may still be executed, the other for a moment.
#[tokio::test(start_paused = true)]
async fn a_document_that_waits_for_a_late_write_delays_no_other_and_is_not_written_meanwhile() {
    let service = service();
    let sink = sink(&service, Strategy::Upsert);
    service.script("a", [Some(NO_ANSWER)]);
    let written = sink.write(&[upsert("a", 1), upsert("b", 1)]).await;
    assert_eq!(outcomes(&written), "-d");
    deliver(&sink, vec![upsert("a", 1)]).await;
    // The lost creation could bring the document back.
    service.script("b", [Some((429, 3200))]);
    let changes = [delete("a", 2), upsert("b", 2)];
    let written = sink.write(&changes).await;
    assert_eq!(outcomes(&written), "--");
    assert_eq!(written.wait, Some(Cause::Throttled.into()));
    let written = sink.write(&changes).await;
    assert_eq!((outcomes(&written).as_str(), written.requests), ("-d", 1));
    let rest = written.wait.and_then(|wait| wait.retry_after).unwrap();
    assert!(rest > Duration::from_secs(15), "{rest:?}");
    tokio::time::advance(rest).await;
    let written = sink.write(&changes[..1]).await;
    assert_eq!((outcomes(&written).as_str(), written.requests), ("d", 1));
}

/// What one operation is answered concerns its own document only. What can be decided is tried again in
/// the same write, as for a write alone.
#[tokio::test(start_paused = true)]
async fn each_operation_has_its_own_result() {
    // Scripted answers of `b`; outcomes; requests; how often the write was throttled; why it waits.
    for (script, expected, requests, throttled, cause) in [
        (vec![], "ddd", 1, 0, None),
        (vec![(429, 3200)], "d-d", 1, 1, Some(Cause::Throttled)),
        (vec![(429, 3214)], "d-d", 1, 1, Some(Cause::HotKey)),
        (vec![(410, 1002)], "d-d", 1, 0, Some(Cause::Moved)),
        (vec![(449, 0)], "d-d", 1, 0, Some(Cause::Fault)),
        (vec![(503, 0)], "d-d", 1, 0, Some(Cause::Busy)),
        // Confirmed by a request of its own.
        (vec![(413, 0)], "ddd", 2, 0, None),
        (vec![(413, 0), (413, 0)], "drd", 2, 0, None),
        (vec![(400, 0), (400, 0)], "drd", 2, 0, None),
        // The create meets a document; the upsert that follows writes it.
        (vec![(409, 0)], "ddd", 2, 0, None),
        // A unique key: the upsert is refused, too.
        (vec![(409, 0), (409, 0)], "drd", 2, 0, None),
    ] {
        let service = service();
        let sink = sink(&service, Strategy::Upsert);
        service.script("b", script.iter().map(|answer| Some(*answer)));
        let changes = [upsert("a", 1), upsert("b", 2), upsert("c", 3)];
        let written = sink.write(&changes).await;
        assert_eq!(outcomes(&written), expected, "{script:?}");
        assert_eq!((written.requests, written.throttled), (requests, throttled), "{script:?}");
        assert_eq!(written.wait.map(|wait| wait.cause), cause, "{script:?}");
        let is_conflict = script == [(409, 0), (409, 0)];
        assert_eq!(written.conflicts, if is_conflict { vec![1] } else { vec![] }, "{script:?}");
    }
}

/// Gives each document a key of its own.
fn own_keys<const N: usize>(changes: [Change; N]) -> [Change; N] {
    changes.map(|mut change| {
        change.partition_key = PartitionKey(vec![KeyValue::String(change.id.clone())]);
        change
    })
}

/// One after the other they would take as many round trips.
#[tokio::test(start_paused = true)]
async fn several_changes_of_one_document_are_a_batch_beside_the_others() {
    let service = service();
    let sink = sink(&service, Strategy::Upsert);
    let changes = own_keys([
        upsert("a", 1),
        upsert("b", 2),
        upsert("a", 3),
        upsert("c", 4),
        delete("b", 5),
        upsert("a", 6),
        upsert("d", 7),
    ]);
    let written = sink.write(&changes).await;
    // Two batches, and one request for `c` and `d`.
    assert_eq!((outcomes(&written), written.requests), ("d".repeat(7), 3));
    let executed: Vec<_> = service.executed();
    let of = |id: &str| {
        let versions = executed.iter().filter(|(of, _)| of == id).map(|(_, version)| *version);
        versions.collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("b")), (vec![1, 3, 6], vec![2, 0]));

    // The second change of `a` is throttled: its batch has to wait, and nothing else.
    service.script("a", [None, Some((429, 3200))]);
    let changes = own_keys([upsert("a", 8), upsert("c", 9), upsert("a", 10), upsert("d", 11)]);
    let written = sink.write(&changes).await;
    assert_eq!(outcomes(&written), "-d-d");
    assert_eq!(written.wait, Some(Cause::Throttled.into()));
    // The second one is too large, alone too. The third one waits for the first one.
    let changes = own_keys([upsert("a", 8), upsert("a", 10), upsert("c", 12), upsert("a", 13)]);
    service.script("a", [None, Some((413, 0)), None, Some((413, 0)), Some((449, 0))]);
    let written = sink.write(&changes).await;
    assert_eq!(outcomes(&written), "drd-");
    deliver(&sink, changes[3..].to_vec()).await;
    assert_eq!(service.documents().await["a"]["version"], 13);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_not_as_it_was_left_is_written_again_and_an_older_version_is_not() {
    let service = service();
    let ours = sink(&service, Strategy::Upsert);
    deliver(&ours, vec![upsert("a", 1), upsert("b", 1)]).await;
    // Another process replaces one of the two.
    deliver(&sink(&service, Strategy::Upsert), vec![upsert("a", 2)]).await;
    let written = ours.write(&[upsert("a", 3), upsert("b", 3)]).await;
    assert_eq!((outcomes(&written).as_str(), written.requests), ("dd", 2));
    let written = ours.write(&[upsert("a", 2), upsert("b", 4)]).await;
    assert_eq!((outcomes(&written).as_str(), written.superseded), ("dd", 1));
    let documents = service.documents().await;
    assert_eq!((&documents["a"]["version"], &documents["b"]["version"]), (&3.into(), &4.into()));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_as_a_whole_is_followed_by_writes_alone() {
    let service = service();
    service.refuses_bulk.store(true, Relaxed);
    let sink = sink(&service, Strategy::InsertIfAbsent);
    service.script("d001", [Some((413, 0))]);
    let written = sink.write(&documents(3)).await;
    assert_eq!((outcomes(&written).as_str(), written.requests), ("drd", 4));
}

/// Up to a hundred at once would be a storm, and each write of the sink could cause one.
#[tokio::test(start_paused = true)]
async fn the_writes_alone_after_a_refused_request_are_no_more_at_once_than_the_sink_may_have() {
    let service = service();
    service.refuses_bulk.store(true, Relaxed);
    let container = Arc::clone(&service);
    let options = CosmosOptions { bulk: true, concurrency: 4, ..options() };
    let sink = CosmosSink::new("target", options, container, || 0);
    let more: Vec<_> = (0..100).map(|n| upsert(&format!("e{n:03}"), 1)).collect();
    let documents = documents(100);
    let (one, other) = futures::join!(sink.write(&documents), sink.write(&more));
    assert_eq!((outcomes(&one), outcomes(&other)), ("d".repeat(100), "d".repeat(100)));
    assert_eq!((one.requests, service.most_alone.load(Relaxed)), (101, 4));
}

/// Its text cannot be part of a request with others.
#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_parsed_is_sent_alone_and_delays_no_other() {
    let service = service();
    service.is_slow_alone.store(true, Relaxed);
    let sink = sink(&service, Strategy::Upsert);
    let mut changes = documents(3);
    let text = br#"{"id":"d000","version":1,"n":1e400}"#;
    let document = Arc::new(cosmos_bridge_sink::Document::parse(text).unwrap());
    changes[0].operation = cosmos_bridge_sink::Operation::Upsert { document };
    let written = sink.write(&changes).await;
    assert_eq!((outcomes(&written).as_str(), written.requests), ("ddd", 2));
    let executed: Vec<_> = service.executed().into_iter().map(|(id, _)| id).collect();
    assert_eq!(executed, ["d001", "d002", "d000"]);
}
