use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cosmos_bridge_sink::{Change, Fields, OldCopies, Operation, Outcome, Place, Sink as _};

use super::CosmosSink;
use super::service::Service;
use crate::fixtures::{delete, mapped, options, upsert};
use crate::{CosmosOptions, OnCollision, Strategy};

mod bulk;
mod conformance;
mod copies;
mod order;
mod outdated;

/// The longest time that a request is on its way.
const LATEST: Duration = Duration::from_secs(20);

/// Offers changes until each is delivered, as the bridge does.
async fn deliver(sink: &CosmosSink, mut changes: Vec<Change>) {
    while !changes.is_empty() {
        let written = sink.write(&changes).await;
        let left = changes.into_iter().zip(&written.outcomes).filter_map(|(change, outcome)| {
            assert!(!matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
            (*outcome != Outcome::Delivered).then_some(change)
        });
        changes = left.collect();
        let pause = written.wait.and_then(|wait| wait.retry_after);
        tokio::time::advance(pause.unwrap_or(Duration::from_millis(200))).await;
    }
}

/// Writes a random history of six documents, in batches and one by one, over processes that end.
/// Returns whether the target is as the history ends.
async fn follows(
    seed: u64,
    late_write_limit: Duration,
    source_field: Option<&str>,
    bulk: bool,
) -> (bool, u32) {
    let service = Arc::new(Service::new(seed, LATEST));
    let mut model: BTreeMap<String, Fields> = BTreeMap::new();
    let new_sink = || {
        let container = Arc::clone(&service);
        let source_field = source_field.map(str::to_owned);
        let options = CosmosOptions { bulk, source_field, late_write_limit, ..options() };
        CosmosSink::new("target", options, container, || 0)
    };
    let mut sink = new_sink();
    let mut version = 0;
    for _ in 0..12 {
        let mut changes = Vec::new();
        for _ in 0..=service.below(4) {
            version += 1;
            let id = format!("d{}", service.below(6));
            // A feed has no delete of a document that does not exist.
            let is_delete = model.contains_key(&id) && service.below(3) == 0;
            let change = if is_delete { delete(&id, version) } else { upsert(&id, version) };
            match &change.operation {
                Operation::Upsert { document } => model.insert(id, document.fields()),
                Operation::Delete { .. } => model.remove(&id),
            };
            changes.push(change);
        }
        deliver(&sink, changes).await;
        // Another process, which knows nothing of the attempts of this one.
        if service.below(4) == 0 {
            tokio::time::advance(LATEST).await;
            sink = new_sink();
        }
    }
    let late = service.late_requests.load(Ordering::Relaxed);
    let mut documents = service.documents().await;
    for document in documents.values_mut() {
        let stamp = source_field.and_then(|field| document.remove(field));
        assert_eq!(stamp.is_some(), source_field.is_some());
    }
    (documents == model, late)
}

#[tokio::test(start_paused = true)]
async fn late_lost_and_repeated_requests_leave_the_target_as_the_source_is() {
    let mut late = 0;
    for seed in 0..1000 {
        let source_field = (seed % 2 == 1).then_some("_source");
        for bulk in [false, true] {
            let (is_equal, requests) = follows(seed, LATEST, source_field, bulk).await;
            assert!(is_equal, "seed {seed}, bulk: {bulk}");
            late += requests;
        }
    }
    // Each schedule has some.
    assert!(late > 2000, "{late}");
}

/// Otherwise the test above could not fail.
#[tokio::test(start_paused = true)]
async fn without_a_limit_late_requests_do_harm() {
    for bulk in [false, true] {
        let mut harmed = 0;
        for seed in 0..200 {
            harmed += u32::from(!follows(seed, Duration::ZERO, None, bulk).await.0);
        }
        assert!(harmed > 10, "{harmed}, bulk: {bulk}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_version_is_not_written_over_a_later_one() {
    // Alone, and in a batch.
    for latest in [vec![upsert("a", 7)], vec![upsert("a", 7), upsert("b", 7)]] {
        let service = Arc::new(Service::new(1, LATEST));
        let container = Arc::clone(&service);
        let sink = CosmosSink::new("target", options(), container, || 0);
        let count = latest.len();
        deliver(&sink, latest).await;
        for late in
            [vec![upsert("a", 3)], vec![upsert("a", 3), delete("a", 4)], vec![delete("a", 6)]]
        {
            deliver(&sink, late).await;
            assert_eq!(service.documents().await["a"]["version"], 7);
        }
        deliver(&sink, vec![delete("a", 8)]).await;
        assert_eq!(service.documents().await.len(), count - 1);
    }
}

/// The service may throttle one part of a batch, in an answer that is no 429.
#[tokio::test(start_paused = true)]
async fn a_batch_of_which_a_part_is_throttled_counts_as_throttled() {
    let service = Arc::new(Service::new(1, Duration::ZERO));
    let container = Arc::clone(&service);
    let sink = CosmosSink::new("target", options(), container, || 0);
    service.script("b", [Some((429, 3200))]);
    let changes = vec![upsert("a", 1), upsert("b", 2)];
    let written = sink.write(&changes).await;
    assert_eq!(written.throttled, 1);
    assert!(written.outcomes.iter().all(|outcome| *outcome != Outcome::Delivered));
    deliver(&sink, changes).await;
    assert_eq!(service.documents().await.len(), 2);
}

/// The answers for an id that exists and for a unique key that is taken differ by their text only.
#[tokio::test(start_paused = true)]
async fn insert_if_absent_asks_the_target_whether_a_document_that_was_refused_exists() {
    const CONFLICT: Option<(u16, u32)> = Some((409, 0));
    // Whether the document exists; scripted answers; the outcome; the version that the target has; reads.
    let cases = [
        ("it exists", true, vec![], true, Some(1), 1),
        (
            "it exists, by the answer of a replica that knows",
            true,
            vec![CONFLICT],
            true,
            Some(1),
            1,
        ),
        ("a unique key is taken", false, vec![CONFLICT; 2], false, None, 2),
        ("it was deleted meanwhile", false, vec![CONFLICT], true, Some(2), 1),
    ];
    for (name, exists, script, is_delivered, version, reads) in cases {
        for in_batch in [false, true] {
            let service = Arc::new(Service::new(1, Duration::ZERO));
            let sink = |write| {
                let container = Arc::clone(&service);
                let options = CosmosOptions { write, ..options() };
                CosmosSink::new("target", options, container, || 0)
            };
            if exists {
                deliver(&sink(Strategy::Upsert), vec![upsert("a", 1)]).await;
            }
            // The first answer is to the batch.
            let to_batch = (in_batch && !script.is_empty()).then_some(CONFLICT);
            service.script("a", to_batch.into_iter().chain(script.clone()));
            let mut changes = vec![upsert("a", 2)];
            changes.extend(in_batch.then(|| upsert("b", 3)));
            let written = sink(Strategy::InsertIfAbsent).write(&changes).await;
            let outcome = &written.outcomes[0];
            assert_eq!(*outcome == Outcome::Delivered, is_delivered, "{name}: {outcome:?}");
            // A unique key may become free.
            assert_eq!(written.conflicts.is_empty(), is_delivered, "{name}");
            let documents = service.documents().await;
            let held = documents.get("a").map(|document| document["version"].as_i64().unwrap());
            assert_eq!(held, version, "{name}");
            assert_eq!(service.reads.load(Ordering::Relaxed), reads, "{name}");
        }
    }
}

/// Two source documents that a route maps to one target document.
#[tokio::test(start_paused = true)]
async fn a_delete_removes_only_the_copy_of_its_own_source_document() {
    for in_batches in [true, false] {
        for (on_collision, first, second) in [
            (OnCollision::Newest, "bob", None),
            (OnCollision::DeadLetter, "ann", Some("another source document has this key and id")),
        ] {
            let service = Arc::new(Service::new(1, Duration::ZERO));
            let container = Arc::clone(&service);
            let options = CosmosOptions { on_collision, ..options() };
            let sink = CosmosSink::new("target", options, container, || 0);
            let changes = [mapped("ann", 1, "1"), mapped("bob", 2, "1")];
            let written = if in_batches {
                sink.write(&changes).await
            } else {
                sink.write(&changes[..1]).await;
                sink.write(&changes[1..]).await
            };
            let rejected = match written.outcomes.last().unwrap() {
                Outcome::Rejected { reason } => Some(reason.as_str()),
                _ => None,
            };
            assert_eq!(rejected.is_some(), second.is_some(), "{rejected:?}");
            assert!(rejected.is_none_or(|reason| reason.contains(second.unwrap_or_default())));
            assert_eq!(written.collisions, u32::from(second.is_none()));
            assert_eq!(service.documents().await["1"]["id"], first);
            // The copy stays until its own source document goes.
            let gone = |source| {
                let mut change = delete(source, 5);
                "1".clone_into(&mut change.id);
                change
            };
            let other = if first == "ann" { "bob" } else { "ann" };
            deliver(&sink, vec![gone(other)]).await;
            assert_eq!(service.documents().await["1"]["id"], first);
            deliver(&sink, vec![gone(first)]).await;
            assert_eq!(service.documents().await.len(), 0);
        }
    }
}

fn places(service: &BTreeMap<String, Fields>) -> Vec<&str> {
    service.keys().map(String::as_str).collect()
}

/// A document whose id in the target changes.
#[tokio::test(start_paused = true)]
async fn the_old_copy_goes_after_the_new_one_is_written_unless_its_place_is_taken() {
    for is_known in [true, false] {
        let service = Arc::new(Service::new(1, Duration::ZERO));
        let new_sink = || {
            let container = Arc::clone(&service);
            CosmosSink::new("target", options(), container, || 0)
        };
        let mut sink = new_sink();
        deliver(&sink, vec![mapped("ann", 1, "north")]).await;
        if !is_known {
            sink = new_sink();
        }
        let mut moved = mapped("ann", 2, "south");
        let partition_key = moved.partition_key.clone();
        let old = |id: &str| {
            let place = Place { id: id.to_owned(), partition_key: partition_key.clone() };
            OldCopies::At(Box::new(place))
        };
        moved.old_copies = old("north");
        deliver(&sink, vec![moved]).await;
        assert_eq!(places(&service.documents().await), ["south"]);
        // Another document takes the place before the first one leaves it.
        deliver(&sink, vec![mapped("bob", 3, "south")]).await;
        let mut again = mapped("ann", 4, "west");
        again.old_copies = old("south");
        deliver(&sink, vec![again]).await;
        let documents = service.documents().await;
        assert_eq!(places(&documents), ["south", "west"]);
        assert_eq!(documents["south"]["id"], "bob");
    }
}

/// Without the read, a delete could remove the copy of another source document, and an upsert replace it.
#[test]
fn a_document_of_which_nothing_is_known_is_read_where_only_it_tells_its_source() {
    use crate::Strategy::{InsertIfAbsent, ReplaceIfPresent, Upsert};
    let (upsert, delete) = (upsert("a", 1), delete("a", 1));
    // For an upsert with and without an expected new document, and for a delete.
    for (write, source_field, expected) in [
        (Upsert, Some("_source"), [false, true, true]),
        (InsertIfAbsent, Some("_source"), [false, false, true]),
        (ReplaceIfPresent, Some("_source"), [true, true, true]),
        (Upsert, None, [false, false, false]),
        (InsertIfAbsent, None, [false, false, false]),
        (ReplaceIfPresent, None, [false, false, false]),
    ] {
        let options =
            CosmosOptions { write, source_field: source_field.map(str::to_owned), ..options() };
        let service = Arc::new(Service::new(0, Duration::ZERO));
        let sink = CosmosSink::new("target", options, service, || 0);
        let found = [(&upsert, true), (&upsert, false), (&delete, false)]
            .map(|(change, expects_new)| sink.reads_before(change, expects_new));
        assert_eq!(found, expected, "{write:?} {source_field:?}");
        assert_eq!(sink.reads_before(&delete, true), expected[2], "{write:?} {source_field:?}");
    }
}
