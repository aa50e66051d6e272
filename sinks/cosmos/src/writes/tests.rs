use std::sync::Arc;
use std::time::Duration;

use cosmos_bridge_sink::{Expiry, Operation};
use serde_json::json;
use tokio::time::Instant;

use super::{Rules, batch_writes, first_write};
use crate::document_hash::DocumentHash;
use crate::fixtures::{delete, mapped, options, upsert};
use crate::history::{History, Known, LastWrite};
use crate::source_version::SourceVersion;
use crate::{Answer, Content, CosmosOptions, Strategy, Ttl, Write};

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
    let known = |name: &str| match name {
        "unknown" => Known::Nothing,
        "missing" => Known::Missing,
        etag => Known::Written(LastWrite { etag: etag.into(), version: None }),
    };
    for (change, strategy, known_as, creates, expected) in [
        (&upsert, Upsert, "unknown", true, "create"),
        (&upsert, Upsert, "unknown", false, "upsert"),
        (&upsert, Upsert, "missing", true, "create"),
        // A create was refused: an upsert tells whether because of a unique key.
        (&upsert, Upsert, "missing", false, "upsert"),
        (&upsert, Upsert, "e", true, "replace if e"),
        (&upsert, Upsert, "e", false, "replace if e"),
        (&upsert, InsertIfAbsent, "unknown", false, "create"),
        (&upsert, InsertIfAbsent, "missing", false, "create"),
        (&upsert, InsertIfAbsent, "e", false, "create"),
        (&upsert, ReplaceIfPresent, "unknown", true, "replace"),
        // A replica may lag.
        (&upsert, ReplaceIfPresent, "missing", true, "replace"),
        (&upsert, ReplaceIfPresent, "e", true, "replace if e"),
        (&delete, Upsert, "unknown", true, "delete"),
        (&delete, Upsert, "missing", true, "delete"),
        (&delete, Upsert, "e", false, "delete if e"),
        (&delete, InsertIfAbsent, "e", false, "delete if e"),
        (&delete, ReplaceIfPresent, "unknown", false, "delete"),
        (&delete, ReplaceIfPresent, "missing", false, "delete"),
    ] {
        let (options, known) = (CosmosOptions { write: strategy, ..options() }, known(known_as));
        let write = first_write(change, rules(&options), &known, creates);
        assert_eq!(shown(write), expected, "{strategy:?} {known_as} {creates}");
    }
}

fn rules(options: &CosmosOptions) -> Rules<'_> {
    Rules { options, default_ttl: None, now: || 0 }
}

fn remembering(documents: usize, late_write_limit: Duration) -> History {
    let options = CosmosOptions { remembered_documents: documents, late_write_limit, ..options() };
    History::new(&options)
}

/// A history in which the document `known` was written with version 5.
fn history() -> History {
    let history = remembering(10, Duration::from_secs(1));
    let change = upsert("known", 5);
    let answer = Answer { status: 200, etag: Some("e5".to_owned()), ..Answer::default() };
    let options = options();
    let write = first_write(&change, rules(&options), &Known::Nothing, false);
    history.wrote(DocumentHash::of(&change), SourceVersion::of(&change, false), write, &answer);
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
        let known = history.known_of(&changes);
        let options = CosmosOptions { write: strategy, ..options() };
        let writes = batch_writes(&changes, rules(&options), &known, true);
        let shown = |(index, write)| format!("{index} {}", shown(write));
        let writes =
            writes.map(|writes| writes.into_iter().map(shown).collect::<Vec<_>>().join(", "));
        assert_eq!(writes.as_deref().unwrap_or("none"), expected, "{strategy:?} {changes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_create_delays_deletes_only() {
    let history = remembering(10, Duration::from_secs(10));
    let (created, upserted) = (upsert("created", 1), upsert("upserted", 1));
    let (created, upserted) = (DocumentHash::of(&created), DocumentHash::of(&upserted));
    let document = cosmos_bridge_sink::Document::new();
    let began = Instant::now();
    history.unanswered(&[(created, Write::Create((&document).into()))]);
    history.unanswered(&[(upserted, Write::Upsert((&document).into()))]);
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
    history.unanswered(&[(created, Write::Delete { if_match: Some("e") })]);
    assert_eq!(history.wait(created, true, Instant::now()), None);
}

#[test]
fn documents_are_created_until_some_exist() {
    let history = remembering(10, Duration::from_secs(10));
    let document = cosmos_bridge_sink::Document::new();
    let change = upsert("a", 1);
    let (hash, version) = (DocumentHash::of(&change), SourceVersion::of(&change, false));
    assert!(history.expects_new(1) && history.expects_new(100));
    history.is_outdated(hash, true);
    // One conflict is enough for large requests.
    assert!(history.expects_new(5) && !history.expects_new(6));
    for _ in 0..10 {
        let answer = Answer { status: 200, ..Answer::default() };
        history.wrote(hash, version, Write::Upsert((&document).into()), &answer);
    }
    assert!(!history.expects_new(1));
    for _ in 0..60 {
        let answer = Answer { status: 201, ..Answer::default() };
        history.wrote(hash, version, Write::Upsert((&document).into()), &answer);
    }
    assert!(history.expects_new(100));
}

#[test]
fn the_field_of_the_source_takes_the_place_of_one_with_its_name() {
    let change = upsert("a", 7);
    let version = SourceVersion::of(&change, true);
    let stamp = json!({
        "document": "SHA",
        "lsn": 7,
        "nth": 0,
        "committed_at": 7,
    });
    for (document, field, expected) in [
        (json!({"id": "a", "n": 1}), None, json!({"id": "a", "n": 1})),
        (json!({"id": "a"}), Some("_source"), json!({"id": "a", "_source": stamp})),
        // A copy of a copy.
        (json!({"_source": 5, "id": "a"}), Some("_source"), json!({"id": "a", "_source": stamp})),
    ] {
        let document = &document.as_object().unwrap().clone().into();
        let content = Content { document, source: field.map(|field| (field, version)), ttl: None };
        let text = serde_json::to_string(&content).unwrap();
        assert_eq!(text.matches("_source").count(), usize::from(field.is_some()));
        let text = text.replace(&version.document.to_string(), "SHA");
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, expected);
    }
    let text = serde_json::to_string(&version).unwrap();
    assert_eq!(serde_json::from_str::<SourceVersion>(&text).unwrap(), version);
}

/// What cannot be parsed is written by its text, with the same fields in place of the document's.
#[test]
fn a_document_that_cannot_be_parsed_is_written_as_text() {
    let change = upsert("a", 7);
    let version = SourceVersion::of(&change, true);
    let stamp = serde_json::to_value(version).unwrap().to_string();
    for (document, field, ttl, expected) in [
        (r#"{"id":"a"}"#, Some("_source"), Some(5), None),
        (r#"{"id":"a","t":1e400}"#, None, None, Some(r#"{"id":"a","t":1e400}"#)),
        (
            r#"{"id":"a","t":1e400,"ttl":9}"#,
            Some("_source"),
            Some(5),
            Some(r#"{"id":"a","t":1e400,"_source":STAMP,"ttl":5}"#),
        ),
        (
            r#"{"id":"a","_source":1e400}"#,
            Some("_source"),
            None,
            Some(r#"{"id":"a","_source":STAMP}"#),
        ),
        (
            r#"{"id":"a","_source":1e400,"t":1e400}"#,
            Some("_source"),
            None,
            Some(r#"{"id":"a","t":1e400,"_source":STAMP}"#),
        ),
    ] {
        let document = &cosmos_bridge_sink::Document::parse(document.as_bytes()).unwrap();
        let content = Content { document, source: field.map(|field| (field, version)), ttl };
        let text = content.unparsed_text().map(|text| String::from_utf8(text).unwrap());
        assert_eq!(text, expected.map(|text| text.replace("STAMP", &stamp)));
    }
}

/// The service may refuse the whole request for it, so such a document has a request of its own.
#[test]
fn a_document_that_cannot_be_parsed_is_in_no_batch() {
    let options = options();
    let rules = rules(&options);
    let mut changes = vec![upsert("a", 1), upsert("b", 1)];
    let unknown = |changes: &[cosmos_bridge_sink::Change]| {
        changes.iter().map(|one| (DocumentHash::of(one), Known::Nothing)).collect::<Vec<_>>()
    };
    let known = unknown(&changes);
    assert_eq!(batch_writes(&changes, rules, &known, false).map(|writes| writes.len()), Some(2));
    let document = cosmos_bridge_sink::Document::parse(br#"{"id":"b","t":1e400}"#).unwrap();
    changes[1].operation = Operation::Upsert { document: document.into() };
    assert_eq!(batch_writes(&changes, rules, &known, false), None);
}

/// A field that is lost here is lost in the target.
#[test]
fn the_rest_of_the_lifetime_takes_the_place_of_the_ttl_and_of_no_other_field() {
    for (document, ttl, expected) in [
        (json!({"id": "a", "n": 1}), None, json!({"id": "a", "n": 1})),
        (json!({"id": "a", "ttl": 60}), None, json!({"id": "a", "ttl": 60})),
        (json!({"id": "a", "n": 1}), Some(40), json!({"id": "a", "n": 1, "ttl": 40})),
        (json!({"id": "a", "n": 1, "ttl": 60}), Some(40), json!({"id": "a", "n": 1, "ttl": 40})),
    ] {
        let document = &document.as_object().unwrap().clone().into();
        let text = serde_json::to_string(&Content { document, source: None, ttl }).unwrap();
        assert_eq!(text.matches("ttl").count(), usize::from(expected.get("ttl").is_some()));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_protects_its_batch_until_it_was_carried_out() {
    let history = remembering(10, Duration::from_secs(10));
    let (guard, other) = (upsert("guard", 1), upsert("other", 1));
    let (hash, other) = (DocumentHash::of(&guard), DocumentHash::of(&other));
    let document = cosmos_bridge_sink::Document::new();
    let replace = |etag| Write::Replace { content: (&document).into(), if_match: Some(etag) };
    let wrote = |etag: &str| {
        let answer = Answer { status: 200, etag: Some(etag.to_owned()), ..Answer::default() };
        history.wrote(hash, SourceVersion::of(&guard, false), replace("any"), &answer);
    };
    wrote("e1");
    let began = Instant::now();
    let limit = Some(Duration::from_secs(10));
    let upsert = || (other, Write::Upsert((&document).into()));
    history.unanswered(&[(hash, replace("e1")), upsert()]);
    assert_eq!(history.wait(hash, false, began), None);
    // As long as the document has that ETag, the batch can be executed.
    assert_eq!(history.wait(other, false, began), limit);
    wrote("e2");
    assert_eq!(history.wait(other, false, began), None);
    // Another attempt without a condition.
    history.unanswered(&[upsert()]);
    assert_eq!(history.wait(other, false, began), limit);
}

#[test]
fn a_copy_gets_the_rest_of_its_lifetime() {
    let expiring = |ttl: i64, at: i64| {
        let mut change = upsert("a", 1);
        Arc::make_mut(&mut change.origin).expiry = Some(Expiry { at: Some(at), ttl: Some(ttl) });
        let Operation::Upsert { document } = &mut change.operation else { unreachable!() };
        Arc::make_mut(document).insert("ttl", ttl);
        change
    };
    let content = |write: Write<'_>| match write {
        Write::Create(content) => serde_json::to_value(content).unwrap()["ttl"].clone(),
        write => shown(write).into(),
    };
    let times: [(i64, fn() -> i64); 3] = [(2, || 2), (40, || 40), (100, || 100)];
    for (ttl, default_ttl, (now, clock), expected) in [
        (Ttl::Remaining, Some(-1), times[1], Some(60)),
        (Ttl::Remaining, Some(-1), times[0], Some(100)),
        (Ttl::AsIs, Some(-1), times[1], Some(100)),
        (Ttl::AsIs, Some(-1), times[2], Some(100)),
        (Ttl::Remaining, Some(-1), times[2], None),
        // Time to live is switched off in the target.
        (Ttl::Remaining, None, times[2], Some(100)),
    ] {
        let options = CosmosOptions { ttl, ..options() };
        let rules = Rules { options: &options, default_ttl, now: clock };
        let changes = [expiring(100, 100), upsert("b", 1)];
        assert_eq!(rules.is_expired(&changes[0]), expected.is_none(), "{ttl:?} {now}");
        if let Some(expected) = expected {
            let write = first_write(&changes[0], rules, &Known::Nothing, true);
            assert_eq!(content(write), json!(expected), "{ttl:?} {now}");
        }
        // What has expired is left out.
        let known = changes.each_ref().map(|change| (DocumentHash::of(change), Known::Nothing));
        let writes = batch_writes(&changes, rules, &known, true).unwrap();
        assert_eq!(writes.len(), 1 + usize::from(expected.is_some()));
        assert_eq!(writes.last().unwrap().0, 1);
    }
}
