use std::time::Duration;

use cosmos_bridge_sink::Change;
use tokio::time::Instant;

use super::{batch_writes, first_write};
use crate::fixtures::{delete, mapped, options, upsert};
use crate::history::{DocumentHash, History};
use crate::source_version::SourceVersion;
use crate::{Answer, CosmosOptions, Strategy, Write};

fn shown(write: Write<'_>) -> String {
    let condition = |etag: Option<&str>| etag.map_or(String::new(), |etag| format!(" if {etag}"));
    match write {
        Write::Upsert(_) => "upsert".to_owned(),
        Write::Create(_) => "create".to_owned(),
        Write::Replace { if_match, .. } => format!("replace{}", condition(if_match)),
        Write::Delete { if_match } => format!("delete{}", condition(if_match)),
    }
}

#[test]
fn the_first_write_depends_on_strategy_and_knowledge() {
    use Strategy::{InsertIfAbsent, ReplaceIfPresent, Upsert};
    let (upsert, delete) = (upsert("a", 1), delete("a", 2));
    for (change, strategy, etag, expects_new, expected) in [
        (&upsert, Upsert, None, true, "create"),
        (&upsert, Upsert, None, false, "upsert"),
        (&upsert, Upsert, Some("e"), true, "replace if e"),
        (&upsert, Upsert, Some("e"), false, "replace if e"),
        (&upsert, InsertIfAbsent, None, false, "create"),
        (&upsert, InsertIfAbsent, Some("e"), false, "create"),
        (&upsert, ReplaceIfPresent, None, true, "replace"),
        (&upsert, ReplaceIfPresent, Some("e"), true, "replace if e"),
        (&delete, Upsert, None, true, "delete"),
        (&delete, Upsert, Some("e"), false, "delete if e"),
        (&delete, InsertIfAbsent, Some("e"), false, "delete if e"),
        (&delete, ReplaceIfPresent, None, false, "delete"),
    ] {
        let write = first_write(&change.operation, strategy, etag, expects_new);
        assert_eq!(shown(write), expected, "{strategy:?} {etag:?} {expects_new}");
    }
}

/// A history in which the document `known` was written with version 5.
fn history() -> History {
    let history = History::new(10, Duration::from_secs(1));
    let change = upsert("known", 5);
    let answer = Answer { status: 200, etag: Some("e5".to_owned()), ..Answer::default() };
    let write = first_write(&change.operation, Strategy::Upsert, None, false);
    history.wrote(DocumentHash::of(&change), SourceVersion::of(&change), write, &answer);
    history
}

#[test]
fn only_the_first_write_of_a_document_in_a_batch_has_a_condition() {
    use Strategy::{InsertIfAbsent, ReplaceIfPresent, Upsert};
    let history = history();
    for (changes, strategy, expected) in [
        (vec![upsert("a", 1), upsert("b", 2)], Upsert, "0 create, 1 create"),
        (vec![upsert("a", 1), upsert("a", 2)], Upsert, "0 create, 1 upsert"),
        (vec![upsert("a", 1), delete("a", 2)], Upsert, "0 create, 1 delete"),
        (vec![delete("a", 1), delete("a", 2)], Upsert, "0 delete"),
        (vec![delete("a", 1), upsert("a", 2)], Upsert, "0 delete, 1 create"),
        (vec![upsert("known", 6), upsert("known", 7)], Upsert, "0 replace if e5, 1 upsert"),
        (vec![delete("known", 6), upsert("known", 7)], Upsert, "0 delete if e5, 1 create"),
        (vec![upsert("known", 5)], Upsert, "0 replace if e5"),
        // A later version is in the target already; another source document has the place.
        (vec![upsert("known", 4), upsert("a", 7)], Upsert, "none"),
        (vec![upsert("a", 7), upsert("a", 6)], Upsert, "none"),
        (vec![upsert("a", 7), mapped("b", 8, "a")], Upsert, "none"),
        (vec![delete("a", 7), mapped("b", 8, "a")], Upsert, "0 delete, 1 create"),
        (vec![upsert("a", 1), upsert("a", 2)], InsertIfAbsent, "0 create"),
        (vec![delete("a", 1), upsert("a", 2)], InsertIfAbsent, "0 delete, 1 create"),
        (vec![upsert("a", 1), upsert("a", 2)], ReplaceIfPresent, "0 replace, 1 upsert"),
        (vec![delete("a", 1), upsert("a", 2)], ReplaceIfPresent, "0 delete"),
    ] {
        let last_write = |change: &Change| history.last_write(DocumentHash::of(change));
        let known: Vec<_> = changes.iter().map(last_write).collect();
        let options = CosmosOptions { write: strategy, ..options() };
        let writes = batch_writes(&changes, &options, &known, true);
        let shown = |(index, write)| format!("{index} {}", shown(write));
        let writes =
            writes.map(|writes| writes.into_iter().map(shown).collect::<Vec<_>>().join(", "));
        assert_eq!(writes.as_deref().unwrap_or("none"), expected, "{strategy:?} {changes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_create_delays_deletes_only() {
    let history = History::new(10, Duration::from_secs(10));
    let (created, upserted) = (upsert("created", 1), upsert("upserted", 1));
    let (created, upserted) = (DocumentHash::of(&created), DocumentHash::of(&upserted));
    let document = serde_json::Map::new();
    let began = Instant::now();
    history.unanswered(created, Write::Create(&document));
    history.unanswered(upserted, Write::Upsert(&document));
    let limit = Some(Duration::from_secs(10));
    assert_eq!(history.wait(created, false, began), None);
    assert_eq!(history.wait(created, true, began), limit);
    assert_eq!(history.wait(upserted, false, began), limit);
    assert_eq!(history.wait(upserted, true, began), limit);
    tokio::time::advance(Duration::from_secs(9)).await;
    let began_late = Instant::now();
    assert_eq!(history.wait(upserted, false, began), Some(Duration::from_secs(1)));
    tokio::time::advance(Duration::from_secs(1)).await;
    // A write that began before the limit says nothing about the state after it.
    assert_eq!(history.wait(upserted, false, began_late), Some(Duration::ZERO));
    assert_eq!(history.wait(upserted, false, Instant::now()), None);
    // A condition prevents harm.
    history.unanswered(created, Write::Delete { if_match: Some("e") });
    assert_eq!(history.wait(created, true, Instant::now()), None);
}

#[test]
fn documents_are_created_until_some_exist() {
    let history = History::new(10, Duration::from_secs(10));
    let document = serde_json::Map::new();
    let change = upsert("a", 1);
    let (hash, version) = (DocumentHash::of(&change), SourceVersion::of(&change));
    assert!(history.expects_new(1) && history.expects_new(100));
    history.is_outdated(hash, true);
    // One conflict is enough for large requests.
    assert!(history.expects_new(5) && !history.expects_new(6));
    for _ in 0..10 {
        let answer = Answer { status: 200, ..Answer::default() };
        history.wrote(hash, version, Write::Upsert(&document), &answer);
    }
    assert!(!history.expects_new(1));
    for _ in 0..60 {
        let answer = Answer { status: 201, ..Answer::default() };
        history.wrote(hash, version, Write::Upsert(&document), &answer);
    }
    assert!(history.expects_new(100));
}
