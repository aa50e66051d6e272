use std::collections::BTreeMap;

use cosmos_bridge_cosmos::{Container, Found, SourceDocument, StoredDocument, Write};
use cosmos_bridge_emulator::fault::{Effect, FaultRule};
use cosmos_bridge_emulator::world::ContainerSettings;
use cosmos_bridge_sink::{Document, KeyValue, PartitionKey};

use super::Target;
use crate::cosmos::local::{CHARGED, Local};

fn document() -> (PartitionKey, Document) {
    let json = serde_json::json!({"id": "1", "k": "key"});
    let document = json.as_object().unwrap().clone().into();
    (PartitionKey(vec![KeyValue::String("key".to_owned())]), document)
}

fn fault(local: &Local, operation: &str, times: Option<u64>, status: u16, substatus: u32) {
    local.accounts.fault(FaultRule {
        operation: Some(operation.to_owned()),
        times,
        then: Effect { status: Some(status), substatus: Some(substatus), ..Effect::default() },
        ..FaultRule::default()
    });
}

#[tokio::test]
async fn an_answer_costs_what_all_its_attempts_cost() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, document) = document();
    let write = Write::Upsert((&document).into());
    target.write(&key, "1", write).await;
    let plain = target.write(&key, "1", write).await;
    let plain_batch = target.batch(&key, &[("1", write), ("1", write)]).await.whole;
    assert!(plain.charge > 0.0 && plain_batch.charge > plain.charge);
    // No path can name this id.
    let named = serde_json::json!({"id": "a/b", "k": "key"});
    let named: Document = named.as_object().unwrap().clone().into();
    target.write(&key, "a/b", Write::Upsert((&named).into())).await;
    let in_batch = Write::Replace { content: (&named).into(), if_match: None };
    let plain_in_batch = target.write(&key, "a/b", in_batch).await;
    for (status, substatus, cost) in CHARGED {
        fault(&local, "upsert", Some(1), status, substatus);
        let answer = target.write(&key, "1", write).await;
        assert_eq!(answer.status, 200);
        let more = answer.charge - plain.charge;
        assert!((more - cost).abs() < 0.005, "{status}/{substatus}: {more} more");

        fault(&local, "batch", Some(1), status, substatus);
        let answer = target.batch(&key, &[("1", write), ("1", write)]).await.whole;
        assert_eq!(answer.status, 200);
        let more = answer.charge - plain_batch.charge;
        assert!((more - cost).abs() < 0.005, "batch, {status}/{substatus}: {more} more");

        fault(&local, "batch", Some(1), status, substatus);
        let answer = target.write(&key, "a/b", in_batch).await;
        assert_eq!(answer.status, 200);
        let more = answer.charge - plain_in_batch.charge;
        assert!((more - cost).abs() < 0.005, "alone in a batch, {status}/{substatus}: {more} more");
    }
}

#[tokio::test]
async fn an_error_costs_what_all_its_attempts_cost() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, document) = document();
    for (status, substatus, cost) in CHARGED {
        local.accounts.clear_faults();
        fault(&local, "upsert", None, status, substatus);
        let before = local.requests("upsert");
        let answer = target.write(&key, "1", Write::Upsert((&document).into())).await;
        let attempts = local.requests("upsert") - before;
        assert!(attempts > 1, "{attempts} attempts");
        assert!(answer.status >= 400, "{answer:?}");
        let charge = cost * f64::from(attempts);
        assert!((answer.charge - charge).abs() < 0.005, "{} RU", answer.charge);
    }
}

/// Ids that a URL parser changes, and ids that it changes them into.
const IDS: [&str; 24] = [
    ".", "..", "...", "a", "b", "ab", "a\tb", "a\nb", "a\rb", "\ta", "a/b", "/a", "a/../b", "a\\b",
    "a?b", "a#b", "a%2Fb", "%2e%2e", "%2E", " ", "a b", "\u{0}", "\u{fc}", "docs",
];

/// Replaces and deletes documents one after the other, in an order in which a request with a wrong path
/// would hit a document that is still there, and compares everything with a model after each request.
#[tokio::test]
async fn every_write_reaches_the_document_with_its_id_and_no_other() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, mut document) = document();
    let mut model = BTreeMap::new();
    let stored = || {
        let lines = local.accounts.documents("source", "shop", "orders").unwrap();
        let one = |line: String| {
            let document: serde_json::Value = serde_json::from_str(&line).unwrap();
            (document["id"].as_str().unwrap().to_owned(), document["n"].as_u64().unwrap())
        };
        lines.into_iter().map(one).collect::<BTreeMap<_, _>>()
    };
    let mut versions = 0..;
    for id in IDS {
        let n: u64 = versions.next().unwrap();
        document.insert("id", id);
        document.insert("n", n);
        let answer = target.write(&key, id, Write::Upsert((&document).into())).await;
        assert_eq!(answer.status, 201, "{id:?}: {answer:?}");
        model.insert(id.to_owned(), n);
    }
    assert_eq!(stored(), model);
    for id in IDS {
        let n = versions.next().unwrap();
        document.insert("id", id);
        document.insert("n", n);
        let answer = target
            .write(&key, id, Write::Replace { content: (&document).into(), if_match: None })
            .await;
        assert_eq!(answer.status, 200, "{id:?}: {answer:?}");
        assert!(answer.charge > 0.0, "{id:?}");
        model.insert(id.to_owned(), n);
        assert_eq!(stored(), model, "{id:?}");
    }
    for id in IDS {
        let answer = target.write(&key, id, Write::Delete { if_match: None }).await;
        assert_eq!(answer.status, 204, "{id:?}: {answer:?}");
        model.remove(id);
        assert_eq!(stored(), model, "{id:?}");
        let answer = target.write(&key, id, Write::Delete { if_match: None }).await;
        assert_eq!((answer.status, answer.sub_status), (404, 0), "{id:?}: {answer:?}");
    }
}

/// Writes by text, for documents that the SDK cannot serialize, obey the same conditions.
#[tokio::test]
async fn a_document_that_cannot_be_parsed_is_written_with_its_conditions() {
    let local = Local::start(&ContainerSettings::new(&["/k"], 1)).await;
    let target = Target::new(local.container.clone());
    let (key, plain) = document();
    let parsed = |value: &str| {
        let text = format!(r#"{{"id":"1","k":"key","t":{value}}}"#);
        (Document::parse(text.as_bytes()).unwrap(), text)
    };
    let stored = || local.accounts.documents("source", "shop", "orders").unwrap();
    let (half, text) = parsed(r#""\ud83d""#);
    let created = target.write(&key, "1", Write::Create((&half).into())).await;
    assert_eq!((created.status, stored()), (201, vec![text]));
    assert!(created.charge > 0.0 && created.etag.is_some(), "{created:?}");
    assert_eq!(target.write(&key, "1", Write::Create((&half).into())).await.status, 409);

    let (huge, text) = parsed("[1e400]");
    let other = Write::Replace { content: (&huge).into(), if_match: Some("other") };
    assert_eq!(target.write(&key, "1", other).await.status, 412);
    let replace = Write::Replace { content: (&huge).into(), if_match: created.etag.as_deref() };
    assert_eq!(target.write(&key, "1", replace).await.status, 200);
    assert_eq!(stored(), [text]);

    let (deep, text) = parsed(&format!("{}{}", "[".repeat(150), "]".repeat(150)));
    assert_eq!(target.write(&key, "1", Write::Upsert((&deep).into())).await.status, 200);
    assert_eq!(stored(), [text]);
    fault(&local, "upsert", Some(1), 429, 3200);
    let throttled = target.write(&key, "1", Write::Upsert((&deep).into())).await;
    assert_eq!((throttled.status, throttled.sub_status), (429, 3200));
    // No path can name the id: an upsert replaces it on its condition.
    let odd = |value: &str| {
        let text = format!(r#"{{"id":"a/b","k":"key","t":{value}}}"#);
        Document::parse(text.as_bytes()).unwrap()
    };
    let created = target.write(&key, "a/b", Write::Create((&odd("1e400")).into())).await;
    let (next, if_match) = (odd("1e401"), created.etag.as_deref());
    let replace = Write::Replace { content: (&next).into(), if_match };
    assert_eq!(target.write(&key, "a/b", replace).await.status, 200);
    assert_eq!(target.write(&key, "a/b", replace).await.status, 412);
    assert!(stored().iter().any(|text| text.contains("1e401")), "{:?}", stored());
    // Without one, neither a path nor a batch takes it.
    let replace = Write::Replace { content: (&deep).into(), if_match: None };
    let before = local.requests("batch");
    let refused = target.write(&key, "..", replace).await;
    assert_eq!((refused.status, local.requests("batch")), (400, before), "{refused:?}");
    assert_eq!(target.write(&key, "1", Write::Upsert((&plain).into())).await.status, 200);
}

/// Documents of a container with these key paths; the field `f` of some records a source document.
async fn filled(paths: &[&str], documents: &[serde_json::Value]) -> Target {
    let local = Local::start(&ContainerSettings::new(paths, 3)).await;
    let lines: Vec<_> = documents.iter().map(|document| format!("{document}\n")).collect();
    let lines = lines.concat();
    local.accounts.seed("source", "shop", "orders", &lines).unwrap();
    let target = Target::new(local.container.clone());
    // The accounts stop when they are dropped.
    std::mem::forget(local);
    target
}

fn source(number: u32) -> serde_json::Value {
    serde_json::json!({"document": format!("{number:032x}"), "lsn": number, "nth": 0, "committed_at": 5})
}

fn keys(values: &[&str]) -> PartitionKey {
    PartitionKey(values.iter().map(|value| KeyValue::String((*value).to_owned())).collect())
}

/// The ids that were found, each with the number of its source document.
fn found(found: &Found) -> Vec<(String, Option<String>)> {
    assert_eq!(found.answer.status, 200, "{found:?}");
    let one = |stored: &StoredDocument| {
        assert!(stored.etag.len() > 2);
        let version = stored.version.map(|version| serde_json::to_value(version).unwrap());
        (stored.id.clone(), version.map(|version| version["lsn"].to_string()))
    };
    let mut found: Vec<_> = found.documents.iter().map(one).collect();
    found.sort();
    found
}

#[tokio::test]
async fn documents_are_read_with_what_they_record_and_missing_ones_are_not_there() {
    let document = |id: &str, number: Option<u32>| {
        let mut document = serde_json::json!({"id": id, "k": "key", "other": [1]});
        // A field of any name.
        if let Some(number) = number {
            document["a \"b\" c"] = source(number);
        }
        document
    };
    let mut documents: Vec<_> = IDS.iter().map(|id| document(id, Some(7))).collect();
    documents.extend([document("plain", None), serde_json::json!({"id": "x", "k": "other"})]);
    let mut damaged = document("damaged", None);
    damaged["a \"b\" c"] = serde_json::json!({"document": "no number"});
    documents.push(damaged);
    let target = filled(&["/k"], &documents).await;
    let (key, field) = (keys(&["key"]), Some("a \"b\" c"));
    let seven = || Some("7".to_owned());
    for id in IDS {
        let one = target.read(&key, &[id], field).await;
        assert_eq!(found(&one), [(id.to_owned(), seven())]);
        assert!(one.answer.charge > 0.0 && one.requests > 0);
        assert_eq!(one.documents[0].partition_key, key);
        assert_eq!(found(&target.read(&key, &[id], None).await), [(id.to_owned(), None)]);
    }
    for id in ["plain", "damaged"] {
        assert_eq!(found(&target.read(&key, &[id], field).await), [(id.to_owned(), None)]);
    }
    // `x` has another key.
    for id in ["x", "none", "no/ne", ""] {
        assert_eq!(found(&target.read(&key, &[id], field).await), [], "{id}");
    }
    let many = target.read(&key, &["..", "plain", "none", "x", "a/b"], field).await;
    let expected = [("..", seven()), ("a/b", seven()), ("plain", None)];
    assert_eq!(found(&many), expected.map(|(id, number)| (id.to_owned(), number)));
}

#[tokio::test]
async fn copies_are_found_by_their_source_document_whatever_their_key() {
    let document = |id: &str, tenant: serde_json::Value, day: serde_json::Value, number: u32| serde_json::json!({"id": id, "tenant": {"value": tenant}, "day": day, "f": source(number)});
    let mut documents: Vec<_> = (0..60)
        .map(|number| document(&format!("d{number}"), "t".into(), number.into(), number))
        .collect();
    documents.extend([
        document("twin", "other".into(), true.into(), 3),
        document("null", serde_json::Value::Null, (-0.5).into(), 100),
        serde_json::json!({"id": "bare", "f": source(101)}),
        serde_json::json!({"id": "unrecorded", "tenant": {"value": "t"}, "day": 3}),
    ]);
    let target = filled(&["/tenant/value", "/day"], &documents).await;
    let of = |numbers: &[u32]| {
        let number = |number: &u32| serde_json::from_value(source(*number)["document"].clone());
        numbers.iter().map(|n| number(n).unwrap()).collect::<Vec<SourceDocument>>()
    };
    let copies = target.copies("f", &of(&[3, 5, 100, 101, 999])).await;
    let ids: Vec<_> = found(&copies).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["bare", "d3", "d5", "null", "twin"]);
    assert!(copies.answer.charge > 0.0 && copies.requests >= 3, "{} requests", copies.requests);
    let key = |id: &str| {
        let stored = copies.documents.iter().find(|stored| stored.id == id).unwrap();
        stored.partition_key.0.clone()
    };
    let text = |text: &str| KeyValue::String(text.to_owned());
    assert_eq!(key("d5"), [text("t"), KeyValue::Number(5.0)]);
    assert_eq!(key("twin"), [text("other"), KeyValue::Bool(true)]);
    assert_eq!(key("null"), [KeyValue::Null, KeyValue::Number(-0.5)]);
    assert_eq!(key("bare"), [KeyValue::Undefined, KeyValue::Undefined]);
    // The places are those of the documents: each can be deleted there, with its ETag.
    for stored in &copies.documents {
        let write = Write::Delete { if_match: Some(&stored.etag) };
        let answer = target.write(&stored.partition_key, &stored.id, write).await;
        assert_eq!(answer.status, 204, "{stored:?}: {answer:?}");
    }
    assert_eq!(found(&target.copies("f", &of(&[3, 5, 100, 101])).await), []);
    let all: Vec<u32> = (0..60).collect();
    assert_eq!(target.copies("f", &of(&all)).await.documents.len(), 58);
}

/// Clients are built again after the account's key was rotated, by the names of what they are for.
#[tokio::test]
async fn after_a_rotation_no_write_reaches_a_container_that_was_created_again() {
    let settings = ContainerSettings::new(&["/k"], 1);
    let local = Local::start(&settings).await;
    let target = Target::new(local.container.clone());
    let (key, document) = document();
    let write = Write::Upsert((&document).into());
    assert_eq!(target.write(&key, "1", write).await.status, 201);
    local.accounts.world.delete_container("source", "shop", "orders").await.unwrap();
    local.accounts.create_container("source", "shop", "orders", &settings).await.unwrap();
    let rotated = local.accounts.rotate_key("source").unwrap();
    std::fs::write(local.folder.path().join("key"), rotated).unwrap();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(target.write(&key, "1", write).await.status);
    }
    // The first is refused for its key.
    assert!(statuses.iter().all(|status| *status >= 400), "{statuses:?}");
    assert!(statuses.contains(&401), "{statuses:?}");
    let documents = local.accounts.documents("source", "shop", "orders").unwrap();
    assert_eq!(documents, Vec::<String>::new());
}
