//! Writes of different keys that share a request.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cosmos_bridge_sink::{Cause, Change, Grouping, Outcome, Sink as _, Written};

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
async fn without_the_option_and_with_source_field_nothing_changes() {
    for (bulk, source_field) in [(false, None), (true, Some("_source".to_owned()))] {
        let service = service();
        let container = Arc::clone(&service);
        let options = CosmosOptions { bulk, source_field, ..options() };
        let sink = CosmosSink::new("target", options, container, || 0);
        assert_eq!(sink.limits().grouping, Grouping::Key);
        deliver(&sink, documents(3)).await;
        assert_eq!(service.bulks.load(Relaxed), 0);
    }
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

#[tokio::test(start_paused = true)]
async fn changes_of_one_document_are_in_requests_one_after_the_other() {
    let service = service();
    let sink = sink(&service, Strategy::Upsert);
    let changes = [upsert("a", 1), upsert("b", 2), upsert("a", 3), delete("b", 4), upsert("a", 5)];
    let written = sink.write(&changes).await;
    assert_eq!((outcomes(&written).as_str(), written.requests), ("ddddd", 3));
    let executed: Vec<_> = service.executed();
    let of = |id: &str| {
        let versions = executed.iter().filter(|(of, _)| of == id).map(|(_, version)| *version);
        versions.collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("b")), (vec![1, 3, 5], vec![2, 0]));

    // The second change of `a` is throttled: the third one has to wait for it.
    service.script("a", [None, Some((429, 3200))]);
    let changes = [upsert("a", 6), upsert("c", 7), upsert("a", 8), upsert("a", 9)];
    let written = sink.write(&changes).await;
    assert_eq!(outcomes(&written), "dd--");
    deliver(&sink, changes[2..].to_vec()).await;
    assert_eq!(service.documents().await["a"]["version"], 9);
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
