//! With the field that records the source of each document.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cosmos_bridge_sink::{Change, OldCopies, Outcome, PartitionKey, Place, Sink as _};

use super::super::CosmosSink;
use super::super::service::Service;
use super::{LATEST, deliver, places};
use crate::fixtures::{delete, mapped, options, upsert};
use crate::{CosmosOptions, OnCollision};

fn service() -> Arc<Service> {
    Arc::new(Service::new(1, Duration::ZERO))
}

/// The sink of a process that has just started.
fn started(service: &Arc<Service>, on_collision: OnCollision) -> CosmosSink {
    let options = CosmosOptions {
        source_field: Some("_source".to_owned()),
        remembered_documents: 100,
        on_collision,
        ..options()
    };
    let container = Arc::clone(service);
    CosmosSink::new("target", options, container, || 0)
}

/// The feed does not tell where the document was.
fn moved(source: &str, version: u32, target: &str) -> Change {
    Change { old_copies: OldCopies::Anywhere, ..mapped(source, version, target) }
}

/// The feed tells that the document was not there before.
fn created(source: &str, version: u32, target: &str) -> Change {
    Change { old_copies: OldCopies::Nowhere, ..mapped(source, version, target) }
}

/// The feed tells only which document is gone.
fn gone(source: &str, version: u32) -> Change {
    let partition_key = PartitionKey::default();
    Change { partition_key, old_copies: OldCopies::Anywhere, ..delete(source, version) }
}

fn queries(service: &Service) -> u32 {
    service.queries.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn the_next_process_knows_the_versions_that_the_target_has() {
    let service = service();
    let newest = || started(&service, OnCollision::Newest);
    deliver(&newest(), vec![upsert("a", 7)]).await;
    for late in [vec![upsert("a", 3)], vec![upsert("a", 3), delete("a", 4)], vec![delete("a", 6)]] {
        let sink = newest();
        let count = u32::try_from(late.len()).unwrap();
        assert_eq!(sink.write(&late).await.superseded, count);
        assert_eq!(service.documents().await["a"]["version"], 7);
    }
    deliver(&newest(), vec![upsert("a", 8)]).await;
    assert_eq!(service.documents().await["a"]["version"], 8);
    deliver(&newest(), vec![delete("a", 9)]).await;
    assert_eq!(service.documents().await.len(), 0);
    // What is gone already.
    deliver(&newest(), vec![delete("a", 9), upsert("b", 10)]).await;
    assert_eq!(places(&service.documents().await), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_process_knows_whose_copies_the_target_has() {
    for in_batches in [true, false] {
        let service = service();
        let write = async |on_collision, change: Change| {
            let other = upsert(&format!("other {in_batches}"), 1);
            let changes = if in_batches { vec![change, other] } else { vec![change] };
            started(&service, on_collision).write(&changes).await
        };
        write(OnCollision::Newest, mapped("ann", 1, "1")).await;
        let refused = write(OnCollision::DeadLetter, mapped("bob", 2, "1")).await;
        assert_eq!((refused.collisions, refused.superseded), (0, 0));
        let reason = format!("{:?}", refused.outcomes[0]);
        assert!(reason.contains("another source document has this key and id"), "{reason}");
        assert_eq!(service.documents().await["1"]["id"], "ann");
        let taken = write(OnCollision::Newest, mapped("bob", 2, "1")).await;
        assert_eq!(taken.collisions, 1);
        assert_eq!(service.documents().await["1"]["id"], "bob");
        // The first document has no copy any more.
        let foreign = Change { id: "1".to_owned(), ..delete("ann", 3) };
        assert_eq!(write(OnCollision::Newest, foreign).await.superseded, 1);
        assert_eq!(service.documents().await["1"]["id"], "bob");
        let own = Change { id: "1".to_owned(), ..delete("bob", 4) };
        write(OnCollision::Newest, own).await;
        assert!(!service.documents().await.contains_key("1"));
    }
}

/// Documents of an earlier version of the bridge, or of a user.
#[tokio::test(start_paused = true)]
async fn a_document_without_a_record_is_taken_over() {
    let service = service();
    let plain = CosmosSink::new("target", options(), Arc::clone(&service) as _, || 0);
    deliver(&plain, vec![upsert("a", 7), upsert("b", 8)]).await;
    let sink = started(&service, OnCollision::Error);
    deliver(&sink, vec![upsert("a", 9), delete("b", 10)]).await;
    let documents = service.documents().await;
    assert_eq!(places(&documents), ["a"]);
    assert_eq!(documents["a"]["version"], 9);
    assert_eq!(documents["a"]["_source"]["lsn"], 9);
}

#[tokio::test(start_paused = true)]
async fn old_copies_are_found_by_the_document_that_they_are_copies_of() {
    for is_known in [true, false] {
        let service = service();
        let mut sink = started(&service, OnCollision::Newest);
        let next = |sink: &mut CosmosSink| {
            if !is_known {
                *sink = started(&service, OnCollision::Newest);
            }
        };
        deliver(&sink, vec![created("ann", 1, "north"), created("bob", 2, "east")]).await;
        next(&mut sink);
        deliver(&sink, vec![moved("ann", 3, "south")]).await;
        assert_eq!(places(&service.documents().await), ["east", "south"]);
        next(&mut sink);
        // One stays, one moves twice in one write.
        let changes =
            vec![moved("bob", 4, "east"), moved("ann", 5, "west"), moved("ann", 6, "center")];
        deliver(&sink, changes).await;
        assert_eq!(places(&service.documents().await), ["center", "east"]);
        next(&mut sink);
        deliver(&sink, vec![gone("ann", 7), gone("bob", 8), gone("eve", 9)]).await;
        assert_eq!(service.documents().await.len(), 0);
        // One for all changes of a write; what the process remembers is not asked for.
        assert_eq!(queries(&service), if is_known { 1 } else { 3 });
        // Written and gone in one write.
        deliver(&sink, vec![moved("ann", 10, "north"), gone("ann", 11)]).await;
        assert_eq!(service.documents().await.len(), 0);
    }
}

/// Changes are read again after a stop.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_newer_than_the_change_stays() {
    let service = service();
    let sink = started(&service, OnCollision::Newest);
    deliver(&sink, vec![mapped("ann", 5, "south")]).await;
    let again = started(&service, OnCollision::Newest);
    deliver(&again, vec![moved("ann", 3, "north"), gone("ann", 4)]).await;
    assert_eq!(places(&service.documents().await), ["south"]);
    deliver(&again, vec![moved("ann", 5, "south")]).await;
    assert_eq!(places(&service.documents().await), ["south"]);
    // That one delete came too late says nothing of the next one.
    for delete_first in [true, false] {
        let sink = started(&service, OnCollision::Newest);
        if delete_first {
            deliver(&sink, vec![gone("ann", 4)]).await;
            assert_eq!(places(&service.documents().await), ["south"]);
        }
        deliver(&sink, vec![gone("ann", 6)]).await;
        assert_eq!(service.documents().await.len(), 0);
        deliver(&sink, vec![mapped("ann", 7, "south")]).await;
        deliver(&sink, vec![gone("ann", 8)]).await;
        assert_eq!(service.documents().await.len(), 0);
        deliver(&sink, vec![mapped("ann", 5, "south")]).await;
    }
}

/// The new version is too large, or has a form that the service does not accept.
#[tokio::test(start_paused = true)]
async fn a_move_whose_write_is_refused_leaves_the_old_copy() {
    for status in [413, 400] {
        for (is_told, in_batch) in [(true, true), (true, false), (false, true), (false, false)] {
            let service = service();
            let sink = started(&service, OnCollision::Newest);
            deliver(&sink, vec![created("ann", 1, "north"), created("bob", 2, "east")]).await;
            let north = place(&mapped("ann", 1, "north"));
            let old_copies =
                if is_told { OldCopies::At(Box::new(north)) } else { OldCopies::Anywhere };
            let change = Change { old_copies, ..mapped("ann", 3, "south") };
            let changes = if in_batch { vec![change, upsert("other", 4)] } else { vec![change] };
            // Once as a part of a request, and once alone.
            service.script("south", [Some((status, 0)), Some((status, 0))]);
            let written = sink.write(&changes).await;
            let is_refused = matches!(written.outcomes[0], Outcome::Rejected { .. });
            assert!(is_refused, "{status} {is_told} {in_batch}: {:?}", written.outcomes);
            let left = places(&service.documents().await).join(" ");
            let expected = if in_batch { "east north other" } else { "east north" };
            assert_eq!(left, expected, "{status} {is_told} {in_batch}");
        }
    }
}

fn place(change: &Change) -> Place {
    Place { id: change.id.clone(), partition_key: change.partition_key.clone() }
}

/// The place of an old copy is another document's by now.
#[tokio::test(start_paused = true)]
async fn a_copy_of_another_document_stays() {
    let service = service();
    let sink = started(&service, OnCollision::Newest);
    deliver(&sink, vec![mapped("ann", 1, "north"), mapped("bob", 2, "north")]).await;
    deliver(&sink, vec![moved("ann", 3, "south")]).await;
    let documents = service.documents().await;
    assert_eq!(places(&documents), ["north", "south"]);
    assert_eq!(documents["north"]["id"], "bob");
}

/// A route without `moves` leaves copies at old places; a delete removes all of them.
#[tokio::test(start_paused = true)]
async fn a_delete_also_finds_the_copies_that_changes_left_behind() {
    let service = service();
    let sink = started(&service, OnCollision::Newest);
    deliver(&sink, vec![mapped("ann", 1, "north")]).await;
    deliver(&sink, vec![mapped("ann", 2, "south")]).await;
    deliver(&sink, vec![mapped("ann", 3, "west"), gone("ann", 4)]).await;
    assert_eq!(places(&service.documents().await), Vec::<&str>::new());
    // That there is no copy is remembered, too.
    let asked = queries(&service);
    deliver(&sink, vec![gone("ann", 5)]).await;
    assert_eq!(queries(&service), asked);
}

#[tokio::test(start_paused = true)]
async fn new_documents_are_not_read_before_they_are_written() {
    let service = service();
    let sink = started(&service, OnCollision::Newest);
    for number in 0..20 {
        deliver(&sink, vec![upsert(&format!("{number} a"), 1), upsert(&format!("{number} b"), 2)])
            .await;
        deliver(&sink, vec![upsert(&format!("{number} c"), 3)]).await;
    }
    assert_eq!(service.reads.load(Ordering::Relaxed), 0);
    assert_eq!(queries(&service), 0);
}

/// A random history of documents that move without a word of where they were, behind a network that
/// delays, loses and repeats requests, over processes that end. Returns whether each document is at its
/// last place, once.
async fn moves_are_followed(seed: u64) -> bool {
    let service = Arc::new(Service::new(seed, LATEST));
    let mut model: BTreeMap<String, (String, u32)> = BTreeMap::new();
    let mut sink = started(&service, OnCollision::Newest);
    let mut version = 0;
    for _ in 0..10 {
        let mut changes = Vec::new();
        for _ in 0..=service.below(3) {
            version += 1;
            let document = format!("d{}", service.below(5));
            let place = format!("{document} at {}", service.below(3));
            let is_known = model.contains_key(&document);
            if is_known && service.below(4) == 0 {
                model.remove(&document);
                changes.push(gone(&document, version));
            } else {
                let create = created(&document, version, &place);
                let replace = moved(&document, version, &place);
                changes.push(if is_known { replace } else { create });
                model.insert(document, (place, version));
            }
        }
        deliver(&sink, changes).await;
        if service.below(4) == 0 {
            tokio::time::advance(LATEST).await;
            sink = started(&service, OnCollision::Newest);
        }
    }
    let documents = service.documents().await.into_iter();
    let places = documents.map(|(place, document)| {
        let version = document["version"].as_u64().and_then(|number| u32::try_from(number).ok());
        (document["id"].as_str().unwrap().to_owned(), (place, version.unwrap()))
    });
    let places: Vec<_> = places.collect();
    places.len() == model.len() && places.into_iter().collect::<BTreeMap<_, _>>() == model
}

#[tokio::test(start_paused = true)]
async fn late_requests_leave_no_copy_at_an_old_place() {
    for seed in 0..1000 {
        assert!(moves_are_followed(seed).await, "seed {seed}");
    }
}
